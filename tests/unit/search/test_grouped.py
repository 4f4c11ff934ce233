"""Rankings of groups beside a plain computation over all vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import Archive
from callosum.archive.entry import Entry
from callosum.archive.levels import Level
from callosum.archive.reports import ReportEntry
from callosum.core.embedding import Embedding, unit_rows
from callosum.core.pooling import Pooling, pool
from callosum.core.result import Hit
from callosum.search.searcher import Scope, Searcher, more_like, nearest
from tests.fakes import FakeEncoder

NUM = 300
BARE = Entry(record_id="", source="", source_digest="", thumbnail=b"", render_recipe="{}")


def random_rows(encoder: FakeEncoder, seed: int) -> tuple[list[Entry], Embedding]:
    """Pictures of studies of one to forty, some of no study, in few directions so that groups differ."""
    rng = np.random.default_rng(seed)
    studies = np.repeat(np.arange(60), rng.choice([1, 1, 2, 5, 40], 60))[:NUM]
    studies = rng.permutation(np.pad(studies, (0, NUM - len(studies)), constant_values=-1))
    entries = [
        replace(
            BARE,
            record_id=f"r{n}",
            source_digest=f"d{n}",
            study_id=None if study < 0 else f"s{study}",
            attributes={"site": "left" if rng.random() < 0.3 else "right"},
        )
        for n, study in enumerate(studies)
    ]
    centres = rng.normal(size=(61, 16)) * 0.7
    return entries, Embedding(matrix=unit_rows(centres[studies] + rng.normal(size=(NUM, 16))), space=encoder.space)


@pytest.fixture(params=[1, 2])
def made(
    request: pytest.FixtureRequest, tmp_path: Path, encoder: FakeEncoder
) -> tuple[Archive, list[Entry], Embedding]:
    entries, rows = random_rows(encoder, request.param)
    archive = Archive.create(tmp_path / "a")
    archive.add(entries, rows)
    archive.refresh_groups()
    return archive, entries, rows


def plainly(
    entries: list[Entry], rows: Embedding, query: np.ndarray, *, pooling: Pooling, site: str | None
) -> list[tuple[str, float, str, int]]:
    """Group, score, best picture and number of pictures of every group, best first."""
    members: dict[str, list[int]] = {}
    for n, entry in enumerate(entries):
        members.setdefault(entry.study_id or entry.source_digest, []).append(n)
    answers = []
    for group, everyone in members.items():
        admitted = [n for n in everyone if site is None or entries[n].attributes["site"] == site]
        if not admitted:
            continue
        cosines = rows.matrix[admitted] @ query
        pooled = pool(rows.matrix[everyone if pooling is Pooling.MEAN else admitted], by=pooling, query=query)
        score = cosines.max() if pooling is Pooling.MAX else pooled @ query
        answers.append((group, float(score), entries[admitted[int(cosines.argmax())]].record_id, len(admitted)))
    return sorted(answers, key=lambda answer: -answer[1])


def shown(hits: list[Hit]) -> list[tuple[str | None, float, str, int]]:
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert all(hit.level == "study" for hit in hits)
    return [(hit.group_id, hit.score, hit.record_id, hit.num_images) for hit in hits]


@pytest.mark.parametrize("site", [None, "left"])
@pytest.mark.parametrize("k", [1, 10, 1000])
@pytest.mark.parametrize("pooling", Pooling)
def test_the_ranking_is_that_of_a_plain_computation(
    made: tuple[Archive, list[Entry], Embedding],
    pooling: Pooling,
    k: int,
    site: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("callosum.search.grouped._FIRST_PAGE", 8)
    archive, entries, rows = made
    query = unit_rows(np.random.default_rng(k).normal(size=(1, 16)))
    scope = Scope(k=k, level=Level.STUDY, pool=pooling, where=f"site = '{site}'" if site else None)
    found = shown(nearest(archive, Embedding(matrix=query, space=rows.space), scope))
    wanted = plainly(entries, rows, query[0], pooling=pooling, site=site)[:k]
    assert [(group, best, num) for group, _, best, num in found] == [(g, best, num) for g, _, best, num in wanted]
    np.testing.assert_allclose([score for _, score, _, _ in found], [score for _, score, _, _ in wanted], atol=2e-6)


def test_attention_looks_at_candidates_only(
    made: tuple[Archive, list[Entry], Embedding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callosum.search.grouped.MIN_CANDIDATES", 3)
    monkeypatch.setattr("callosum.search.grouped.CANDIDATES_PER_HIT", 1)
    archive, entries, rows = made
    query = unit_rows(np.random.default_rng(3).normal(size=(1, 16)))
    scope = Scope(k=2, level=Level.STUDY, pool=Pooling.ATTENTION)
    found = nearest(archive, Embedding(matrix=query, space=rows.space), scope)
    candidates = {
        group
        for pooling in (Pooling.MAX, Pooling.MEAN)
        for group, *_ in plainly(entries, rows, query[0], pooling=pooling, site=None)[:3]
    }
    everyone = plainly(entries, rows, query[0], pooling=Pooling.ATTENTION, site=None)
    assert [hit.group_id for hit in found] == [group for group, *_ in everyone if group in candidates][:2]


def test_more_like_a_picture_leaves_its_group_out(made: tuple[Archive, list[Entry], Embedding]) -> None:
    archive, entries, _ = made
    own = next(entry for entry in entries if entry.study_id)
    hits = more_like(archive, own.record_id, Scope(k=5, level=Level.STUDY))
    assert len(hits) == 5
    assert own.study_id not in {hit.group_id for hit in hits}
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("pooling", Pooling)
def test_reports_count_for_groups_too(tmp_path: Path, encoder: FakeEncoder, pooling: Pooling) -> None:
    archive = Archive.create(tmp_path / "a")
    entries = [replace(BARE, record_id=f"r{n}", source_digest=f"d{n}", study_id=f"s{n // 2}") for n in range(6)]
    archive.add(entries, encoder.encode_pixels(np.full((6, 8, 8, 3), 200, np.uint8)))
    report = ReportEntry(text="black", searchable="black", source_digest="r", study_id="s2")
    archive.attach([report], encoder.encode_text(["black"]))
    archive.refresh_groups()
    hits = Searcher(archive, encoder).by_text("black", Scope(k=9, level=Level.STUDY, pool=pooling))
    assert [hit.group_id for hit in hits] == ["s2", "s0", "s1"]
    assert (hits[0].num_images, hits[0].text) == (2, "black")


@pytest.mark.parametrize("pooling", Pooling)
def test_an_archive_without_pictures_or_groups_answers(tmp_path: Path, encoder: FakeEncoder, pooling: Pooling) -> None:
    archive = Archive.create(tmp_path / "a", space=encoder.space)
    scope = Scope(k=3, level=Level.FILE, pool=pooling)
    query = encoder.encode_text(["black"])
    assert nearest(archive, query, scope) == []
    archive.add([replace(BARE, record_id="r", source_digest="d")], encoder.encode_text(["white"]))
    assert [hit.record_id for hit in nearest(archive, query, scope)] == ["r"]
    assert nearest(archive, query, replace(scope, where="record_id = 'x'")) == []
