"""Reports that come as a table: CSV or Parquet, a row each.

Columns: `text`, and at least one of `study_uid` and `accession`, as DICOM headers have them, or `study_id`, as a
manifest gave it; beside them, optional, `patient_id`, `status` and `document_id`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from callosum.archive.reports import report_entry
from callosum.core.digest import digest_json
from callosum.core.errors import Refused
from callosum.core.record import Answer
from callosum.data.manifest import read_table
from callosum.data.report import parse_report, unlinked
from callosum.service.extraction import report_columns
from callosum.service.outcome import ReadReport, Unreadable

_BATCH_ROWS = 1024
_IDS = ("study_uid", "accession", "study_id", "patient_id", "status", "document_id")


def count_reports(path: Path) -> int:
    """How many rows the table has."""
    return int(read_table(path, required="text").num_rows)


def read_report_table(path: Path, *, key: bytes) -> Iterator[ReadReport | Unreadable]:
    """The rows of a table of reports, each parsed.

    Args:
        path: CSV, TSV or Parquet.
        key: Secret of the archive's pseudonyms.

    Raises:
        InputError: it cannot be parsed, or has no column `text`.
    """
    table = read_table(path, required="text")
    number = 0
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        for row in batch.to_pylist():
            number += 1
            values = {name: str(row.get(name) or "").strip() for name in ("text", *_IDS)}
            yield _read_row(values, f"{path.name} row {number}", key)


def _read_row(values: dict[str, str], source: str, key: bytes) -> ReadReport | Unreadable:
    digest = digest_json(values)
    try:
        if not (values["study_uid"] or values["accession"] or values["study_id"]):
            raise unlinked()
        report = parse_report(values["text"])
    except Refused as refused:
        return Unreadable(
            source=source,
            source_digest="",
            answer=Answer(refused.answer),
            code=refused.reason,
            sentence=refused.sentence,
        )
    from_header = {name: values[name] for name in ("study_uid", "accession", "patient_id") if values[name]}
    entry = report_entry(
        replace(report, identifiers=from_header, source_digest=digest),
        status=values["status"] or "final",
        document_id=values["document_id"] or None,
    )
    entry = replace(entry, **report_columns(report))
    if values["study_uid"] or values["accession"]:
        entry = entry.pseudonymous(key)
    if values["study_id"]:
        entry = replace(entry, study_id=values["study_id"])
    return ReadReport(source=source, source_digest=digest, report=entry, flags=report.flags)
