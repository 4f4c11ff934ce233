from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import Archive
from callosum.archive.entry import entry_from_image
from callosum.core.errors import NotFound, SpaceMismatch
from callosum.core.record import Image, PixelUnit
from callosum.core.result import Hit
from callosum.search.fusion import reciprocal_rank_fusion
from callosum.search.searcher import Scope, Searcher, more_like
from tests.fakes import FakeEncoder

LEVELS = [0, 10, 64, 128, 192, 255]


def grey(level: int) -> Image:
    return Image(pixels=np.full((8, 8), level, np.uint8), unit=PixelUnit.DISPLAY)


@pytest.fixture
def archive(tmp_path: Path, encoder: FakeEncoder) -> Archive:
    made = Archive.create(tmp_path / "a")
    rows = [entry_from_image(grey(level), source=str(level), record_id=f"r{level}") for level in LEVELS]
    made.add(rows, encoder.encode_image([grey(level) for level in LEVELS]))
    return made


def test_text_and_image_queries(archive: Archive, encoder: FakeEncoder) -> None:
    searcher = Searcher(archive, encoder)
    assert searcher.by_text("bright", Scope(k=1))[0].source == "192"
    assert searcher.by_image(grey(250), Scope(k=1))[0].source == "255"
    assert searcher.by_text("bright", Scope(k=1, where="source = '0'"))[0].source == "0"


def test_more_like_leaves_the_record_itself_out(archive: Archive) -> None:
    hits = more_like(archive, "r0", Scope(k=10))
    assert hits[0].record_id == "r10"
    assert len(hits) == len(LEVELS) - 1
    assert more_like(archive, "r0", Scope(where="source = '255'"))[0].record_id == "r255"
    assert "r0" not in {hit.record_id for hit in more_like(archive, "r0", Scope(where="true) OR (true"))}
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    with pytest.raises(NotFound):
        more_like(archive, "r1", Scope())


def test_an_encoder_of_another_space_is_refused(archive: Archive) -> None:
    with pytest.raises(SpaceMismatch):
        Searcher(archive, FakeEncoder("stranger.v1"))


def test_report_texts_count_where_there_are_any(tmp_path: Path, encoder: FakeEncoder) -> None:
    made = Archive.create(tmp_path / "t")
    texts = {128: "white"}
    rows = [entry_from_image(grey(level), source=str(level), text=texts.get(level)) for level in (0, 128, 255)]
    made.add(rows, encoder.encode_image([grey(n) for n in (0, 128, 255)]), texts=encoder.encode_text(["white"]))
    hits = Searcher(made, encoder).by_text("white", Scope(k=3))
    assert {hit.source for hit in hits[:2]} == {"128", "255"}
    assert [hit.rank for hit in hits] == [1, 2, 3]


def hit(record_id: str, rank: int) -> Hit:
    return Hit(rank=rank, record_id=record_id, score=0.0, source=record_id)


def test_fusion() -> None:
    one = [hit("a", 1), hit("b", 2)]
    fused = reciprocal_rank_fusion([one, one], k=5)
    assert [h.record_id for h in fused] == ["a", "b"]
    assert fused[0].score == 1.0, "first everywhere is the most there can be"
    both = reciprocal_rank_fusion([[hit("a", 1), hit("c", 2)], [hit("b", 1), hit("c", 2)]], k=1)
    assert [h.record_id for h in both] == ["c"], "second in both beats first in one"
    assert reciprocal_rank_fusion([[], []], k=3) == []
