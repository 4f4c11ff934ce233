"""`callosum search`: an archive by words, by a picture or by a record."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import click

from callosum.cli.options import ARCHIVE, COMPUTING, FILE, JSON, MODEL

LEVELS = ("image", "file", "series", "study", "patient")
POOLS = ("mean", "max", "attention")


@click.command("search")
@ARCHIVE
@click.argument("text", required=False)
@click.option("--image", type=FILE, help="Find images that look like this file.")
@click.option("--like", metavar="RECORD_ID", help="Find images that look like this record.")
@click.option("-k", "num_hits", default=10, show_default=True, type=click.IntRange(min=1), help="How many hits.")
@click.option("--where", metavar="SQL", help="Only records that meet a condition, such as \"modality = 'CT'\".")
@click.option("--finding", "findings", multiple=True, metavar="NAME", help="Only where a text states it; repeatable.")
@click.option("--without", multiple=True, metavar="NAME", help="Not where a text states it or holds it possible.")
@click.option("--literal", is_flag=True, help="TEXT as it is: neither 'without' nor abbreviations are understood.")
@click.option("--level", type=click.Choice(LEVELS), default="image", help="What a hit stands for; image by default.")
@click.option("--pool", type=click.Choice(POOLS), default="max", help="What a group is ranked by; max: its best image.")
@MODEL
@COMPUTING
@JSON
def command(
    archive: Path,
    text: str | None,
    image: Path | None,
    like: str | None,
    num_hits: int,
    where: str | None,
    findings: tuple[str, ...],
    without: tuple[str, ...],
    literal: bool,
    level: str,
    pool: str,
    model: str | None,
    computing: dict[str, Any],
    as_json: bool,
) -> None:
    """Search ARCHIVE for TEXT, for an image, or for more like a record.

    With --level, there is one hit for each file, series, study or patient; it shows the best image of the group. A
    group is ranked by its best image (max), by the mean of its images, or by attention: a mean that weighs images by
    their likeness to the query.

    In "effusion without pneumothorax" the model is asked for effusion, and hits whose report or caption states a
    pneumothorax are left out; pictures without a text stay. --finding and --without name findings themselves.

    \b
    Examples:
      callosum search archive "ultrasound of the heart"
      callosum search archive --image query.png -k 5
      callosum search archive "chest x-ray" --where "modality = 'CR'" --json
      callosum search archive "effusion without pneumothorax" --finding "pleural effusion"
      callosum search archive "fracture" --level study --pool attention
    """
    gc.disable()  # a short process: looking for garbage among freshly imported modules is a sixth of its time
    from callosum.archive.levels import Level
    from callosum.cli.output import hits_table, note, note_cut, write_json
    from callosum.core.pooling import Pooling
    from callosum.service.service import Query, Service

    service = Service(archive, model=model, computing=computing)
    query = Query(
        text=text,
        image=image,
        like=like,
        k=num_hits,
        where=where,
        findings=findings,
        without=without,
        is_literal=literal,
        level=Level(level),
        pool=Pooling(pool),
    )
    hits = service.search(query)
    for sentence in query.asked.notes:
        note(sentence)
    if text:
        note_cut(service.encoder, [query.asked.text])
    if query.level is not Level.IMAGE and query.pool is not Pooling.MAX and (num_left := service.archive.num_unpooled):
        note(f"{num_left} images are not in the vectors of their groups yet: the archive could not be written to now.")
    if as_json:
        write_json(hit.to_json() for hit in hits)
        return
    hits_table(hits, title=text or (f"like {like}" if like else "like the image"))
    if len(hits) < num_hits:
        note(f"{len(hits)} hits: the archive holds no more that meet the condition.")
