"""Reports: kept with all their versions, and joined to the pictures of their study, whichever comes first.

A report and a picture belong together when their studies are equal, their accessions are equal, and neither pair that
both of them have differs. A picture takes the searchable text of the newest such report, with that text's vector. Not
joined are: a picture with a caption of its own, which it keeps; a report without searchable text, which hides no
earlier one; a report of another patient.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from callosum.archive.entry import Entry, Stored, pseudonym
from callosum.archive.schema import FINDING_COLUMNS, finding_fields
from callosum.archive.store import Store
from callosum.archive.tables import scan, sql_any, text_array
from callosum.core.digest import digest_json
from callosum.core.embedding import Embedding
from callosum.core.report import Report

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 8192
"""Pictures that take a text in one commit: about 100 MB with two vectors of 512 components and a thumbnail."""
_KEYS = ("study_id", "accession_id")
_IDENTITY = ("report_id", "document_id", "version", "received", *_KEYS, "patient_id")
_PICTURE = {
    **{name: name for name in ("record_id", *_KEYS, "patient_id")},
    "has_caption": "text IS NOT NULL AND report_id IS NULL",
}


@dataclass(frozen=True, kw_only=True)
class ReportEntry:
    """A report on its way into the archive.

    Attributes:
        text: As it was written.
        searchable: What of it says what the pictures show; the text that pictures take.
        source_digest: SHA-256 of the file; where a file holds many reports, a digest of each its own.
        sections: JSON text: where in `text` which section is.
        status: What its sender says it is, such as final, addendum, corrected.
        document_id: The sender's id of the document that this is a version of. Without one, all reports of a study
            are versions of one document.
        findings: As in `Entry`; so are the other two.
    """

    text: str = field(repr=False)
    searchable: str = field(repr=False)
    source_digest: str
    sections: str = "[]"
    status: str = "final"
    document_id: str | None = None
    study_id: str | None = None
    accession_id: str | None = None
    patient_id: str | None = None
    findings: tuple[str, ...] | None = None
    findings_uncertain: tuple[str, ...] | None = None
    findings_absent: tuple[str, ...] | None = None

    @property
    def report_id(self) -> str:
        """An id that depends on the content alone: the same report is never kept twice."""
        ids = [self.document_id, self.study_id, self.accession_id, self.patient_id]
        return digest_json([*ids, self.status, self.text])[:16]

    def pseudonymous(self, key: bytes) -> ReportEntry:
        """The same report, its ids replaced by the keyed hashes that pictures with these ids have."""
        names = ("document_id", *_KEYS, "patient_id")
        hashed: dict[str, Any] = {name: pseudonym(key, getattr(self, name)) for name in names}
        return replace(self, **hashed)


def report_entry(report: Report, *, status: str = "final", document_id: str | None = None) -> ReportEntry:
    """The entry of a report that was parsed; its identifiers are taken as study, accession and patient."""
    return ReportEntry(
        text=report.text,
        searchable=report.findings_text(),
        source_digest=report.source_digest,
        sections=json.dumps([asdict(section) for section in report.sections]),
        status=status,
        document_id=document_id,
        study_id=report.identifiers.get("study_uid") or None,
        accession_id=report.identifiers.get("accession") or None,
        patient_id=report.identifiers.get("patient_id") or None,
    )


def reports_schema() -> pa.Schema:
    """Columns of the table `reports`, which gets `vector` with the first text that has one."""
    import pyarrow as pa

    names = ("report_id", "document_id", *_KEYS, "patient_id", "text", "searchable", "sections", "source_digest")
    numbers = [pa.field("version", pa.int64()), pa.field("received", pa.int64())]
    return pa.schema([*(pa.field(name, pa.string()) for name in (*names, "status")), *numbers, *finding_fields()])


_Index = dict[tuple[str, str], list[dict[str, Any]]]


@dataclass(kw_only=True)
class Known:
    """What rows say about reports and the pictures of their studies; reports that are new join it.

    A run that writes nothing keeps one over its batches.
    """

    related: _Index = field(default_factory=dict)
    pictures: _Index = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    new: list[dict[str, Any]] = field(default_factory=list)
    received: int = 0

    def take_pictures(self, entries: Iterable[Entry]) -> None:
        """Know pictures."""
        for entry in entries:
            _join_index(self.pictures, {name: getattr(entry, name) for name in (*_KEYS, "patient_id")})

    def sort_out(self, reports: Sequence[ReportEntry]) -> list[Stored]:
        """What becomes of each report, in the order received."""
        return [self._answer(report) for report in reports]

    def _answer(self, report: ReportEntry) -> Stored:
        if report.report_id in self.taken:
            return Stored.SAME
        earlier = _akin(report, self.related)
        if any(_is_other(report, row, "patient_id") for row in (*earlier, *_akin(report, self.pictures))):
            return Stored.HIERARCHY_CONFLICT
        versions = [row for row in earlier if not _is_other(report, row, "document_id")]
        row = {name: getattr(report, name, None) for name in _IDENTITY}
        row |= {"version": len(versions) + 1, "received": self.received + len(self.new)}
        _join_index(self.related, row)
        self.taken.add(report.report_id)
        self.new.append(row)
        return Stored.NEW


def take_related(store: Store, reports: Sequence[ReportEntry], known: Known) -> None:
    """Know the archive's reports and pictures of the studies of these reports."""
    for row in _related(store.table("reports"), reports):
        if row["report_id"] not in known.taken:
            known.taken.add(row["report_id"])
            _join_index(known.related, row)
    for row in _pictures(store.table("images"), reports):
        _join_index(known.pictures, row)


def attach(store: Store, reports: Sequence[ReportEntry], texts: Embedding | None) -> list[Stored]:
    """Keep reports and give their texts to the pictures that are there.

    The pictures are written first: a report that is in the table is one that all its pictures have.
    """
    import pyarrow.compute as pc

    table = store.made("reports", reports_schema())
    known = Known()
    take_related(store, reports, known)
    newest = pc.max(scan(table, None, ["received"])["received"]).as_py()
    known.received = 0 if newest is None else newest + 1
    stored = known.sort_out(reports)
    kept = list(zip((n for n, answer in enumerate(stored) if answer is Stored.NEW), known.new, strict=True))
    _write(store, table, reports, kept, pictures=known.pictures, texts=texts)
    return stored


def with_reports(store: Store, entries: Sequence[Entry]) -> tuple[list[Entry], dict[int, np.ndarray]]:
    """Entries with the texts of reports that came before them, and the vectors of those texts by entry."""
    table = store.table("reports")
    wanted = {name: {value for e in entries if not e.text and (value := getattr(e, name))} for name in _KEYS}
    if table is None or not any(wanted.values()) or "vector" not in table.schema.names:
        return list(entries), {}
    columns = (*_IDENTITY, "searchable", "vector", *FINDING_COLUMNS)
    waiting = _by_key(scan(table, f"({sql_any(wanted)}) AND vector IS NOT NULL", columns).to_pylist())
    joined, vectors = [], {}
    for n, entry in enumerate(entries):
        found = [] if entry.text else [r for r in _akin(entry, waiting) if not _is_other(entry, r, "patient_id")]
        newest = max(found, key=lambda row: row["received"], default=None)
        if newest is not None:
            said: dict[str, Any] = {name: newest[name] for name in FINDING_COLUMNS}
            entry = replace(entry, text=newest["searchable"], report_id=newest["report_id"], **said)
            vectors[n] = np.asarray(newest["vector"], dtype=np.float32)
        joined.append(entry)
    return joined, vectors


def find_reports(store: Store, wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """All versions with these values of `report_id`, `study_id` or `accession_id`, in the order received."""
    table = store.table("reports")
    if table is None:
        return []
    columns = [name for name in table.schema.names if name != "vector"]
    rows = scan(table, sql_any({name: {value} for name, value in wanted.items()}), columns).to_pylist()
    return sorted(rows, key=lambda row: row["received"])


def _write(
    store: Store,
    table: Any,
    reports: Sequence[ReportEntry],
    kept: Sequence[tuple[int, dict[str, Any]]],
    *,
    pictures: dict[tuple[str, str], list[dict[str, Any]]],
    texts: Embedding | None,
) -> None:
    import pyarrow as pa

    if not kept:
        return
    rows = iter(() if texts is None else texts.matrix)
    vectors = [next(rows, None) if report.searchable else None for report in reports]
    newest: dict[str, int] = {}
    for n, _ in kept:
        if vectors[n] is not None:
            newest |= {row["record_id"]: n for row in _akin(reports[n], pictures) if not row["has_caption"]}
    _join(store, newest, reports, vectors)
    if texts is not None and "vector" not in table.schema.names:
        table.add_columns(pa.schema([pa.field("vector", pa.list_(pa.float32(), texts.matrix.shape[1]))]))
    columns: dict[str, Any] = {
        name: [row[name] if name in row else getattr(reports[n], name) for n, row in kept]
        for name in reports_schema().names
    }
    fresh = pa.table({name: pa.array(columns[name], table.schema.field(name).type) for name in columns})
    if "vector" in table.schema.names:
        dim = table.schema.field("vector").type.list_size
        fresh = fresh.append_column("vector", text_array([vectors[n] for n, _ in kept], dim))
    table.add(fresh)
    store.flush()


def _join(
    store: Store, newest: Mapping[str, int], reports: Sequence[ReportEntry], vectors: Sequence[np.ndarray | None]
) -> None:
    """Give pictures, by record id, the text of a report.

    Whole rows are replaced: the engine does that by reading the keys of the table alone, and reads all of it when it is
    given some of the columns.
    """
    images = store.table("images")
    record_ids = sorted(newest)
    for start in range(0, len(record_ids), MAX_ROWS):
        assert images is not None, "there are pictures to be joined"
        some = sql_any({"record_id": set(record_ids[start : start + MAX_ROWS])})
        rows = scan(images, some, images.schema.names)
        of_rows = [newest[record_id] for record_id in rows["record_id"].to_pylist()]
        dim = images.schema.field("text_vector").type.list_size
        rows = _with_columns(
            rows,
            text=[reports[n].searchable for n in of_rows],
            report_id=[reports[n].report_id for n in of_rows],
            text_vector=text_array([vectors[n] for n in of_rows], dim),
            **{name: [getattr(reports[n], name) for n in of_rows] for name in FINDING_COLUMNS},
        )
        images.merge_insert("record_id").when_matched_update_all().execute(rows)
    if record_ids:
        store.flush()


def _with_columns(rows: pa.Table, **columns: Any) -> pa.Table:
    """The rows with other values in some columns."""
    import pyarrow as pa

    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), pa.array(values, rows.schema.field(place).type))
    return rows


def _related(table: Any | None, reports: Sequence[ReportEntry]) -> list[dict[str, Any]]:
    """Reports that are there, of the same studies or accessions, or the same reports."""
    wanted = {name: {value for r in reports if (value := getattr(r, name))} for name in (*_KEYS, "report_id")}
    return scan(table, sql_any(wanted), _IDENTITY).to_pylist() if reports and table is not None else []


def _pictures(images: Any | None, reports: Sequence[ReportEntry]) -> list[dict[str, Any]]:
    """Pictures of the reports' studies and accessions."""
    wanted = {name: {value for r in reports if (value := getattr(r, name))} for name in _KEYS}
    if images is None or not any(wanted.values()):
        return []
    return scan(images, sql_any(wanted), _PICTURE).to_pylist()


def _by_key(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    index: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        _join_index(index, row)
    return index


def _join_index(index: dict[tuple[str, str], list[dict[str, Any]]], row: dict[str, Any]) -> None:
    for name in _KEYS:
        if row[name]:
            index.setdefault((name, row[name]), []).append(row)


def _akin(one: ReportEntry | Entry, index: Mapping[tuple[str, str], Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows that belong to the same study: no key that both have differs, and they have one in common."""
    found = {id(row): row for name in _KEYS for row in index.get((name, getattr(one, name) or ""), ())}
    return [row for row in found.values() if not any(_is_other(one, row, name) for name in _KEYS)]


def _is_other(one: ReportEntry | Entry, row: Mapping[str, Any], name: str) -> bool:
    """True when both have a value and they differ."""
    value = getattr(one, name)
    return bool(value and row[name]) and value != row[name]
