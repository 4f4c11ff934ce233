"""`callosum slide`: what indexing would take of a whole slide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from callosum.cli.options import FILE, JSON, SLIDES

if TYPE_CHECKING:
    from callosum.data.slides import SlideConfig


@click.command("slide")
@click.argument("file", type=FILE)
@SLIDES
@click.option("-o", "--output", type=FILE, help="Picture of the slide with the chosen tiles: .png or .jpg.")
@JSON
def command(file: Path, slides: SlideConfig, output: Path | None, as_json: bool) -> None:
    """Say which tiles of the whole slide FILE would be indexed, and draw them.

    \b
    Example:
      callosum slide slide.svs --mpp 0.5 -o tiles.png
    """
    from PIL import Image
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, note, write_json
    from callosum.data.slides.look import look

    found = look(file, config=slides)
    plan = found.plan
    if output is not None:
        Image.fromarray(found.picture).save(output)
        note("The slide is drawn: what is no tissue is faded, each tile has a frame.")
    if as_json:
        write_json([plan.to_json()])
        return
    width, height = plan.sizes[0]
    rows = {
        "format": plan.vendor,
        "size": f"{width} x {height} pixels, {len(plan.sizes)} levels",
        "resolution": f"{plan.mpp:.4g} µm per pixel" if plan.mpp else "not stated",
        "tissue": f"{plan.tissue:.0%}",
        "tiles": f"{len(plan.positions)} of {plan.num_tissue_tiles} with tissue",
        "read from": f"level {plan.tiling.level}, {plan.tiling.reader}",
        "doubts": " ".join(f"{flag.code}: {flag.sentence}" for flag in plan.flags) or "none",
    }
    table = Table(show_header=False)
    for name, value in rows.items():
        table.add_row(name, escape(value))
    console().print(table)
