"""`callosum dataset`: published datasets and pairs of your own, as they lie on the disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from callosum.cli.commands import dataset_write
from callosum.cli.options import FILE, JSON

if TYPE_CHECKING:
    from callosum.data.datasets import Dataset
    from callosum.data.datasets.census import Census
    from callosum.data.sources import Source
    from callosum.service.near_duplicates import NearReport

T = TypeVar("T")
EXIT_SKIPPED = 7
NUM_PAIRS = 20
"""So many near-duplicates are shown in a table; `--json` gives all."""


@click.group("dataset")
def command() -> None:
    """List, check, split and convert published datasets."""


for _write in dataset_write.COMMANDS:
    command.add_command(_write)


@command.command("list")
@JSON
def list_datasets(as_json: bool) -> None:
    """List the datasets that can be read.

    \b
    Example:
      callosum dataset list
    """
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json
    from callosum.data.datasets import DATASETS, read_card

    cards = [read_card(name) for name in DATASETS]
    if as_json:
        write_json({"schema": "callosum.dataset_card/1", **asdict(card)} for card in cards)
        return
    table = Table("name", "what it holds", "size")
    for card in cards:
        table.add_row(card.name, escape(card.summary), escape(card.size))
    console().print(table)


@command.command("show")
@click.argument("name")
@JSON
def show_dataset(name: str, as_json: bool) -> None:
    """Show the card of dataset NAME: size, licence, access, layout, what its labels mean, and its traps.

    \b
    Example:
      callosum dataset show chexpert
    """
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console, write_json
    from callosum.data.datasets import read_card

    card = read_card(name)
    if as_json:
        write_json([{"schema": "callosum.dataset_card/1", **asdict(card)}])
        return
    table = Table(
        show_header=False, title=escape(card.title), title_justify="left", title_style="bold", show_lines=True
    )
    for key, value in asdict(card).items():
        if key != "title" and value:
            table.add_row(key, escape(value if isinstance(value, str) else "\n".join(f"- {each}" for each in value)))
    console().print(table)


@command.command("check")
@click.argument("name")
@click.argument("root", type=FILE)
@click.option("--near-duplicates", is_flag=True, help="Read every picture, and look for those that are nearly equal.")
@click.option("--radius", type=click.IntRange(0, 16), default=8, help="Bits of 64 in which their hashes may differ.")
@JSON
def check_dataset(name: str, root: Path, near_duplicates: bool, radius: int, as_json: bool) -> int:
    """Read the tables of dataset NAME at ROOT, and count what is there, what is missing, and who straddles its splits.

    With --near-duplicates, pictures are compared by a perceptual hash, within and across the splits. The exit code is
    7 when a row was skipped; with --json, each such row is a line with its reason.

    \b
    Examples:
      callosum dataset check manifest study/manifest.csv
      callosum dataset check manifest study/manifest.csv --near-duplicates --json
    """
    from callosum.cli.output import note, progress_bar, write_json
    from callosum.data.datasets import open_dataset
    from callosum.data.datasets.census import Census

    dataset, census = open_dataset(name, root), Census()
    with progress_bar("Reading tables", total=None) as show:
        for done, _ in enumerate(census.count(_told(dataset, as_json=as_json)), start=1):
            if done % 256 == 0:
                show(done)
    values = {"schema": "callosum.dataset/1", "dataset": name, **census.to_json()}
    found: NearReport | None = None
    if near_duplicates:
        found, split_of = _compare(dataset, radius, total=census.num_examples)
        values["near_duplicates"] = _near_json(found, split_of, radius, as_json=as_json)
    if as_json:
        write_json([values])
    else:
        _census_table(values, census)
    skipped = sum(census.lacks.values())
    if skipped:
        note(f"{skipped} rows give no example.")
    return EXIT_SKIPPED if skipped else 0


def _told(dataset: Dataset, *, as_json: bool) -> Iterator[Any]:
    """The rows; those that are skipped are written as they come."""
    from callosum.cli.output import write_json
    from callosum.data.datasets import Skipped

    for row in dataset.rows():
        if as_json and isinstance(row, Skipped):
            line = {"name": row.name, "code": str(row.lack), "sentence": row.lack.sentence}
            write_json([{"schema": "callosum.skipped_row/1", **line}])
        yield row


def _compare(dataset: Dataset, radius: int, *, total: int) -> tuple[NearReport, dict[str, str]]:
    from callosum.cli.output import progress_bar
    from callosum.data.neardup import NearConfig
    from callosum.service.near_duplicates import find_near_duplicates

    split_of: dict[str, str] = {}

    def sources() -> Iterable[Source]:
        for example in dataset:
            split_of[example.source.name] = example.source.split
            yield example.source

    with progress_bar("Reading pictures", total=total) as show:
        report = find_near_duplicates(sources(), config=NearConfig(radius=radius), on_progress=show)
    return report, split_of


def _near_json(report: NearReport, split_of: dict[str, str], radius: int, *, as_json: bool) -> dict[str, Any]:
    """Counts; the pairs go out as lines of their own, or the first of them as a table."""
    from callosum.cli.output import console, write_json

    lines = []
    for pair in report.pairs:
        splits = [split_of.get(pair.first, ""), split_of.get(pair.second, "")]
        lines.append({"schema": "callosum.near_pair/1", **asdict(pair), "splits": splits})
    if as_json:
        write_json(lines)
    elif lines:
        from rich.markup import escape
        from rich.table import Table

        table = Table(
            "distance", "correlation", "splits", "first", "second", title="Nearly equal", title_justify="left"
        )
        for line in lines[:NUM_PAIRS]:
            cells = (str(line["distance"]), f"{line['correlation']:.3f}", " / ".join(line["splits"]))
            table.add_row(*cells, escape(str(line["first"])), escape(str(line["second"])))
        console().print(table)
    return {
        "radius": radius,
        "num_read": report.num_read,
        "num_flat": report.num_flat,
        "num_pairs": len(lines),
        "num_exact": sum(line["is_exact"] for line in lines),
        "num_groups": len(report.groups),
        "num_pairs_across_splits": sum(line["splits"][0] != line["splits"][1] for line in lines),
    }


def _census_table(values: dict[str, Any], census: Census) -> None:
    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console
    from callosum.core.finding import Presence

    table = Table(show_header=False, title=escape(values["dataset"]), title_justify="left", title_style="bold")
    for key, value in values.items():
        if key not in ("schema", "dataset", "labels") and value != {}:
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
            table.add_row(key.replace("_", " "), escape(shown))
    console().print(table)
    labels = census.labels_json()
    if not labels:
        return
    presences = [presence.label for presence in Presence]
    counts = Table("concept", *presences, title="Labels", title_justify="left", title_style="bold")
    for concept, found in labels.items():
        counts.add_row(escape(concept), *(str(found.get(presence, 0)) for presence in presences))
    console().print(counts)
