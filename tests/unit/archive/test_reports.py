from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import Archive
from callosum.archive.entry import Entry, Stored, entry_from_image
from callosum.archive.reports import ReportEntry, report_entry
from callosum.core.embedding import Embedding
from callosum.core.errors import InputError, SpaceMismatch
from callosum.core.record import Image, PixelUnit
from callosum.core.report import Report, Section, SectionKind
from tests.fakes import SHADES, FakeEncoder

NEW, SAME, HIERARCHY = Stored.NEW, Stored.SAME, Stored.HIERARCHY_CONFLICT


def picture(name: str, *, text: str | None = None, **ids: str) -> Entry:
    image = Image(
        pixels=np.full((8, 8), sum(name.encode()) % 256, np.uint8),
        unit=PixelUnit.DISPLAY,
        identifiers=ids,
        source_digest=f"file {name}",
    )
    return entry_from_image(image, source=name, record_id=name, text=text)


def report(searchable: str, **fields: str) -> ReportEntry:
    text = f"HISTORY: white? FINDINGS: {searchable}"
    return ReportEntry(text=text, searchable=searchable, source_digest=f"digest of {searchable}", **fields)  # type: ignore[arg-type]


class Desk:
    """An archive, and what is put into it."""

    def __init__(self, path: Path, encoder: FakeEncoder) -> None:
        self.archive = Archive.create(path)
        self.encoder = encoder

    def index(self, *entries: Entry) -> list[Stored]:
        rows = self.encoder.encode_image([np.zeros((8, 8), np.uint8)] * len(entries))
        captions = [entry.text for entry in entries if entry.text]
        texts = self.encoder.encode_text(captions) if captions else None
        return [added.stored for added in self.archive.add(entries, rows, texts=texts)]

    def attach(self, *reports: ReportEntry) -> list[Stored]:
        return self.archive.attach(reports, self.texts(reports))

    def texts(self, reports: Sequence[ReportEntry]) -> Embedding | None:
        searchable = [each.searchable for each in reports if each.searchable]
        return self.encoder.encode_text(searchable) if searchable else None

    def text_of(self, record_id: str) -> str | None:
        """The text of a row, whose vector and report must be those of that text."""
        row = Archive.open(self.archive.path).get(record_id)
        if row["text"] is None:
            assert row["text_vector"] is None
            assert row["report_id"] is None
            return None
        np.testing.assert_allclose(row["text_vector"], self.encoder.encode_text([row["text"]]).matrix[0], atol=1e-6)
        if row["report_id"]:
            [found] = self.archive.reports(report_id=row["report_id"])
            assert found["searchable"] == row["text"]
        return str(row["text"])


@pytest.fixture
def desk(tmp_path: Path, encoder: FakeEncoder) -> Desk:
    return Desk(tmp_path / "a", encoder)


@pytest.mark.parametrize("is_report_first", [False, True])
@pytest.mark.parametrize(
    ("of_picture", "of_report"),
    [
        ({"study_uid": "1"}, {"study_id": "1"}),
        ({"accession": "A"}, {"accession_id": "A"}),
        ({"study_uid": "1", "accession": "A"}, {"accession_id": "A"}),
        ({"study_uid": "1", "patient_id": "p"}, {"study_id": "1", "accession_id": "A", "patient_id": "p"}),
    ],
)
def test_they_meet_in_either_order(
    desk: Desk, is_report_first: bool, of_picture: dict[str, str], of_report: dict[str, str]
) -> None:
    if is_report_first:
        assert desk.attach(report("black", **of_report)) == [NEW]
    assert desk.index(picture("one", **of_picture), picture("other", study_uid="2", accession="B")) == [NEW, NEW]
    if not is_report_first:
        assert desk.attach(report("black", **of_report)) == [NEW]
    assert desk.text_of("one") == "black"
    assert desk.text_of("other") is None
    query = desk.encoder.encode_text(["black"])
    assert [hit.record_id for hit in desk.archive.search(query, by="text")] == ["one"]


@pytest.mark.parametrize("is_report_first", [False, True])
def test_what_contradicts_is_not_joined(desk: Desk, is_report_first: bool) -> None:
    """The accession is equal, but the studies differ: numbers of two hospitals may be the same."""
    one = report("black", study_id="1", accession_id="A")
    if is_report_first:
        desk.attach(one)
    desk.index(picture("one", study_uid="2", accession="A"), picture("two", study_uid="1", accession="B"))
    if not is_report_first:
        assert desk.attach(one) == [NEW]
    assert (desk.text_of("one"), desk.text_of("two")) == (None, None)


def test_a_newer_version_replaces_the_text_and_the_older_one_is_kept(desk: Desk) -> None:
    desk.index(picture("one", study_uid="1"))
    first, second = report("black", study_id="1"), report("dark", study_id="1", status="corrected")
    assert desk.attach(first) == [NEW]
    assert desk.attach(second) == [NEW]
    assert desk.text_of("one") == "dark"
    versions = desk.archive.reports(study_id="1")
    assert [(row["version"], row["status"], row["searchable"]) for row in versions] == [
        (1, "final", "black"),
        (2, "corrected", "dark"),
    ]
    assert versions[0]["text"] == "HISTORY: white? FINDINGS: black"
    desk.index(picture("late", study_uid="1"))
    assert desk.text_of("late") == "dark"


def test_versions_in_one_batch(desk: Desk) -> None:
    desk.index(picture("one", study_uid="1"))
    assert desk.attach(*(report(shade, study_id="1") for shade in SHADES)) == [NEW] * 5
    assert desk.text_of("one") == "white"
    assert [row["version"] for row in desk.archive.reports(study_id="1")] == [1, 2, 3, 4, 5]


def test_documents_of_one_study_have_versions_of_their_own(desk: Desk) -> None:
    desk.attach(report("black", study_id="1", document_id="x"), report("dark", study_id="1", document_id="y"))
    desk.attach(report("grey", study_id="1", document_id="x"))
    found = [(row["document_id"], row["version"]) for row in desk.archive.reports(study_id="1")]
    assert found == [("x", 1), ("y", 1), ("x", 2)]


def test_the_same_report_again(desk: Desk) -> None:
    desk.index(picture("one", study_uid="1"))
    one = report("black", study_id="1")
    assert desk.attach(one, one) == [NEW, SAME]
    assert desk.attach(one) == [SAME]
    assert desk.attach(report("nowhere"), report("nowhere")) == [NEW, SAME], "without a study it is kept all the same"
    assert len(desk.archive.reports(study_id="1")) == 1
    assert b"digest of black" in set(desk.archive.digests()), "its file need not be read again"


@pytest.mark.parametrize("is_report_first", [False, True])
def test_a_caption_of_its_own_stays(desk: Desk, is_report_first: bool) -> None:
    one = report("black", study_id="1")
    if is_report_first:
        desk.attach(one)
    desk.index(picture("one", text="white", study_uid="1"), picture("two", study_uid="1"))
    if not is_report_first:
        desk.attach(one)
    assert (desk.text_of("one"), desk.text_of("two")) == ("white", "black")


def test_a_report_without_findings_hides_none(desk: Desk) -> None:
    desk.index(picture("one", study_uid="1"))
    desk.attach(report("black", study_id="1"), report("", study_id="1"))
    assert desk.text_of("one") == "black"
    desk.index(picture("late", study_uid="1"))
    assert desk.text_of("late") == "black"
    assert len(desk.archive.reports(study_id="1")) == 2


def test_reports_without_any_findings_need_no_vectors(desk: Desk) -> None:
    assert desk.attach(report("", study_id="1")) == [NEW]
    desk.index(picture("one", study_uid="1"))
    assert desk.text_of("one") is None
    assert desk.attach(report("", study_id="1", status="x"), report("dark", study_id="1")) == [NEW, NEW]
    assert desk.text_of("one") == "dark"


def test_the_patient_of_a_report_is_the_patient_of_its_study(desk: Desk) -> None:
    desk.index(
        picture("one", study_uid="1", patient_id="p"), picture("cap", text="white", study_uid="3", patient_id="p")
    )
    assert desk.attach(report("black", study_id="1", patient_id="q")) == [HIERARCHY]
    assert desk.attach(report("black", study_id="3", patient_id="q")) == [HIERARCHY], "also where nothing is joined"
    assert desk.attach(report("dark", study_id="2", patient_id="p")) == [NEW]
    assert desk.attach(report("grey", study_id="2", patient_id="q"), report("grey", study_id="2")) == [HIERARCHY, NEW]
    assert desk.text_of("one") is None
    desk.index(picture("late", study_uid="2", patient_id="r"))
    assert desk.text_of("late") == "grey", "the newest that names no other patient"


def test_hashed_ids_meet(desk: Desk) -> None:
    key = desk.archive.key
    desk.index(picture("one", study_uid="1.2.3", accession="A").pseudonymous(key))
    assert desk.attach(report("black", study_id="1.2.3", patient_id="Jane", document_id="D").pseudonymous(key)) == [NEW]
    assert desk.text_of("one") == "black"
    stored = b"".join(p.read_bytes() for p in desk.archive.path.rglob("*") if p.is_file())
    assert b"Jane" not in stored


def test_many_pictures_take_a_text(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callosum.archive.reports.MAX_ROWS", 7)
    names = [f"p{n}" for n in range(20)]
    desk.index(*(picture(name, study_uid=str(n % 2)) for n, name in enumerate(names)))
    desk.attach(report("black", study_id="0"), report("dark", study_id="1"))
    assert [desk.text_of(name) for name in names] == ["black", "dark"] * 10
    assert desk.archive.count() == 20


def test_a_killed_attach_is_repeated_whole(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are written before the report: what is in the table of reports need not be done again."""
    desk.index(picture("one", study_uid="1"))
    with monkeypatch.context() as killed:
        killed.setattr("callosum.archive.reports.text_array", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            desk.attach(report("black", study_id="1"))
    assert desk.archive.reports(study_id="1") == []
    assert desk.attach(report("black", study_id="1")) == [NEW]
    assert desk.text_of("one") == "black"


def test_what_is_acknowledged_is_flushed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: set[str] = set()
    monkeypatch.setattr("callosum.archive.commit._fsync", lambda path: flushed.add(str(path)))
    desk.index(picture("one", study_uid="1"))
    desk.attach(report("black", study_id="1"))
    tables = [desk.archive.path / f"{name}.lance" for name in ("images", "reports")]
    written = {str(p) for table in tables for p in table.rglob("*")}
    assert written
    assert written <= flushed


def test_vectors_must_fit(desk: Desk) -> None:
    with pytest.raises(InputError):
        desk.archive.attach([report("black")], None)
    with pytest.raises(InputError):
        desk.archive.attach([report("")], desk.encoder.encode_text(["one too many"]))
    desk.index(picture("one"))
    with pytest.raises(SpaceMismatch):
        desk.archive.attach([report("black")], FakeEncoder("stranger.v1").encode_text(["black"]))


def test_an_entry_is_made_of_a_parsed_report() -> None:
    text = "INDICATION: cough. FINDINGS: clear."
    parsed = Report(
        text=text,
        sections=(
            Section(kind=SectionKind.INDICATION, heading="INDICATION", heading_start=0, start=12, end=18),
            Section(kind=SectionKind.FINDINGS, heading="FINDINGS", heading_start=19, start=29, end=35),
        ),
        identifiers={"study_uid": "1", "accession": "A", "patient_id": "p"},
        source_digest="d",
    )
    made = report_entry(parsed, status="addendum", document_id="D")
    assert (made.text, made.searchable, made.status) == (text, "clear.", "addendum")
    assert (made.study_id, made.accession_id, made.patient_id, made.document_id) == ("1", "A", "p", "D")
    assert '"start": 29' in made.sections
