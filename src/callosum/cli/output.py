"""Results on stdout: a table for people, JSON lines for programs. Everything else on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from callosum.core.protocols import Encoder
    from callosum.core.result import Hit, IngestReport, Prediction, Problem

TEXT_WIDTH = 60
NUM_SOURCES = 3
"""So many files are named for each reason."""


def write_json(values: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per line; a number that JSON does not have becomes null."""
    for value in values:
        click.echo(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))


def write_problems(problems: Iterable[Problem]) -> None:
    """Problems as JSON lines; when their reader, such as `head`, has seen enough, the run still goes on."""
    try:
        write_json(problem.to_json() for problem in problems)
    except BrokenPipeError:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        note("Nobody reads the output any more; indexing goes on.")


def note(message: str) -> None:
    """Something to know that is not a result."""
    click.echo(message, err=True)


def note_cut(encoder: Encoder, texts: Sequence[str]) -> None:
    """Say which texts are longer than the encoder reads, so that their ends were not looked at."""
    tell = getattr(encoder, "truncated", None)
    cut = [n for n, is_cut in enumerate(tell(texts), 1) if is_cut] if tell else []
    if cut:
        which = ", ".join(map(str, cut[:NUM_SOURCES])) + (" ..." if len(cut) > NUM_SOURCES else "")
        note(f"{len(cut)} of {len(texts)} texts (number {which}) are longer than the model reads: their ends were cut.")


def console(*, is_error: bool = False) -> Console:
    """A rich console; a table keeps its width when it is piped into a file."""
    from rich.console import Console

    made = Console(stderr=is_error, highlight=False)
    if not made.is_terminal and not is_error:
        made = Console(highlight=False, width=120)
    return made


@contextmanager
def progress_bar(description: str, *, total: int | None) -> Iterator[Any]:
    """A bar on stderr, shown on a terminal only; yields a function that takes the number done.

    Without a total it only moves and counts.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    shown = console(is_error=True)
    with Progress(*columns, console=shown, transient=False, disable=not shown.is_terminal) as bars:
        task = bars.add_task(description, total=total)
        yield lambda done, total=total: bars.update(task, completed=done, total=total)


def hits_table(hits: Sequence[Hit], *, title: str) -> None:
    """Hits, best first, each with a bar of its score; a column that no hit fills is left out."""
    from rich.markup import escape
    from rich.table import Table

    best = max((hit.score for hit in hits), default=1.0)
    columns = {
        "#": [str(hit.rank) for hit in hits],
        "score": [f"{hit.score:.3f} {bar(hit.score, best)}" for hit in hits],
        "images": [str(hit.num_images) if hit.group_id else "" for hit in hits],
        "record": [escape(hit.record_id) for hit in hits],
        "part": [escape(hit.part) for hit in hits],
        "modality": [escape(hit.modality or "") for hit in hits],
        "body part": [escape(hit.body_part or "") for hit in hits],
        "source": [escape(hit.source) for hit in hits],
        "text": [escape(shorten(hit.text or "")) for hit in hits],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for name in filled:
        table.add_column(name, justify="right" if name in {"#", "images"} else "left", overflow="fold")
    for cells in zip(*filled.values(), strict=True):
        table.add_row(*cells)
    console().print(table)


def refused_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """One row per refused file: its digest, answer and code, and what its header told."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Not indexed", title_justify="left", title_style="bold")
    for name in ("digest", "answer", "code", "header"):
        table.add_column(name, overflow="fold")
    for row in rows:
        header = ", ".join(f"{name} {value}" for name, value in sorted(row["attributes"].items()))
        table.add_row(row["source_digest"][:12], row["answer"], row["code"], escape(header))
    console().print(table)


def predictions_table(predictions: Sequence[Prediction], *, title: str) -> None:
    """One row per picture, one column per label, the best one marked."""
    from rich.markup import escape
    from rich.table import Table

    labels = list(predictions[0].scores) if predictions else []
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    table.add_column("source", overflow="fold")
    for label in labels:
        table.add_column(escape(label), justify="right")
    for prediction in predictions:
        cells = [f"{prediction.scores[label]:.3f}" for label in labels]
        marked = [
            f"[bold green]{c} ◂[/]" if label == prediction.best else c for c, label in zip(cells, labels, strict=True)
        ]
        table.add_row(escape(prediction.source), *marked)
    console().print(table)
    note("Scores are raw cosines, not probabilities, and no diagnosis.")


def ingest_table(report: IngestReport, *, title: str = "Indexed") -> None:
    """Counts, then why each file was not plainly accepted."""
    from rich.table import Table

    counts = Table(title=title, title_justify="left", title_style="bold")
    values = {name.replace("_", " "): value for name, value in report.to_json().items() if name != "schema"}
    for name in values:
        counts.add_column(name, justify="right")
    counts.add_row(*(str(value) for value in values.values()))
    console().print(counts)
    problems_table(report.problems)


def problems_table(problems: Sequence[Problem]) -> None:
    """One row per answer, code and sentence, with how many files and the first of them; worst answers first."""
    from rich.markup import escape
    from rich.table import Table

    if not problems:
        return
    groups: dict[tuple[str, str, str], list[str]] = {}
    for problem in problems:
        groups.setdefault((str(problem.answer), problem.code, problem.sentence), []).append(problem.source)
    table = Table(title="Not plainly accepted", title_justify="left", title_style="bold")
    for name in ("answer", "code", "files", "why", "which"):
        table.add_column(name, justify="right" if name == "files" else "left", overflow="fold")
    for (answer, code, sentence), sources in sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1]))):
        more = f" and {len(sources) - NUM_SOURCES} more" if len(sources) > NUM_SOURCES else ""
        which = ", ".join(sources[:NUM_SOURCES]) + more
        table.add_row(answer, code, str(len(sources)), escape(sentence), escape(which))
    console().print(table)
    if any(len(sources) > NUM_SOURCES for sources in groups.values()):
        note("Every file with its reason: add --json.")


def bar(score: float, best: float, *, width: int = 12) -> str:
    """A bar as long as the score's share of the best one."""
    share = 0.0 if best <= 0 or math.isnan(score) else max(0.0, min(1.0, score / best))
    return "█" * round(share * width)


def shorten(text: str) -> str:
    """The first words of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= TEXT_WIDTH else line[: TEXT_WIDTH - 1].rstrip() + "…"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
