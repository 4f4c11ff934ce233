"""Level: what a hit stands for. A picture belongs to one group of each level.

A picture without a series, study or patient belongs to the group of its file: nothing is left out of an answer because
its header or manifest says less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from callosum.archive.tables import enclosed, sql_list


class Level(StrEnum):
    """Single pictures, or the groups that they belong to."""

    IMAGE = "image"
    FILE = "file"
    SERIES = "series"
    STUDY = "study"
    PATIENT = "patient"

    @property
    def group_sql(self) -> str:
        """The SQL expression over `images` that names a row's group."""
        return f"coalesce({', '.join(_COLUMNS[self])})"

    def group_of(self, row: Mapping[str, Any]) -> str:
        """The group of a row that was read."""
        return str(next(row[name] for name in _COLUMNS[self] if row[name] is not None))

    def within(self, group_ids: Iterable[str], *, where: str | None = None) -> str:
        """The condition that a row is in one of these groups, and meets a further condition.

        Raises:
            UsageError: the further condition closes a parenthesis that it did not open.
        """
        inside = f"{self.group_sql} IN {sql_list(group_ids)}"
        if not where:
            return inside
        return f"{enclosed(where)} AND {inside}"


GROUPED = (Level.FILE, Level.SERIES, Level.STUDY, Level.PATIENT)
_FILE = ("file_id", "source_digest")
_COLUMNS = {
    Level.IMAGE: ("record_id",),
    Level.FILE: _FILE,
    Level.SERIES: ("series_id", *_FILE),
    Level.STUDY: ("study_id", *_FILE),
    Level.PATIENT: ("patient_id", *_FILE),
}
