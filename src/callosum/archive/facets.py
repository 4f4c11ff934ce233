"""Facets: how many pictures have each value of the columns that people filter by."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from callosum.archive.schema import FINDING_COLUMNS
from callosum.archive.store import Store
from callosum.archive.tables import explained, scan

if TYPE_CHECKING:
    import pyarrow as pa

FACETS = ("modality", "body_part", "split", *FINDING_COLUMNS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facet:
    """One column of pictures: `callosum.facet/1`.

    Attributes:
        name: The column.
        num_images: Pictures that the condition admits.
        num_unknown: Those of them without a value; of findings, those without a text that was understood.
        counts: Pictures by value, most first; one picture may count for several findings.
    """

    name: str
    num_images: int
    num_unknown: int
    counts: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The JSON object, with its schema."""
        return {"schema": "callosum.facet/1", **asdict(self)}


def facets(store: Store, *, where: str | None = None) -> list[Facet]:
    """Every facet of the pictures that a condition admits.

    Raises:
        UsageError: the condition is not SQL over known columns.
    """
    images = store.table("images")
    if images is None:
        return [Facet(name=name, num_images=0, num_unknown=0) for name in FACETS]
    names = [name for name in FACETS if name in images.schema.names]
    with explained(images, where):
        rows = scan(images, where, names)
    return [_facet(name, rows[name]) for name in names]


def _facet(name: str, column: pa.ChunkedArray) -> Facet:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.list_flatten(column) if pa.types.is_list(column.type) else column.drop_null()
    counted = pc.value_counts(values).to_pylist()
    ordered = sorted(counted, key=lambda each: (-each["counts"], each["values"]))
    return Facet(
        name=name,
        num_images=len(column),
        num_unknown=column.null_count,
        counts={each["values"]: each["counts"] for each in ordered},
    )
