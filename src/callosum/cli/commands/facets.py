"""`callosum facets`: what an archive holds, by modality, body part, split and finding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callosum.cli.options import ARCHIVE, JSON

if TYPE_CHECKING:
    from callosum.archive.facets import Facet

BAR = 24


@click.command("facets")
@ARCHIVE
@click.option("--where", metavar="SQL", help="Only pictures that meet a condition, such as \"modality = 'CT'\".")
@click.option(
    "--top", default=20, show_default=True, type=click.IntRange(min=1), help="Values of a facet in the table."
)
@JSON
def command(archive: Path, where: str | None, top: int, as_json: bool) -> None:
    """Count the pictures of ARCHIVE by modality, body part, split and what their texts state.

    Findings are read from reports and captions: present, uncertain or denied. A finding counts as everything that it
    is a kind of, too. Filter by them with array_has.

    \b
    Examples:
      callosum facets archive
      callosum facets archive --where "array_has(findings, 'pleural effusion')" --json
    """
    from callosum.cli.output import note, write_json
    from callosum.service.service import Service

    found = Service(archive).facets(where=where)
    if as_json:
        write_json(facet.to_json() for facet in found)
        return
    for facet in found:
        if facet.counts:
            _table(facet, top)
    if found and not any(facet.counts for facet in found):
        note(f"{found[0].num_images} pictures, and nothing is known of any: no modality, no text.")


def _table(facet: Facet, top: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console

    title = f"{facet.name.replace('_', ' ')} ({facet.num_images - facet.num_unknown} of {facet.num_images} pictures)"
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False)
    most = max(facet.counts.values())
    for value, number in list(facet.counts.items())[:top]:
        table.add_row(escape(value), str(number), "█" * max(1, round(BAR * number / most)))
    if (num_more := len(facet.counts) - top) > 0:
        table.add_row(f"and {num_more} more", "", "")
    console().print(table)
