"""The columns of an archive's tables (docs/formats/archive.md).

An attribute is a column of its own, so that a filter can name it: `label = 'benign' AND age > 60`. An attribute whose
name is taken by a fixed column is kept as `attribute_NAME`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from callosum.archive.entry import Entry
from callosum.core.errors import InputError
from callosum.core.record import Attribute

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "callosum.archive/1"
TEXT_COLUMNS = (
    "record_id",
    "source",
    "source_digest",
    "space",
    "modality",
    "body_part",
    "text",
    "patient_id",
    "study_id",
    "split",
    "render_recipe",
)
FIXED = frozenset({*TEXT_COLUMNS, "flags", "thumbnail", "vector", "text_vector", "_distance", "_rowid"})
PREFIX = "attribute_"


def images_schema(dim: int) -> pa.Schema:
    """Columns of the table `images`: one row per image."""
    import pyarrow as pa

    fields = [pa.field(name, pa.string()) for name in TEXT_COLUMNS]
    fields += [
        pa.field("flags", pa.list_(pa.string())),
        pa.field("thumbnail", pa.binary()),
        pa.field("vector", pa.list_(pa.float32(), dim)),
        pa.field("text_vector", pa.list_(pa.float32(), dim)),
    ]
    return pa.schema(fields)


def refused_schema() -> pa.Schema:
    """Columns of the table `refused`: one row per file that was not indexed, without its path."""
    import pyarrow as pa

    names = ("source_digest", "answer", "code", "sentence", "attributes")
    return pa.schema([pa.field(name, pa.string()) for name in names])


def column_of(attribute: str) -> str:
    """The column that holds an attribute."""
    return f"{PREFIX}{attribute}" if attribute in FIXED else attribute


def attribute_of(column: str) -> str:
    """The attribute that a column holds."""
    name = column.removeprefix(PREFIX)
    return name if name in FIXED else column


def new_columns(entries: Iterable[Mapping[str, Attribute]], have: pa.Schema) -> pa.Schema:
    """Columns for attributes that the table does not have yet.

    Raises:
        InputError: an attribute that is text in one place and a number in another.
    """
    import pyarrow as pa

    found: dict[str, str] = {}
    for attributes in entries:
        for name, value in attributes.items():
            kind = _kind(value)
            column = column_of(name)
            found[column] = _wider(name, found.get(column, kind), kind)
    types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string()}
    kinds = {str(arrow): kind for kind, arrow in types.items()}
    for field in have:
        if (
            field.name in found
            and _wider(field.name, kinds[str(field.type)], found[field.name]) != kinds[str(field.type)]
        ):
            message = f"Attribute {attribute_of(field.name)!r} is whole numbers in this archive; found fractions."
            raise InputError(message, hint="Rename the column, or index into another archive.")
    return pa.schema([pa.field(name, types[kind]) for name, kind in sorted(found.items()) if name not in have.names])


def images_table(
    entries: Sequence[Entry], schema: pa.Schema, *, space: str, vectors: pa.Array, text_vectors: pa.Array
) -> pa.Table:
    """The rows of `entries`, in the order and types of `schema`."""
    import pyarrow as pa

    columns: dict[str, Any] = {"vector": vectors, "text_vector": text_vectors, "space": [space] * len(entries)}
    for field in schema:
        if field.name in columns:
            continue
        if field.name in FIXED:
            columns[field.name] = [getattr(entry, field.name) for entry in entries]
        else:
            name = attribute_of(field.name)
            columns[field.name] = [entry.attributes.get(name) for entry in entries]
    arrays = [
        columns[field.name] if isinstance(columns[field.name], pa.Array) else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def attributes_from(row: Mapping[str, Any]) -> dict[str, Attribute]:
    """The attributes of a row that was read, without those it does not have."""
    return {
        attribute_of(name): value
        for name, value in row.items()
        if name not in FIXED and value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _kind(value: Attribute) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "text"


def _wider(name: str, one: str, other: str) -> str:
    if one == other:
        return one
    if {one, other} == {"int", "float"}:
        return "float"
    message = f"Attribute {name!r} is {one} in one place and {other} in another."
    raise InputError(message, hint="Make the column one type, or rename it.")
