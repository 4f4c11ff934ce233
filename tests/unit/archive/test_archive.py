import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import CARD, Archive
from callosum.archive.card import FORMAT
from callosum.archive.entry import Entry, Stored, entry_from_image
from callosum.archive.schema import column_of
from callosum.archive.tables import num_fragments
from callosum.core.embedding import Embedding
from callosum.core.errors import ArchiveBusy, InputError, IntegrityError, NotFound, SpaceMismatch, UsageError
from callosum.core.record import Answer, Image, PixelUnit
from callosum.core.result import Problem
from tests.fakes import SHADES, FakeEncoder


def grey(level: int, **fields: object) -> Image:
    pixels = np.full((20, 30), level, np.uint8)
    return Image(pixels=pixels, unit=PixelUnit.DISPLAY, **fields)  # type: ignore[arg-type]


def entries(levels: list[int], **fields: object) -> list[Entry]:
    return [entry_from_image(grey(level), source=f"{level}.png", **fields) for level in levels]


def filled(path: Path, encoder: FakeEncoder, **fields: object) -> Archive:
    archive = Archive.create(path)
    levels = [0, 64, 128, 192, 255]
    archive.add(entries(levels, **fields), encoder.encode_image([grey(level) for level in levels]))
    return archive


def test_search_finds_the_nearest_first(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = filled(tmp_path / "a", encoder)
    for n, shade in enumerate(SHADES):
        hits = archive.search(encoder.encode_text([f"something {shade}"]), k=3)
        assert hits[0].source == f"{[0, 64, 128, 192, 255][n]}.png"
        assert [hit.rank for hit in hits] == [1, 2, 3]
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_scores_are_the_cosines_of_an_exact_scan(tmp_path: Path, encoder: FakeEncoder) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    archive = Archive.create(tmp_path / "a", space=encoder.space)
    named = [replace(e, record_id=f"r{n}", source_digest=f"d{n}") for n, e in enumerate(entries([1] * 50))]
    archive.add(named, Embedding(matrix=rows, space=encoder.space))
    query = Embedding(matrix=rows[:1], space=encoder.space)
    expected = rows @ rows[0]
    hits = archive.search(query, k=50)
    assert [int(hit.record_id[1:]) for hit in hits] == np.argsort(-expected, kind="stable").tolist()
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1], atol=1e-5)


def test_adding_the_same_content_again_adds_nothing(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = filled(tmp_path / "a", encoder)
    again = archive.add(entries([0, 255, 7]), encoder.encode_image([grey(level) for level in (0, 255, 7)]))
    assert [added.stored for added in again] == [Stored.SAME, Stored.SAME, Stored.NEW]
    assert archive.count() == 6
    assert Archive.open(tmp_path / "a").count() == 6


def test_a_taken_id_is_a_conflict(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    first, second = (archive.add(entries([n], record_id="x"), encoder.encode_image([grey(n)]))[0] for n in (1, 2))
    assert (first.stored, second.stored) == (Stored.NEW, Stored.CONFLICT)
    assert archive.count() == 1


def test_filters_see_columns_and_attributes(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    kinds = [{"label": "x", "No Finding": 1, "source": "hospital"}, {"label": "y", "No Finding": 0, "age": 61.5}]
    rows = [replace(e, attributes=a) for e, a in zip(entries([3, 4]), kinds, strict=True)]
    archive.add(rows, encoder.encode_image([grey(3), grey(4)]))
    query = encoder.encode_text(["black"])
    for where, sources in {
        "label = 'x'": {"3.png"},
        "`No Finding` = 0": {"4.png"},
        "age > 60": {"4.png"},
        "attribute_source = 'hospital'": {"3.png"},
        "label IN ('x', 'y')": {"3.png", "4.png"},
    }.items():
        assert {hit.source for hit in archive.search(query, where=where)} == sources
    assert archive.search(query, where="label = 'x'")[0].attributes == kinds[0]
    assert archive.count(where="age > 60") == 1


def test_new_attributes_later_are_columns_too(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = filled(tmp_path / "a", encoder)
    archive.add(entries([9], attributes={"site": "left"}), encoder.encode_image([grey(9)]))
    assert archive.count(where="site = 'left'") == 1


def test_an_attribute_of_another_kind_is_left_out_and_said(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    kinds = [{"age": 60, "site": "left"}, {"age": 61.5, "site": 4}, {"age": "old"}, {"age": True}]
    rows = [replace(e, attributes=a) for e, a in zip(entries([3, 4, 5, 6]), kinds, strict=True)]
    added = archive.add(rows, encoder.encode_image([grey(n) for n in (3, 4, 5, 6)]))
    assert [a.is_fitted for a in added] == [True, False, False, False]
    hits = {hit.source: hit.attributes for hit in archive.search(encoder.encode_text(["black"]))}
    assert hits == {"3.png": {"age": 60, "site": "left"}, "4.png": {"age": 61.5}, "5.png": {}, "6.png": {}}
    assert archive.get(rows[2].record_id)["flags"] == ["ATTRIBUTE_TYPE"]


ODD_NAMES = [
    "a.b",
    "a%2Eb",
    "`x`",
    "_rowid",
    "_distance",
    "vector",
    "attribute_vector",
    "No Finding",
    "größe",
    'q"',
    "%",
]


def test_every_name_can_be_an_attribute(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    attributes = {name: n for n, name in enumerate(ODD_NAMES)} | {"id": 2**70}
    archive.add(entries([3], attributes=attributes), encoder.encode_image([grey(3)]))
    found = archive.search(encoder.encode_text(["black"]))[0].attributes
    assert found == {**attributes, "id": str(2**70)}
    assert len({column_of(name) for name in ODD_NAMES}) == len(ODD_NAMES)
    assert archive.count(where="`a%2Eb` = 0 AND attribute_vector = 5") == 1


def test_a_filter_that_is_not_sql_names_the_columns(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = filled(tmp_path / "a", encoder)
    for where in ("nothing = 1", "modality =", "; drop"):
        with pytest.raises(UsageError, match="modality"):
            archive.search(encoder.encode_text(["black"]), where=where)
        with pytest.raises(UsageError, match="modality"):
            archive.count(where=where)


def test_another_space_is_refused_with_both_recipes(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = filled(tmp_path / "a", encoder)
    stranger = FakeEncoder("stranger.v1")
    for attempt in (
        lambda: archive.search(stranger.encode_text(["black"])),
        lambda: archive.add(entries([1]), stranger.encode_image([grey(1)])),
    ):
        with pytest.raises(SpaceMismatch, match=r"fake\.v1@.*stranger\.v1@"):
            attempt()


def test_images_can_be_added_as_read(tmp_path: Path, encoder: FakeEncoder) -> None:
    image = grey(
        100, attributes={"modality": "CT", "rows": 20}, identifiers={"patient_id": "a name", "study_uid": "1.2"}
    )
    archive = Archive.create(tmp_path / "a")
    archive.add([image], encoder.encode_image([image]))
    hit = archive.search(encoder.encode_text(["dark"]))[0]
    row = archive.get(hit.record_id)
    assert (hit.modality, hit.attributes) == ("CT", {"rows": 20})
    assert row["patient_id"] not in (None, "a name"), "identifiers are kept as keyed hashes"
    stored = b"".join(p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert b"a name" not in stored


def test_pseudonyms_of_two_archives_differ(tmp_path: Path, encoder: FakeEncoder) -> None:
    image = grey(100, identifiers={"patient_id": "a name"})
    seen = set()
    for name in ("a", "b"):
        archive = Archive.create(tmp_path / name)
        archive.add([image], encoder.encode_image([image]))
        seen.add(archive.get(archive.search(encoder.encode_text(["dark"]))[0].record_id)["patient_id"])
    assert len(seen) == 2


def test_refusals_keep_no_source(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a")
    problem = Problem(source="jane/doe.dcm", source_digest="d", answer=Answer.REJECT, code="EMPTY", sentence="Empty.")
    archive.refuse([problem])
    assert Archive.open(tmp_path / "a").refusals() == {"d": replace(problem, source="")}
    assert not any(b"doe" in p.read_bytes() for p in (tmp_path / "a").rglob("*") if p.is_file())


def test_texts_have_vectors_of_their_own(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    rows = [*entries([0], text="white"), *entries([255])]
    texts = encoder.encode_text(["white"])
    assert not archive.has_texts
    archive.add(rows, encoder.encode_image([grey(0), grey(255)]), texts=texts)
    assert archive.has_texts
    query = encoder.encode_text(["white"])
    assert [hit.source for hit in archive.search(query, by="text")] == ["0.png"]
    assert archive.search(query, by="image")[0].source == "255.png"


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Archive.open(tmp_path / "nothing")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError):
        Archive.create(tmp_path / "full")
    (tmp_path / "full" / CARD).write_text("{")
    with pytest.raises(InputError):
        Archive.open(tmp_path / "full")
    for card in ({"format": "callosum.archive/99"}, [], {"format": FORMAT}, "x"):
        (tmp_path / "full" / CARD).write_text(json.dumps(card))
        with pytest.raises(InputError):
            Archive.open(tmp_path / "full")


def test_an_empty_archive_answers(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a", space=encoder.space)
    assert archive.count() == 0
    assert archive.search(encoder.encode_text(["black"])) == []
    with pytest.raises(NotFound):
        archive.get("anything")


def test_each_text_keeps_its_own_vector(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    same = entries([0], text="white") + entries([0], text="dark")
    added = archive.add(same, encoder.encode_image([grey(0)] * 2), texts=encoder.encode_text(["white", "dark"]))
    assert [a.stored for a in added] == [Stored.NEW, Stored.SAME]
    row = archive.get(same[0].record_id)
    assert row["text"] == "white"
    np.testing.assert_allclose(row["text_vector"], encoder.encode_text(["white"]).matrix[0], atol=1e-6)
    with pytest.raises(InputError):
        archive.add(entries([9]), encoder.encode_image([grey(9)]), texts=encoder.encode_text(["one too many"]))


def flushing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    flushed: set[str] = set()
    monkeypatch.setattr("callosum.archive.commit._fsync", lambda path: flushed.add(str(path)))
    return flushed


def test_every_acknowledged_file_is_flushed(
    tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = flushing(monkeypatch)
    archive = filled(tmp_path / "deep" / "a", encoder)
    archive.add(entries([9]), encoder.encode_image([grey(9)]))
    written = {str(p) for p in (tmp_path / "deep" / "a" / "images.lance").rglob("*")}
    assert written, "the table has files"
    assert written <= flushed
    assert {str(tmp_path / "deep" / "a"), str(tmp_path / "deep"), str(tmp_path)} <= flushed


def test_what_a_killed_process_wrote_is_flushed_before_it_counts(
    tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr("callosum.archive.commit.Synced.flush", lambda _: 0)
        filled(tmp_path / "a", encoder)
    flushed = flushing(monkeypatch)
    again = Archive.open(tmp_path / "a").add(entries([0]), encoder.encode_image([grey(0)]))
    assert [a.stored for a in again] == [Stored.SAME]
    assert {str(p) for p in (tmp_path / "a" / "images.lance").rglob("*")} <= flushed


def test_two_handles_add_an_image_once(tmp_path: Path, encoder: FakeEncoder) -> None:
    one = filled(tmp_path / "a", encoder)
    other = Archive.open(tmp_path / "a")
    assert one.add(entries([9]), encoder.encode_image([grey(9)]))[0].stored is Stored.NEW
    assert other.add(entries([9]), encoder.encode_image([grey(9)]))[0].stored is Stored.SAME
    assert other.count() == 6


def test_one_writes_at_a_time(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = filled(tmp_path / "a", encoder)
    other = Archive.open(tmp_path / "a")
    with archive.writing():
        assert archive.add(entries([9]), encoder.encode_image([grey(9)]))
        with pytest.raises(ArchiveBusy):
            other.add(entries([10]), encoder.encode_image([grey(10)]))
        assert other.search(encoder.encode_text(["black"])), "reading goes on"
    assert other.add(entries([10]), encoder.encode_image([grey(10)]))[0].stored is Stored.NEW


def test_an_interrupted_creation_is_taken_up(tmp_path: Path, encoder: FakeEncoder) -> None:
    path = tmp_path / "a"
    path.mkdir()
    (path / f".{CARD}.123").write_text("{")
    archive = Archive.create(path)
    (path / "images.lance" / "data").mkdir(parents=True)
    (path / "images.lance" / "data" / "half.lance").write_bytes(b"x")
    archive = Archive.open(path)
    assert archive.count() == 0
    archive.add(entries([1]), encoder.encode_image([grey(1)]))
    assert Archive.open(path).count() == 1


def test_damage_is_not_called_a_bad_filter(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = filled(tmp_path / "a", encoder)
    for file in (tmp_path / "a" / "images.lance" / "data").iterdir():
        file.unlink()
    with pytest.raises(IntegrityError):
        Archive.open(tmp_path / "a").search(encoder.encode_text(["black"]))
    assert archive.count() == 5


def test_a_refusal_is_kept_once(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a")
    for sentence in ("First.", "Second."):
        problem = Problem(source="x", source_digest="d", answer=Answer.REJECT, code="EMPTY", sentence=sentence)
        archive.refuse([problem])
    assert [p.sentence for p in archive.refusals().values()] == ["Second."]
    assert len(archive.unindexed()) == 1


def test_many_commits_are_merged(tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callosum.archive.archive.MAX_FRAGMENTS", 3)
    archive = Archive.create(tmp_path / "a")
    for level in range(8):
        archive.add(entries([level]), encoder.encode_image([grey(level)]))
    archive.compact()
    assert num_fragments(archive._images) == 1
    assert archive.count() == 8
