"""What the archive asks of the engine beside adding and searching: tables that may be half made, arrays, quoting."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from callosum.archive.entry import Entry, Stored
from callosum.core.embedding import Embedding
from callosum.core.errors import IntegrityError

if TYPE_CHECKING:
    import pyarrow as pa


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


def first_of_each(entries: Sequence[Entry], *, digests: set[str], taken: set[str]) -> list[Stored]:
    """What becomes of each entry beside rows with these digests and ids, which those of new entries join."""
    stored = []
    for entry in entries:
        if entry.source_digest in digests:
            stored.append(Stored.SAME)
        elif entry.record_id in taken:
            stored.append(Stored.CONFLICT)
        else:
            stored.append(Stored.NEW)
            digests.add(entry.source_digest)
            taken.add(entry.record_id)
    return stored


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


def sql_list(values: set[str]) -> str:
    """Values as a parenthesised SQL list."""
    quoted = ("'" + value.replace("'", "''") + "'" for value in sorted(values))
    return f"({', '.join(quoted)})"
