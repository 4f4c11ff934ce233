"""CSV and Parquet tables that say where images are and what is known about them.

Columns: `path` (relative to the manifest; `archive.tar:member` and `archive.tar.gz:member` are read in place) and,
each optional, `id`, `text`, `patient_id`, `study_id`, `modality`, `body_part` and `split`, which are text. Every
other column that has a name becomes an attribute, and an empty cell is none.

A column of a CSV file has one type, found from all of it: true or false, integer, number, else text. Beside numbers,
`NA`, `NaN`, `null`, `None` and the like count as empty; in a column of text they are words. Numbers with leading
zeros and integers beyond 64 bits are codes, and stay text, as do dates. Parquet states its types; lists become text.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from callosum.core.errors import InputError
from callosum.core.record import Attribute
from callosum.data.sources import Source
from callosum.data.tar import Inflated, inflate, is_packed

FIXED = {
    "path": "name",
    "id": "record_id",
    "text": "text",
    "patient_id": "patient_id",
    "study_id": "study_id",
    "modality": "modality",
    "body_part": "body_part",
    "split": "split",
}
"""Column of a manifest to field of `Source`."""

_MEMBER = re.compile(r"(?P<archive>.+?\.(?:tar|tar\.gz|tgz)):(?P<member>.+)", re.DOTALL)
_BATCH_ROWS = 4096
_BLOCK_BYTES = 1 << 26
"""No cell may be larger."""

_UNNAMED = frozenset({"", "__index_level_0__"})
"""Headers of the row number that pandas writes: no attribute."""

_EMPTY_NUMBERS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_INTEGER = r"^[+-]?[0-9]+$"
_NUMBER = r"^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:inf(inity)?))$"
_INT64_MAX = (1 << 63) - 1
_LEADING_ZERO = r"^[+-]?0[0-9]"


def read_manifest(path: str | Path, *, required: str = "path") -> Iterator[Source]:
    """The rows of a manifest, in order; the table is held as Arrow columns, the rows are made one by one.

    A `.tar.gz` is inflated once, when its first row is due, and what was inflated is removed when neither a later row
    nor a source refers to it.

    Args:
        path: CSV, TSV or Parquet.
        required: A column that it must have. Where that is another than `path`, files are not what it is read for, and
            a row without a path is called by its number.

    Raises:
        InputError: it cannot be parsed, lacks the column, or repeats one: raised at once. A row without a path, or with
            the id of an earlier row: raised when its turn comes. Rows are counted from 1, without the header.
    """
    manifest = Path(path)
    return _rows(_read_table(manifest, required=required), manifest.parent, has_files=required == "path")


def count_rows(path: str | Path) -> int:
    """How many rows `read_manifest` will give; no archive is opened.

    Raises:
        InputError: as `read_manifest` raises at once.
    """
    return int(_read_table(Path(path), only_path=True).num_rows)


def read_table(path: str | Path, *, required: str) -> pa.Table:
    """Another table by the same rules, with `required` among its columns.

    Raises:
        InputError: it cannot be parsed, lacks the column, or repeats one.
    """
    return _read_table(Path(path), required=required)


def _read_table(manifest: Path, *, required: str = "path", only_path: bool = False) -> pa.Table:
    try:
        with manifest.open("rb") as stream:
            is_parquet = stream.read(4) == b"PAR1"
    except OSError as error:
        message = "The manifest cannot be opened."
        raise InputError(message, hint="Check its path and permissions.") from error
    if not is_parquet:
        return _read_csv(manifest, required=required, only_path=only_path)
    try:
        names = pa.parquet.read_schema(manifest).names
        path_column = names[_check_names(names, required).index(required)]
        table = pa.parquet.read_table(manifest, columns=[path_column] if only_path else None)
    except (pa.ArrowException, OSError) as error:
        message = "The manifest is not a readable Parquet file."
        raise InputError(message, hint="Write it again, or use CSV.") from error
    return _named(table)


def _check_names(names: list[str], required: str) -> list[str]:
    """The names of the columns without surrounding space."""
    plain = [name.strip() for name in names]
    if any(name not in _UNNAMED and times > 1 for name, times in Counter(plain).items()):
        message = "The manifest names a column twice."
        raise InputError(message, hint="Give every column a name of its own.")
    if required not in plain:
        message = f"The table has no column '{required}'; it has {len(plain)} others."
        what = "says where each image is" if required == "path" else "holds it"
        raise InputError(message, hint=f"Name the column that {what} '{required}'.")
    return plain


def _named(table: pa.Table) -> pa.Table:
    """Columns under their plain names, without those that have none."""
    kept = [at for at, name in enumerate(table.column_names) if name.strip() not in _UNNAMED]
    table = table.select(kept).rename_columns([table.column_names[at].strip() for at in kept])
    for at, column in enumerate(table.columns):
        if pa.types.is_uint64(column.type) and (pc.max(column).as_py() or 0) > _INT64_MAX:
            table = table.set_column(at, table.column_names[at], pc.cast(column, pa.string()))
    return table


def _read_csv(manifest: Path, *, required: str, only_path: bool) -> pa.Table:
    bad_rows: list[int] = []

    def note(row: pa.csv.InvalidRow) -> str:
        bad_rows.append(row.number or 0)
        return "error"

    delimiter = "\t" if manifest.suffix.lower() in (".tsv", ".tab") else ","
    try:
        header = _read_header(manifest, delimiter)
        path_column = header[_check_names(header, required).index(required)] if header else ""
        table = pa.csv.read_csv(
            manifest,
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),  # one thread numbers rows
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=note),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                include_columns=[path_column] if only_path else [],
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:  # its words quote the row: it may name someone
        where = f" at row {bad_rows[0] - 1}: it has not as many cells as the header" if bad_rows else ""
        message = f"The manifest cannot be parsed as CSV in UTF-8{where}."
        raise InputError(message, hint="Quote cells that hold a comma, a quote or a line break.") from error
    table = _named(table)
    for at, name in enumerate(table.column_names):
        if name not in FIXED:
            table = table.set_column(at, name, _typed(table.column(at)))
    return table


def _read_header(manifest: Path, delimiter: str) -> list[str]:
    """Names of the columns, so that Arrow can be told to leave every cell as it is written."""
    with manifest.open(encoding="utf-8-sig", newline="") as stream:
        return next((row for row in csv.reader(stream, delimiter=delimiter) if row), [])


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text as true or false, integers or numbers, when all of it is."""
    plain = pc.utf8_trim_whitespace(column)
    values = pc.if_else(pc.is_in(plain, value_set=pa.array(_EMPTY_NUMBERS)), None, plain)
    if values.null_count == len(values):
        return column
    if _all(pc.is_in(pc.drop_null(values), value_set=pa.array(_TRUE + _FALSE))):
        return pc.if_else(pc.is_null(values), None, pc.is_in(values, value_set=pa.array(_TRUE)))
    if not _all(pc.match_substring_regex(values, _NUMBER)) or _any(pc.match_substring_regex(values, _LEADING_ZERO)):
        return column
    unsigned = pc.replace_substring_regex(values, r"^\+", "")
    if not _all(pc.match_substring_regex(values, _INTEGER)):
        return pc.cast(unsigned, pa.float64())
    try:
        return pc.cast(unsigned, pa.int64())
    except pa.ArrowInvalid:  # beyond 64 bits: a code, not a quantity
        return column


def _all(matches: pa.ChunkedArray) -> bool:
    return bool(pc.all(matches).as_py())


def _any(matches: pa.ChunkedArray) -> bool:
    return bool(pc.any(matches).as_py())


def _rows(table: pa.Table, folder: Path, *, has_files: bool) -> Iterator[Source]:
    first_row: dict[str, int] = {}
    extra = [name for name in table.column_names if name not in FIXED]
    packed = _Packed(table, folder) if has_files else None
    number = 0
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        columns = {name: batch.column(name).to_pylist() for name in table.column_names}
        for at in range(batch.num_rows):
            number += 1
            known: dict[str, Any] = {
                field: _text(columns[name][at]) for name, field in FIXED.items() if name in columns
            }
            if not has_files:
                known["name"] = known.get("name") or f"row {number}"
            if not known["name"]:
                message = f"Row {number} of the manifest has no path."
                raise InputError(message, hint="Fill the cell, or delete the row.")
            if record_id := known.get("record_id"):
                if record_id in first_row:
                    message = f"Rows {first_row[record_id]} and {number} of the manifest have the same id."
                    raise InputError(message, hint="Ids are unique; leave the column out to have them made.")
                first_row[record_id] = number
            values = {name: _attribute(columns[name][at]) for name in extra}
            attributes = {name: value for name, value in values.items() if value is not None}
            location, member = _place(known["name"], folder)
            inflated = packed.take(location) if packed and member else None
            yield Source(location=location, member=member, attributes=attributes, inflated=inflated, **known)


class _Packed:
    """The archives that are inflated now: each once, from the first row that needs it to the last."""

    def __init__(self, table: pa.Table, folder: Path) -> None:
        paths = (_text(value) for chunk in table.column("path").chunks for value in chunk.to_pylist())
        places = (_place(path, folder) for path in paths)
        self._rows_to_come = Counter(location for location, member in places if member)
        self._inflated: dict[Path, Inflated | None] = {}

    def take(self, archive: Path) -> Inflated | None:
        """What to read instead of an archive; None when it is not compressed. To be asked once for every row."""
        if archive not in self._inflated:
            self._inflated[archive] = inflate(archive) if is_packed(archive) else None
        self._rows_to_come[archive] -= 1
        if self._rows_to_come[archive]:
            return self._inflated[archive]
        return self._inflated.pop(archive)


def _place(path: str, folder: Path) -> tuple[Path, str]:
    """File, and member when the path names one."""
    if found := _MEMBER.fullmatch(path):
        return folder / found["archive"], found["member"]
    return folder / path, ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _attribute(value: Any) -> Attribute | None:
    """A value that an attribute can hold; None for an empty cell or a number that is none."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)
