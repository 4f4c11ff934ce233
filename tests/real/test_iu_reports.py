"""The Indiana University reports, when the data packs are here: sections of five typesettings and of the XML."""

import tarfile
from pathlib import Path

import pytest

from benchmarks.reports import gold_sections, score
from callosum.core.errors import Refused
from callosum.core.report import SectionKind
from callosum.data.report import parse_report, read_report

LABELS = {"COMPARISON": "comparison", "INDICATION": "indication", "FINDINGS": "findings", "IMPRESSION": "impression"}


@pytest.fixture(scope="module")
def rows(data_root: Path) -> list[dict[str, object]]:
    from pyarrow import parquet

    return parquet.read_table(data_root / "iu_reports" / "reports.parquet").to_pylist()


def test_boundaries(rows: list[dict[str, object]]) -> None:
    tally = score((str(row["rendered_style"]), str(row["rendered_text"]), gold_sections(row)) for row in rows)
    assert len(tally.styles) >= 5
    for style in tally.styles:
        assert tally.f1(style=style) >= 0.98, style
    for kind in ("exam", "indication", "comparison", "findings", "impression"):
        assert tally.f1(kind=kind) >= 0.98, kind


def test_what_was_asked_is_never_searched(rows: list[dict[str, object]]) -> None:
    leaks = 0
    for row in rows:
        text = str(row["rendered_text"])
        asked = [(a, b) for kind, a, b in gold_sections(row) if kind in ("indication", "comparison", "exam")]
        report = parse_report(text)
        leaks += any(s.start < b and a < s.end for s in report.findings_sentences() for a, b in asked)
    assert leaks <= len(rows) // 1000


def test_they_are_english(rows: list[dict[str, object]]) -> None:
    flagged = [row for row in rows if any(f.code == "LANGUAGE" for f in parse_report(str(row["rendered_text"])).flags)]
    assert not flagged


def test_xml(data_root: Path, rows: list[dict[str, object]]) -> None:
    known = {f"{row['id']}.xml": row for row in rows}
    num_read = num_empty = 0
    with tarfile.open(data_root / "iu_reports" / "xml.tar.gz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            row = known.get(Path(member.name).name)
            if stream is None or row is None:
                continue
            try:
                report = read_report(stream.read())
            except Refused as refused:
                assert refused.reason == "NO_REPORT_TEXT"
                num_empty += 1
                continue
            num_read += 1
            assert report.identifiers["accession"] == row["id"]
            for kind in LABELS.values():
                assert report.section_text(SectionKind(kind)).split() == str(row[kind] or "").split()
    assert num_read > 9 * num_empty
