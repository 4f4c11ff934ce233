"""Manifests as a command line names them, to supplies: what their rows are, and which columns hold labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from callosum.core.errors import UsageError
from callosum.core.finding import PRESENCE_WORDS
from callosum.data.manifest import FIXED, read_table
from callosum.train.supply import Kind, Supply


def supply_of(given: str, *, concepts: Sequence[str] = (), weight: float = 1.0) -> Supply:
    """What `KIND:FILE` or `FILE` supplies.

    Without a kind, rows with a filled column `text` are pairs, and others pictures. Labels are the columns that are
    named like a concept; with no concepts, all columns of the words positive, negative, uncertain and unmentioned.

    Raises:
        UsageError: there is no such kind.
        InputError: the manifest cannot be read.
    """
    kind, _, rest = given.partition(":")
    if rest and kind not in list(Kind) and not Path(given).exists():
        message = f"A manifest is named as FILE or KIND:FILE, where KIND is {', '.join(Kind)}; found {kind!r}."
        raise UsageError(message)
    is_said = bool(rest) and kind in list(Kind)
    path = Path(rest if is_said else given)
    is_text = is_said and Kind(kind) is Kind.TEXTS
    table = read_table(path, required="text" if is_text else "path")
    columns = [name for name in table.column_names if name not in FIXED]
    labels = {name: name for name in columns if (name in concepts if concepts else _is_label(table.column(name)))}
    found = Kind(kind) if is_said else _kind(table)
    return Supply(manifest=path, kind=found, labels=labels, weight=weight)


def _kind(table: pa.Table) -> Kind:
    if "text" not in table.column_names:
        return Kind.IMAGES
    return Kind.PAIRS if any(str(value or "").strip() for value in table.column("text").to_pylist()) else Kind.IMAGES


def _is_label(column: pa.ChunkedArray) -> bool:
    """Whether a column holds labels in words, and some."""
    values = {str(value).strip() for value in column.unique().to_pylist() if value is not None and str(value).strip()}
    return bool(values) and values <= PRESENCE_WORDS
