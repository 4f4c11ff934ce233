"""Files that were answered with something else than a picture: digest, answer, code and sentence; never a path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from callosum.archive.schema import PREFIX, column_of
from callosum.archive.store import Store
from callosum.archive.tables import explained
from callosum.core.record import Answer, Attribute
from callosum.core.result import Problem

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("source_digest", "answer", "code", "sentence", "attributes")
_OWN_NAME = {"modality", "body_part"}
"""Attributes that keep their name, as in the table of images."""


def refused_schema() -> pa.Schema:
    """Columns of the table `refused`: one row per file that was not indexed, without its path."""
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string()) for name in _COLUMNS])


def refuse(store: Store, problems: Sequence[Problem], attributes: Sequence[Mapping[str, Any]]) -> None:
    """Remember files that were not indexed, each once."""
    import pyarrow as pa

    rows = {
        problem.source_digest: {
            "source_digest": problem.source_digest,
            "answer": str(problem.answer),
            "code": problem.code,
            "sentence": problem.sentence,
            "attributes": json.dumps(dict(known)),
        }
        for problem, known in zip(problems, attributes or [{}] * len(problems), strict=True)
    }
    if not rows:
        return
    with store.changing():
        table = pa.Table.from_pylist(list(rows.values()), schema=refused_schema())
        refused = store.made("refused", refused_schema())
        refused.merge_insert("source_digest").when_matched_update_all().when_not_matched_insert_all().execute(table)
        store.flush()


def refusals(store: Store) -> dict[str, Problem]:
    """What was not indexed, by digest of the file; sources are not kept."""
    return {
        row["source_digest"]: Problem(
            source="",
            source_digest=row["source_digest"],
            answer=Answer(row["answer"]),
            code=row["code"],
            sentence=row["sentence"],
        )
        for row in _rows(store)
    }


def unindexed(store: Store, *, where: str | None, indexed: Iterable[str]) -> list[dict[str, Any]]:
    """Refused files with what their headers told, but for those indexed since.

    Args:
        store: The archive.
        where: SQL condition over `answer`, `code` and the header's attributes.
        indexed: The first 32 characters of the digests of indexed files.
    """
    import lancedb

    known = set(indexed)
    rows = [row for row in _rows(store) if row["source_digest"][:32] not in known]
    attributes = [json.loads(row.pop("attributes")) for row in rows]
    if rows and where:
        table = lancedb.connect("memory://").create_table("refused", _filterable(rows, attributes))
        with explained(table, where):
            kept = set(table.search().where(where).select(["source_digest"]).to_arrow()["source_digest"].to_pylist())
        both = [(row, known) for row, known in zip(rows, attributes, strict=True) if row["source_digest"] in kept]
    else:
        both = list(zip(rows, attributes, strict=True))
    return [{**row, "attributes": known} for row, known in both]


def _rows(store: Store) -> list[dict[str, Any]]:
    refused = store.table("refused")
    return [] if refused is None else refused.to_arrow().select(list(_COLUMNS)).to_pylist()


def _filterable(rows: Sequence[Mapping[str, Any]], attributes: Sequence[Mapping[str, Attribute]]) -> pa.Table:
    """The rows with a column for every attribute; one that is of several kinds is text."""
    import pyarrow as pa

    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _COLUMNS if name != "attributes"}
    for name in sorted({name for known in attributes for name in known}):
        values = [known.get(name) for known in attributes]
        kinds = {bool if isinstance(v, bool) else str if isinstance(v, str) else float for v in values if v is not None}
        kind = kinds.pop() if len(kinds) == 1 else str
        column = name if name in _OWN_NAME else column_of(name)
        columns[f"{PREFIX}{name}" if column in columns else column] = [
            None if value is None else kind(value) for value in values
        ]
    return pa.table(columns)
