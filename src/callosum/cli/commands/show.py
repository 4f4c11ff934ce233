"""`callosum show`: one record of an archive."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import click

from callosum.cli.options import ARCHIVE, JSON

PICTURE_COLUMNS = 48


@click.command("show")
@ARCHIVE
@click.argument("record_id")
@JSON
def command(archive: Path, record_id: str, as_json: bool) -> None:
    """Show everything that ARCHIVE keeps of RECORD_ID; on a terminal, the picture too.

    \b
    Example:
      callosum show archive 3f2a9c0d11e4b7a5
    """
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json
    from callosum.service.service import Service

    row = Service(archive).show(record_id)
    record = _record(row)
    if as_json:
        write_json([record])
        return
    screen = console()
    if screen.is_terminal:
        screen.print(_picture(row["thumbnail"]))
    table = Table(show_header=False, title=escape(record_id), title_justify="left", title_style="bold")
    attributes = record.pop("attributes")
    for name, value in (*record.items(), *attributes.items()):
        if value not in (None, "", [], {}) and name not in {"schema", "record_id"}:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            table.add_row(escape(name), escape(text))
    screen.print(table)


def _record(row: dict[str, Any]) -> dict[str, Any]:
    names = ("record_id", "source", "source_digest", "space", "modality", "body_part", "text")
    return {
        "schema": "callosum.record/1",
        **{name: row[name] for name in names},
        **{name: row[name] for name in ("patient_id", "study_id", "split")},
        "flags": list(row["flags"] or ()),
        "render_recipe": json.loads(row["render_recipe"]),
        "has_text_vector": row["text_vector"] is not None,
        "attributes": row["attributes"],
    }


def _picture(jpeg: bytes) -> Any:
    """The thumbnail in half blocks: two pixels a character, one above the other."""
    import numpy as np
    from PIL import Image
    from rich.style import Style
    from rich.text import Text

    with Image.open(io.BytesIO(jpeg)) as opened:
        picture = opened.convert("RGB")
    rows = max(2, round(picture.height / picture.width * PICTURE_COLUMNS / 2) * 2)
    picture = picture.resize((PICTURE_COLUMNS, rows))
    pixels = np.asarray(picture)
    text = Text()
    for y in range(0, rows, 2):
        for x in range(PICTURE_COLUMNS):
            above, below = ("#" + bytes(pixels[y + half, x]).hex() for half in (0, 1))
            text.append("▀", Style(color=above, bgcolor=below))
        text.append("\n")
    return text
