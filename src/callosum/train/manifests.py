"""Manifests as a command line names them, to supplies: what their rows are, and which columns hold labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from callosum.core.errors import InputError, UsageError
from callosum.core.finding import PRESENCE_WORDS
from callosum.data.manifest import FIXED, read_table
from callosum.train.supply import Kind, Supply


def supply_of(given: str, *, concepts: Sequence[str] = (), weight: float = 1.0, wants_labels: bool = True) -> Supply:
    """What `KIND:FILE` or `FILE` supplies, with `@WEIGHT` after it where its share of a batch is another than 1.

    Without a kind, rows with a filled column `text` are pairs, and others pictures. Labels are the columns that are
    named like a concept; with no concepts, all columns of the words positive, negative, uncertain and unmentioned, in
    capitals or not.

    Args:
        given: What the command line says.
        concepts: Names of the label columns; those that hold labels when empty.
        weight: Where `given` says none.
        wants_labels: Whether labels are looked for.

    Raises:
        UsageError: there is no such kind.
        InputError: the manifest cannot be read; or a column holds labels but for some cells.
    """
    front, at, number = given.rpartition("@")
    if at and _is_number(number) and not Path(given.partition(":")[2] or given).exists():
        given, weight = front, float(number)
    kind, _, rest = given.partition(":")
    if rest and kind not in list(Kind) and not Path(given).exists():
        message = f"A manifest is named as FILE or KIND:FILE, where KIND is {', '.join(Kind)}; found {kind!r}."
        raise UsageError(message)
    is_said = bool(rest) and kind in list(Kind)
    path = Path(rest if is_said else given)
    is_text = is_said and Kind(kind) is Kind.TEXTS
    table = read_table(path, required="text" if is_text else "path")
    columns = [name for name in table.column_names if name not in FIXED]
    labels = {}
    if wants_labels:
        labels = {n: n for n in columns if (n in concepts if concepts else _is_label(table.column(n), name=n))}
    found = Kind(kind) if is_said else _kind(table)
    return Supply(manifest=path, kind=found, labels=labels, weight=weight)


def _kind(table: pa.Table) -> Kind:
    if "text" not in table.column_names:
        return Kind.IMAGES
    return Kind.PAIRS if any(str(value or "").strip() for value in table.column("text").to_pylist()) else Kind.IMAGES


def _is_label(column: pa.ChunkedArray, *, name: str) -> bool:
    """Whether a column holds labels in words, and some.

    Raises:
        InputError: most of its filled cells are such words, and some are none.
    """
    cells = [str(value).strip().lower() for value in column.to_pylist() if value is not None]
    filled = [cell for cell in cells if cell]
    num_words = sum(cell in PRESENCE_WORDS for cell in filled)
    if not num_words or num_words == len(filled):
        return bool(num_words)
    if 2 * num_words <= len(filled):
        return False
    is_odd = [
        bool(value is not None and (cell := str(value).strip().lower()) and cell not in PRESENCE_WORDS)
        for value in column.to_pylist()
    ]
    message = f"Row {is_odd.index(True) + 1} holds no label in column '{name}', whose other cells are labels."
    raise InputError(message, hint="Correct it, or name the columns of labels: --set concepts=A,B.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
