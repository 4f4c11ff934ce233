"""What the archive asks of the engine beside adding and searching: tables that may be half made, arrays, quoting."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from callosum.archive.entry import Entry
from callosum.core.embedding import Embedding
from callosum.core.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
HIDDEN = frozenset({"vector", "text_vector", "thumbnail"})
"""Columns that no filter and no hit needs."""


def existing_table(database: Any, path: Path, name: str) -> Any:
    """A table; None where there is none, or where making it was interrupted before its first version.

    Raises:
        IntegrityError: it is there and cannot be opened.
    """
    versions = path / f"{name}.lance" / "_versions"
    if not versions.is_dir() or not any(versions.iterdir()):
        return None
    try:
        return database.open_table(name)
    except (ValueError, RuntimeError, OSError) as error:
        raise damaged() from error


def make_table(database: Any, path: Path, name: str, schema: pa.Schema) -> Any:
    """A new empty table, in place of one whose making was interrupted."""
    shutil.rmtree(path / f"{name}.lance", ignore_errors=True)
    return database.create_table(name, schema=schema)


def damaged() -> IntegrityError:
    """The error for files that are not what the engine wrote."""
    message = "Files of the archive are damaged or missing."
    return IntegrityError(message, hint="Restore the folder from a backup, or index again into a new one.")


def num_fragments(table: Any) -> int:
    """In how many files the rows of a table are."""
    return int(table.stats()["fragment_stats"]["num_fragments"])


def vector_array(matrix: np.ndarray) -> pa.Array:
    """Rows as a column of vectors."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


def text_rows(entries: Sequence[Entry], texts: Embedding | None) -> list[np.ndarray | None]:
    """One row per entry: its text's vector, or None."""
    if texts is None:
        return [None] * len(entries)
    rows = iter(texts.matrix)
    return [next(rows) if entry.text else None for entry in entries]


def text_array(rows: Sequence[np.ndarray | None], dim: int) -> pa.Array:
    """Rows as a column of vectors, some of them absent."""
    import pyarrow as pa

    return pa.array(list(rows), pa.list_(pa.float32(), dim))


@contextmanager
def explained(table: Any, where: str | None) -> Iterator[None]:
    """Turn an engine's complaint into one that names the columns there are, or says that files are damaged."""
    try:
        yield
    except (ValueError, RuntimeError, OSError) as error:
        if where is None:
            raise damaged() from error
        columns = ", ".join(name for name in table.schema.names if name not in HIDDEN)
        message = "The filter is not SQL over the columns of this archive."
        hint = f"Columns: {columns}. Example: modality = 'CT' AND body_part = 'chest'."
        raise UsageError(message, hint=hint) from error


def scan(table: Any, where: str | None, columns: Sequence[str] | dict[str, str]) -> pa.Table:
    """Some columns, or SQL expressions by name, of the rows that a condition admits."""
    found = table.search()
    if where:
        found = found.where(where)
    return found.select(columns if isinstance(columns, dict) else list(columns)).to_arrow()


def enclosed(where: str) -> str:
    """A condition in parentheses, so that others can be joined to it.

    Raises:
        UsageError: it closes a parenthesis that it did not open.
    """
    depths = accumulate({"(": 1, ")": -1}.get(character, 0) for character in _QUOTED.sub("", where))
    if min(depths, default=0) < 0:
        message = "The filter closes a parenthesis that it did not open."
        raise UsageError(message)
    return f"({where}\n)"  # the new line ends a comment


def sql_any(wanted: dict[str, set[str]]) -> str:
    """The condition that some column has one of the values wanted of it; empty when none is wanted."""
    return " OR ".join(f"{column} IN {sql_list(values)}" for column, values in wanted.items() if values)


def sql_list(values: Iterable[str]) -> str:
    """Values as a parenthesised SQL list."""
    quoted = ("'" + value.replace("'", "''") + "'" for value in sorted(set(values)))
    return f"({', '.join(quoted)})"
