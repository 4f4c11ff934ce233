"""`callosum dataset manifest | split | verify | build`: what is made of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import FILE, JSON

if TYPE_CHECKING:
    from callosum.data.datasets import Example
    from callosum.data.datasets.census import Census

EXIT_SKIPPED = 7


@click.command("manifest")
@click.argument("name")
@click.argument("root", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="File to write: .csv or .parquet.")
@JSON
def write(name: str, root: Path, output: Path, as_json: bool) -> int:
    """Write dataset NAME at ROOT as a manifest that `callosum index --manifest` takes.

    Each concept of its labels is a column: positive, negative, uncertain or unmentioned. Rows whose image is missing
    are left out and counted; the exit code is then 7.

    \b
    Example:
      callosum dataset manifest csv-pairs pairs.csv -o manifest.csv
    """
    from callosum.data.datasets import open_dataset
    from callosum.data.datasets.census import Census
    from callosum.data.datasets.write import write_manifest

    dataset, census = open_dataset(name, root), Census()
    with _writing():
        write_manifest(output, _shown(census.count(dataset.rows())), concepts=dataset.concepts)
    return _say({"schema": "callosum.dataset/1", "dataset": name, **census.to_json()}, census, as_json=as_json)


@click.command("split")
@click.argument("name")
@click.argument("root", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, metavar="DIR", help="Folder for manifest.csv and split.json.")
@click.option("--ratios", default="train=0.7,validation=0.1,test=0.2", show_default=True, help="Shares of the sides.")
@click.option(
    "--by", type=click.Choice(["patient", "study", "record"]), default="patient", help="What is kept together."
)
@click.option("--seed", type=int, default=0, help="Another seed, another split.")
@click.option("--stratify", default="", metavar="CONCEPT", help="Label to be as frequent on every side.")
@JSON
def split(name: str, root: Path, output: Path, ratios: str, by: str, seed: int, stratify: str, as_json: bool) -> None:
    """Split dataset NAME at ROOT, so that no patient is on two sides, and write how it was done.

    \b
    Example:
      callosum dataset split manifest study/manifest.csv -o split --seed 1
    """
    from callosum.cli.output import progress_bar
    from callosum.data.datasets import open_dataset
    from callosum.data.split import GroupBy, SplitConfig, write_split

    names, shares = _ratios(ratios)
    config = SplitConfig(names=names, ratios=shares, by=GroupBy(by), seed=seed, stratify=stratify)
    dataset = open_dataset(name, root)
    with progress_bar("Splitting", total=None):
        header = write_split(dataset, output, config)
    _header(header, as_json=as_json)


@click.command("verify")
@click.argument("folder", type=FILE, metavar="DIR")
@JSON
def verify(folder: Path, as_json: bool) -> None:
    """Check that the split in DIR is the one that was written, and that no patient is on two sides.

    \b
    Example:
      callosum dataset verify split
    """
    from callosum.data.split import verify_split

    _header(verify_split(folder), as_json=as_json)


@click.command("build")
@click.argument("builder", type=click.Choice(["chexpert-5x200", "mimic-5x200"]))
@click.argument("root", type=FILE)
@click.option("-o", "--output", type=FILE, required=True, help="Manifest to write.")
@click.option("--rest", type=FILE, help="Manifest of everything that may be trained on beside it.")
@click.option("--per-class", type=click.IntRange(min=1), default=200, help="Pictures of each finding; 200 by default.")
@click.option("--seed", type=int, default=0, help="Another seed, other pictures.")
@click.option("--patient-disjoint", is_flag=True, help="One picture of a patient, and none of theirs in the rest.")
@JSON
def build(
    builder: str,
    root: Path,
    output: Path,
    rest: Path | None,
    per_class: int,
    seed: int,
    patient_disjoint: bool,
    as_json: bool,
) -> None:
    """Build CheXpert-5x200 or MIMIC-5x200 from the dataset at ROOT: exactly 200 pictures of each of five findings.

    Pictures are frontal, of the published training split, and positive for one finding alone. Which ones are taken
    follows from the seed and their names.

    \b
    Example (of a dataset that is yours to download):
      callosum dataset build chexpert-5x200 CheXpert-v1.0-small -o 5x200.csv --rest train.csv --patient-disjoint
    """
    from callosum.cli.output import progress_bar, write_json
    from callosum.data.datasets.five_by_200 import FiveConfig, choose, open_source
    from callosum.data.datasets.write import write_manifest

    dataset = open_source(builder, root)
    with progress_bar("Choosing", total=None):
        chosen = choose(dataset, FiveConfig(per_class=per_class, seed=seed, is_patient_disjoint=patient_disjoint))
        with _writing():
            written = write_manifest(output, chosen.rows(dataset), concepts=dataset.concepts)
            num_rest = None
            if rest is not None:
                others = (example for example in dataset if chosen.is_rest(example))
                num_rest = write_manifest(rest, others, concepts=dataset.concepts).num_rows
    values = {"schema": "callosum.five/1", "builder": builder, "seed": seed, "num_rows": written.num_rows}
    values |= {"num_candidates": dict(chosen.num_candidates), "num_rest": num_rest}
    if as_json:
        write_json([values])
    else:
        _table(values, title=builder)


COMMANDS = (write, split, verify, build)


def _shown(examples: Iterator[Example]) -> Iterator[Example]:
    from callosum.cli.output import progress_bar

    with progress_bar("Writing", total=None) as show:
        for done, example in enumerate(examples, start=1):
            if done % 256 == 0:
                show(done)
            yield example


def _writing() -> Any:
    """Turn a file that cannot be written into an error that says so."""
    from contextlib import contextmanager

    from callosum.core.errors import InputError

    @contextmanager
    def guarded() -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = "The manifest cannot be written."
            raise InputError(message, hint="Is its folder there, and may it be written to?") from error

    return guarded()


def _ratios(text: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    from callosum.core.errors import UsageError

    try:
        pairs = [part.split("=") for part in text.split(",")]
        return tuple(name.strip() for name, _ in pairs), tuple(float(share) for _, share in pairs)
    except ValueError as error:
        message = "--ratios names sides and their shares."
        raise UsageError(message, hint="For instance train=0.7,validation=0.1,test=0.2.") from error


def _say(values: dict[str, Any], census: Census, *, as_json: bool) -> int:
    from callosum.cli.output import note, write_json

    if as_json:
        write_json([values])
    else:
        _table({key: value for key, value in values.items() if key != "labels"}, title=values["dataset"])
    skipped = sum(census.lacks.values())
    if skipped:
        note(f"{skipped} rows give no example; see: callosum dataset check --json.")
    return EXIT_SKIPPED if skipped else 0


def _header(header: dict[str, Any], *, as_json: bool) -> None:
    from callosum.cli.output import write_json

    if as_json:
        write_json([header])
    else:
        _table({key: value for key, value in header.items() if key != "labels"}, title=header["dataset"])


def _table(values: dict[str, Any], *, title: str) -> None:
    import json

    from rich.markup import escape
    from rich.table import Table

    from callosum.cli.output import console

    table = Table(show_header=False, title=escape(title), title_justify="left", title_style="bold")
    for key, value in values.items():
        if key != "schema" and value not in (None, {}):
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
            table.add_row(key.replace("_", " "), escape(shown))
    console().print(table)
