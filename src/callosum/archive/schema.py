"""The columns of an archive's tables (docs/formats/archive.md).

An attribute is a column of its own, so that a filter can name it: `label = 'benign' AND age > 60`. An attribute whose
name is taken by a fixed column, or begins with an underscore, is kept as `attribute_NAME`; a dot, a quote or a per cent
sign in a name is written `%2E`, `%22`, `%25`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from callosum.archive.entry import Entry
from callosum.core.record import Attribute

if TYPE_CHECKING:
    import pyarrow as pa

NEW_COLUMNS = ("part", "file_id", "series_id", "instance_id", "accession_id", "picture_digest", "report_id")
"""What archives of the first format lack."""
FINDING_COLUMNS = ("findings", "findings_uncertain", "findings_absent")
"""Lists of concepts that the text states; null where there is no text that was understood. New in the third format."""
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
    *NEW_COLUMNS,
)
FIXED = frozenset(
    {*TEXT_COLUMNS, *FINDING_COLUMNS, "flags", "thumbnail", "vector", "text_vector", "_distance", "_rowid"}
)
PREFIX = "attribute_"
ATTRIBUTE_TYPE = "ATTRIBUTE_TYPE"
_ESCAPES = {character: f"%{ord(character):02X}" for character in '%.`"\\\n\r\t'}
_EXACT = 2**53


def images_schema(dim: int) -> pa.Schema:
    """Columns of the table `images`: one row per image."""
    import pyarrow as pa

    fields = [pa.field(name, pa.string()) for name in TEXT_COLUMNS]
    fields += [
        *finding_fields(),
        pa.field("flags", pa.list_(pa.string())),
        pa.field("thumbnail", pa.binary()),
        pa.field("vector", pa.list_(pa.float32(), dim)),
        pa.field("text_vector", pa.list_(pa.float32(), dim)),
    ]
    return pa.schema(fields)


def finding_fields() -> list[pa.Field]:
    """The columns of what a text states, in `images` and in `reports`."""
    import pyarrow as pa

    return [pa.field(name, pa.list_(pa.string())) for name in FINDING_COLUMNS]


def column_of(attribute: str) -> str:
    """The column that holds an attribute; different attributes have different columns."""
    escaped = "".join(_ESCAPES.get(character, character) for character in attribute)
    is_taken = attribute in FIXED or escaped.startswith(("_", PREFIX)) or not escaped
    return f"{PREFIX}{escaped}" if is_taken else escaped


def attribute_of(column: str) -> str:
    """The attribute that a column holds."""
    return unquote(column.removeprefix(PREFIX))


def fit_attributes(entries: Sequence[Entry], have: pa.Schema) -> tuple[list[Entry], pa.Schema]:
    """Entries whose attributes fit the columns, and the columns that are new.

    The first value of an attribute decides whether its column holds text, numbers or truth values. A value of another
    kind is left out of its entry, which is flagged `ATTRIBUTE_TYPE`: one odd cell does not stop a run.
    """
    import pyarrow as pa

    types = {"bool": pa.bool_(), "number": pa.float64(), "text": pa.string()}
    names = {str(arrow): kind for kind, arrow in types.items()}
    kinds = {field.name: names[str(field.type)] for field in have if field.name not in FIXED}
    fitted = []
    for entry in entries:
        kept: dict[str, Attribute] = {}
        for name, value in entry.attributes.items():
            if kinds.setdefault(column_of(name), _kind(value)) == _kind(value):
                kept[name] = value
        odd = (ATTRIBUTE_TYPE,) if len(kept) < len(entry.attributes) else ()
        fitted.append(replace(entry, attributes=kept, flags=(*entry.flags, *odd)))
    new = {column: types[kind] for column, kind in sorted(kinds.items()) if column not in have.names}
    return fitted, pa.schema([pa.field(column, arrow) for column, arrow in new.items()])


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
            columns[field.name] = [_stored(entry.attributes.get(name)) for entry in entries]
    arrays = [
        columns[field.name] if isinstance(columns[field.name], pa.Array) else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def attributes_from(row: Mapping[str, Any]) -> dict[str, Attribute]:
    """The attributes of a row that was read, without those it does not have; whole numbers come back as such."""
    return {
        attribute_of(name): int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in row.items()
        if name not in FIXED and value is not None and not (isinstance(value, float) and math.isnan(value))
    }


def _kind(value: Attribute) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number" if abs(value) <= _EXACT else "text"
    return "text"


def _stored(value: Attribute | None) -> Attribute | None:
    """What a column holds: an id of twenty digits is no number, because float64 would change it."""
    return str(value) if value is not None and _kind(value) == "text" else value
