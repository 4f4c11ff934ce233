"""Published tables row by row: CSV, tab-separated text and JSON lines, plain or gzipped, in constant memory.

A row that has fewer or more cells than the header is given as far as it goes: `Data_Entry_2017.csv` has commas in its
column names. Messages name published files and columns, and never quote a cell.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from callosum.core.errors import InputError

MAX_LINE_BYTES = 1 << 24
"""No JSON line may be longer."""


def stream_csv(path: Path, *, needed: tuple[str, ...] = (), delimiter: str = ",") -> Iterator[dict[str, str]]:
    """The rows of a table with a header, cells as they are written.

    Args:
        path: A file in UTF-8, gzipped when its name ends in `.gz`.
        needed: Columns without which the table is of no use.
        delimiter: Between cells.

    Raises:
        InputError: it cannot be opened or parsed, or lacks a column.
    """
    number = 0
    try:
        with _text(path) as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            header = [name.strip() for name in next(reader, [])]
            for name in needed:
                if name not in header:
                    message = f"'{path.name}' has no column '{name}'."
                    raise InputError(message, hint="Is it the table as it was published?")
            for cells in reader:
                number += 1
                if cells:
                    yield dict(zip(header, cells, strict=False))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        message = f"'{path.name}' cannot be read as a table in UTF-8 after row {number}."
        raise InputError(message, hint="It may be damaged or half downloaded; get it again.") from error


def read_header(path: Path, *, delimiter: str = ",") -> list[str]:
    """The names of the columns.

    Raises:
        InputError: as `stream_csv`.
    """
    try:
        with _text(path) as stream:
            return [name.strip() for name in next(csv.reader(stream, delimiter=delimiter), [])]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        message = "The table cannot be read as text in UTF-8."
        raise InputError(message, hint="Save it as CSV in UTF-8.") from error


def stream_lines(path: Path) -> Iterator[str]:
    """The lines of a text in UTF-8; bytes that are not are replaced, so that one bad caption costs no other.

    Raises:
        InputError: it cannot be opened.
    """
    for line in _lines(path):
        yield line.decode("utf-8-sig", "replace").rstrip("\r\n")


def stream_json(path: Path) -> Iterator[dict[str, Any] | None]:
    """The objects of a file of JSON lines; None for a line that is none.

    Raises:
        InputError: it cannot be opened.
    """
    for line in _lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield value if isinstance(value, dict) else None


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of at most `MAX_LINE_BYTES`; of a longer one, only its beginning."""
    try:
        with _binary(path) as stream:
            while line := stream.readline(MAX_LINE_BYTES):
                yield line
                while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = stream.readline(MAX_LINE_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        message = f"'{path.name}' cannot be read to its end."
        raise InputError(message, hint="It may be damaged or half downloaded; get it again.") from error


def _binary(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _text(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(_binary(path), encoding="utf-8-sig", newline="")
