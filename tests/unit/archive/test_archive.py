import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import CARD, Archive, Stored
from callosum.archive.entry import Entry, entry_from_image
from callosum.core.embedding import Embedding
from callosum.core.errors import InputError, NotFound, SpaceMismatch, UsageError
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
    assert again == [Stored.SAME, Stored.SAME, Stored.NEW]
    assert archive.count() == 6
    assert Archive.open(tmp_path / "a").count() == 6


def test_a_taken_id_is_a_conflict(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    assert archive.add(entries([1], record_id="x"), encoder.encode_image([grey(1)])) == [Stored.NEW]
    assert archive.add(entries([2], record_id="x"), encoder.encode_image([grey(2)])) == [Stored.CONFLICT]
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
    with pytest.raises(InputError, match="site"):
        archive.add(entries([10], attributes={"site": 4}), encoder.encode_image([grey(10)]))


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
    rows = entries([0, 255])
    texts = replace(encoder.encode_text(["white"]), ids=(rows[0].record_id,))
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
    (tmp_path / "full" / CARD).write_text(json.dumps({"format": "callosum.archive/99"}))
    with pytest.raises(InputError, match="99"):
        Archive.open(tmp_path / "full")


def test_an_empty_archive_answers(tmp_path: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a", space=encoder.space)
    assert archive.count() == 0
    assert archive.search(encoder.encode_text(["black"])) == []
    with pytest.raises(NotFound):
        archive.get("anything")


def test_every_acknowledged_file_is_flushed(
    tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: set[str] = set()
    monkeypatch.setattr("callosum.archive.commit._fsync", lambda path: flushed.add(str(path)))
    archive = filled(tmp_path / "a", encoder)
    archive.add(entries([9]), encoder.encode_image([grey(9)]))
    written = {str(p) for p in (tmp_path / "a" / "images.lance").rglob("*")}
    assert written, "the table has files"
    assert written <= flushed
    assert str(tmp_path / "a") in flushed


def test_many_commits_are_merged(tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callosum.archive.archive.MAX_FRAGMENTS", 3)
    archive = Archive.create(tmp_path / "a")
    for level in range(8):
        archive.add(entries([level]), encoder.encode_image([grey(level)]))
    archive.compact()
    assert archive._num_fragments == 1
    assert archive.count() == 8
