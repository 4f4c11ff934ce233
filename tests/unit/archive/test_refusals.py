from pathlib import Path

import pytest

from callosum.archive.archive import Archive
from callosum.archive.entry import entry_from_image
from callosum.core.errors import UsageError
from callosum.core.record import Answer
from callosum.core.result import Problem
from tests.fakes import FakeEncoder
from tests.unit.archive.test_archive import grey

HEADERS: dict[str, dict[str, object]] = {
    "report": {"modality": "SR", "body_part": "chest", "rows": 3},
    "plan": {"modality": "RTPLAN", "rows": "many", "code": "of the header"},
    "page": {},
}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive.create(tmp_path / "a")
    answers = [Answer.METADATA_ONLY, Answer.METADATA_ONLY, Answer.REJECT]
    problems = [
        Problem(source=f"{name}.dcm", source_digest=name, answer=answer, code="NO_PIXELS", sentence="No picture.")
        for name, answer in zip(HEADERS, answers, strict=True)
    ]
    made.refuse(problems, attributes=list(HEADERS.values()))
    return made


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (None, {"report", "plan", "page"}),
        ("answer = 'METADATA_ONLY'", {"report", "plan"}),
        ("modality = 'SR' AND body_part = 'chest'", {"report"}),
        ("rows IN ('3', 'many')", {"report", "plan"}),
        ("modality IS NULL", {"page"}),
        ("code = 'NO_PIXELS'", {"report", "plan", "page"}),
        ("attribute_code = 'of the header'", {"plan"}),
        ("answer = 'ACCEPT'", set()),
    ],
)
def test_what_headers_told_can_be_asked_for(archive: Archive, where: str | None, found: set[str]) -> None:
    rows = archive.unindexed(where=where)
    assert {row["source_digest"] for row in rows} == found
    assert all(row["attributes"] == HEADERS[row["source_digest"]] for row in rows)


def test_a_filter_that_is_not_sql_names_the_columns(archive: Archive) -> None:
    with pytest.raises(UsageError, match="modality"):
        archive.unindexed(where="nothing = 1")


def test_what_was_indexed_since_is_left_out(archive: Archive, encoder: FakeEncoder) -> None:
    entry = entry_from_image(grey(1, source_digest="page"), source="page.png")
    archive.add([entry], encoder.encode_image([grey(1)]))
    assert {row["source_digest"] for row in archive.unindexed()} == {"report", "plan"}


def test_an_archive_without_refusals(tmp_path: Path) -> None:
    assert Archive.create(tmp_path / "b").unindexed(where="code = 'x'") == []
