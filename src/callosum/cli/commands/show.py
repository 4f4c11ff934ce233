"""`callosum show`: one record of an archive, or the files that it refused."""

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
@click.argument("record_id", required=False)
@click.option("--refused", "is_refused", is_flag=True, help="List the files that were not indexed, instead.")
@click.option("--where", metavar="SQL", help="Of those, only the ones that meet a condition over code and header.")
@JSON
def command(archive: Path, record_id: str | None, is_refused: bool, where: str | None, as_json: bool) -> None:
    """Show everything that ARCHIVE keeps of RECORD_ID; on a terminal, the picture too.

    With --refused, list the files that were not indexed, with what their headers told: reports and plans among them,
    which hold no picture.

    \b
    Examples:
      callosum show archive 3f2a9c0d11e4b7a5
      callosum show archive --refused --where "answer = 'METADATA_ONLY'"
    """
    from callosum.cli.output import refused_table, write_json
    from callosum.core.errors import UsageError
    from callosum.service.service import Service

    if is_refused == (record_id is not None) or (where and not is_refused):
        message = "Show either a RECORD_ID, or the files that were --refused; only those take --where."
        raise UsageError(message)
    if record_id is not None:
        _show_record(Service(archive).show(record_id), record_id, as_json=as_json)
        return
    rows = Service(archive).refused(where=where)
    if as_json:
        write_json({"schema": "callosum.refused/1", **row} for row in rows)
    else:
        refused_table(rows)


def _show_record(row: dict[str, Any], record_id: str, *, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json

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
    names = ("record_id", "source", "source_digest", "part", "space", "modality", "body_part", "text")
    ids = ("patient_id", "study_id", "series_id", "instance_id", "accession_id", "split")
    return {
        "schema": "callosum.record/1",
        **{name: row[name] for name in (*names, *ids)},
        "flags": list(row["flags"] or ()),
        "render_recipe": json.loads(row["render_recipe"]),
        "has_text_vector": row["text_vector"] is not None,
        "report": _report(row["report"]),
        "attributes": row["attributes"],
    }


def _report(report: dict[str, Any] | None) -> dict[str, Any] | None:
    """The version that the record's text is taken from."""
    if report is None:
        return None
    names = ("report_id", "version", "status", "text")
    return {**{name: report[name] for name in names}, "sections": json.loads(report["sections"])}


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
