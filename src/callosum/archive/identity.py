"""What becomes of pictures beside those that are there: new, the same, or in conflict.

A row is known by its file and part. Two files that claim one instance UID are the same if they show the same picture,
as lossless copies do, and otherwise contradict each other; so do a series in two studies, and two patients in one study
(answers to failures 31 to 33 that real networks deliver). A file is answered as a whole: what one of its parts
contradicts keeps all of them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from callosum.archive.entry import Entry, Stored
from callosum.archive.tables import scan, sql_any

if TYPE_CHECKING:
    import pyarrow as pa

_IDENTITY = ("record_id", "source_digest", "part", "instance_id", "picture_digest")
_HIERARCHY = ("series_id", "study_id", "patient_id")


@dataclass(kw_only=True, slots=True)
class Known:
    """What rows say about identity; those of entries that are new join it.

    A run that writes nothing keeps one over its batches.
    """

    parts: set[tuple[str, str]] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)
    pictures: dict[tuple[str, str], set[str | None]] = field(default_factory=dict)
    studies: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)

    def take_identity(
        self, record_id: str, source_digest: str, part: str | None, instance_id: str | None, picture: str | None
    ) -> None:
        """Know a row's identity."""
        self.parts.add((source_digest, part or ""))
        self.files[record_id] = source_digest
        if instance_id:
            self.pictures.setdefault((instance_id, part or ""), set()).add(picture)

    def take_hierarchy(self, series_id: str | None, study_id: str | None, patient_id: str | None) -> None:
        """Know to which study a series, and to which patient a study belongs; the first to say so is believed."""
        if series_id and study_id:
            self.studies.setdefault(series_id, study_id)
        if study_id and patient_id:
            self.patients.setdefault(study_id, patient_id)

    def take(self, entry: Entry) -> None:
        """Know an entry."""
        self.take_identity(*(getattr(entry, name) for name in _IDENTITY))
        self.take_hierarchy(*(getattr(entry, name) for name in _HIERARCHY))

    def answer(self, entry: Entry) -> Stored:
        """What becomes of an entry, were it alone."""
        if (entry.source_digest, entry.part) in self.parts or self.files.get(entry.record_id) == entry.source_digest:
            return Stored.SAME
        pictures = self.pictures.get((entry.instance_id, entry.part)) if entry.instance_id else None
        if pictures is not None:
            is_same = entry.picture_digest is not None and entry.picture_digest in pictures
            return Stored.SAME if is_same else Stored.UID_CONFLICT
        if _differ(self.studies, entry.series_id, entry.study_id):
            return Stored.HIERARCHY_CONFLICT
        if _differ(self.patients, entry.study_id, entry.patient_id):
            return Stored.HIERARCHY_CONFLICT
        return Stored.CONFLICT if entry.record_id in self.files else Stored.NEW


def sort_out(images: Any | None, entries: Sequence[Entry], *, beside: Known | None = None) -> list[Stored]:
    """What becomes of each entry beside the rows of a table, what is known already, and the entries before it."""
    known = Known() if beside is None else beside
    if entries and images is not None:
        for row in _rows(_identical(images, entries)):
            known.take_identity(*row)
        for row in _rows(_akin(images, entries)):
            known.take_hierarchy(*row)
    files: dict[str, list[int]] = {}
    for n, entry in enumerate(entries):
        files.setdefault(entry.source_digest, []).append(n)
    stored = [Stored.NEW] * len(entries)
    for members in files.values():
        refusals = (known.answer(entries[n]) for n in members)
        of_new = next((answer for answer in refusals if answer.is_refused), Stored.NEW)
        for n in members:
            answer = known.answer(entries[n])
            stored[n] = of_new if answer is Stored.NEW else answer
            if stored[n] is Stored.NEW:
                known.take(entries[n])
    return stored


def _identical(images: Any, entries: Sequence[Entry]) -> pa.Table:
    wanted = {name: _values(entries, name) for name in ("source_digest", "record_id", "instance_id")}
    return scan(images, sql_any(wanted), _IDENTITY)


def _akin(images: Any, entries: Sequence[Entry]) -> pa.Table | None:
    """The distinct combinations of series, study and patient around the entries: few, however many rows have them."""
    wanted = {name: _values(entries, name) for name in ("series_id", "study_id")}
    if not any(wanted.values()):
        return None
    return scan(images, sql_any(wanted), _HIERARCHY).group_by(list(_HIERARCHY)).aggregate([])


def _values(entries: Iterable[Entry], name: str) -> set[str]:
    return {value for entry in entries if (value := getattr(entry, name))}


def _rows(table: pa.Table | None) -> Iterable[tuple[Any, ...]]:
    return () if table is None else zip(*(column.to_pylist() for column in table.itercolumns()), strict=True)


def _differ(owners: dict[str, str], child: str | None, owner: str | None) -> bool:
    return bool(child and owner) and owners.get(str(child), owner) != owner
