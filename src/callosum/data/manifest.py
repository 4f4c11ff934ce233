"""CSV and Parquet tables that say where images are and what is known about them.

Columns: `path` (relative to the manifest; `archive.tar:member` and `archive.tar.gz:member` are read in place) and,
each optional, `id`, `text`, `patient_id`, `study_id`, `modality`, `body_part` and `split`, which are text. Every
other column becomes an attribute: pyarrow infers its type once for the file (integer, number, true or false, text);
dates and lists become text, and an empty cell is no attribute.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from callosum.core.errors import InputError
from callosum.core.record import Attribute
from callosum.data.sources import Source

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


def read_manifest(path: str | Path) -> Iterator[Source]:
    """The rows of a manifest, in order; the table is held as Arrow columns, the rows are made one by one.

    Raises:
        InputError: it cannot be parsed, has no `path` column, or repeats a column: raised at once. A row without
            a path, or with the id of an earlier row: raised when its turn comes. Rows are counted from 1, without
            the header.
    """
    manifest = Path(path)
    table = _read_table(manifest)
    if len(set(table.column_names)) != table.num_columns:
        message = "The manifest names a column twice."
        raise InputError(message, hint="Give every column a name of its own.")
    if "path" not in table.column_names:
        message = f"The manifest has no column 'path'; it has {table.num_columns} others."
        raise InputError(message, hint="Name the column that says where each image is 'path'.")
    return _rows(table, manifest.parent)


def _read_table(manifest: Path) -> pa.Table:
    try:
        with manifest.open("rb") as stream:
            is_parquet = stream.read(4) == b"PAR1"
    except OSError as error:
        message = "The manifest cannot be opened."
        raise InputError(message, hint="Check its path and permissions.") from error
    if is_parquet:
        try:
            return pa.parquet.read_table(manifest)
        except (pa.ArrowException, OSError) as error:
            message = "The manifest is not a readable Parquet file."
            raise InputError(message, hint="Write it again, or use CSV.") from error
    return _read_csv(manifest)


def _read_csv(manifest: Path) -> pa.Table:
    bad_rows: list[int] = []

    def note(row: pa.csv.InvalidRow) -> str:
        bad_rows.append(row.number or 0)
        return "error"

    is_tabbed = manifest.suffix.lower() in (".tsv", ".tab")
    try:
        return pa.csv.read_csv(
            manifest,
            read_options=pa.csv.ReadOptions(use_threads=False),  # rows are numbered by one thread only
            parse_options=pa.csv.ParseOptions(
                delimiter="\t" if is_tabbed else ",", newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(FIXED, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:  # its words quote the row, which may name a patient
        where = f" at row {bad_rows[0] - 1}: it has not as many cells as the header" if bad_rows else ""
        message = f"The manifest cannot be parsed as CSV in UTF-8{where}."
        raise InputError(message, hint="Quote cells that hold a comma, a quote or a line break.") from error


def _rows(table: pa.Table, folder: Path) -> Iterator[Source]:
    first_row: dict[str, int] = {}
    extra = [name for name in table.column_names if name not in FIXED]
    number = 0
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        columns = {name: batch.column(name).to_pylist() for name in table.column_names}
        for at in range(batch.num_rows):
            number += 1
            known = {field: _text(columns[name][at]) for name, field in FIXED.items() if name in columns}
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
            yield Source(location=location, member=member, attributes=attributes, **known)


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
