"""Examples as a manifest, CSV or Parquet, that `callosum index --manifest` takes.

Columns are those of `callosum.data.manifest`, then one for each concept of the labels (`positive`, `negative`,
`uncertain`, `unmentioned`; empty when it was not looked at), then the attributes. Rows go to the disk as they come,
and the table takes its name when it is whole.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet

from callosum.core.record import Attribute
from callosum.data.datasets.dataset import Example
from callosum.data.manifest import FIXED
from callosum.data.sources import Source

_BATCH_ROWS = 4096
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was written: how many rows, and the names of the columns."""

    num_rows: int
    columns: tuple[str, ...]


def write_manifest(path: Path, examples: Iterable[Example], *, concepts: tuple[str, ...] = ()) -> Written:
    """Write a manifest; its suffix, `.parquet` or any other, says as what.

    An attribute that is called like a column with a meaning, or like a concept, is left out. Labels of an open
    vocabulary are not columns: adapters give them as an attribute.

    Args:
        path: File to write; one that is there is replaced when the new one is whole.
        examples: Rows.
        concepts: Labels that get a column.
    """
    kinds: dict[str, set[type]] = {name: {str} for name in (*FIXED, *concepts)}
    reserved = frozenset(kinds)
    num_rows = 0
    folder = path.resolve().parent
    with tempfile.TemporaryFile("w+", dir=folder, encoding="utf-8") as spool:
        for example in examples:
            row = _cells(example, folder, concepts, reserved)
            for name, value in row.items():
                if name not in reserved:
                    kinds.setdefault(name, set()).add(type(value))
            spool.write(json.dumps(row) + "\n")
            num_rows += 1
        spool.seek(0)
        _publish(path, spool, kinds)
    return Written(num_rows=num_rows, columns=tuple(kinds))


def manifest_path(source: Source, folder: Path) -> str:
    """Where the picture is, as a manifest in `folder` says it."""
    place = Path(os.path.relpath(source.location.resolve(), folder.resolve())).as_posix()
    return f"{place}:{source.member}" if source.member else place


def _cells(example: Example, folder: Path, concepts: tuple[str, ...], reserved: frozenset[str]) -> dict[str, Attribute]:
    source = example.source
    row: dict[str, Attribute] = {column: getattr(source, field) for column, field in FIXED.items()}
    row["path"] = manifest_path(source, folder)
    labels = {name: example.labels[name].label for name in concepts if name in example.labels}
    extra = {name: value for name, value in source.attributes.items() if name and name not in reserved}
    return row | labels | extra


def _publish(path: Path, spool: IO[str], kinds: dict[str, set[type]]) -> None:
    number, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=".manifest-")
    os.close(number)
    half = Path(name)
    try:
        if path.suffix.lower() == ".parquet":
            _write_parquet(half, spool, kinds)
        else:
            with half.open("w", encoding="utf-8", newline="") as stream:
                table = csv.DictWriter(stream, list(kinds), restval="", lineterminator="\n")
                table.writeheader()
                table.writerows(json.loads(line) for line in spool)
        half.chmod(0o644)
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def _write_parquet(path: Path, spool: IO[str], kinds: dict[str, set[type]]) -> None:
    types = {name: _TYPES[next(iter(found))] if len(found) == 1 else pa.string() for name, found in kinds.items()}
    schema = pa.schema(types)
    with pa.parquet.ParquetWriter(path, schema) as writer:
        for rows in _batches(spool):
            columns = {
                name: pa.array([_fitting(row.get(name), kind) for row in rows], kind) for name, kind in types.items()
            }
            writer.write_table(pa.table(columns, schema=schema))


def _batches(spool: IO[str]) -> Iterator[list[dict[str, Any]]]:
    while lines := list(islice(spool, _BATCH_ROWS)):
        yield [json.loads(line) for line in lines]


def _fitting(value: Attribute | None, kind: pa.DataType) -> Attribute | None:
    """An empty cell is none; a column of several kinds is text."""
    if value is None or value == "":
        return None
    return str(value) if pa.types.is_string(kind) else value
