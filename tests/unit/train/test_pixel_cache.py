import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from callosum.core.errors import DigestMismatch, InputError, IntegrityError, UsageError
from callosum.core.record import Answer
from callosum.data.sources import Source
from callosum.train import pixel_cache
from callosum.train.material import read_material
from callosum.train.pixel_cache import CacheConfig, build_cache, open_cache
from callosum.train.supply import Kind, Supply
from tests.unit.train.films import image_manifest, pair_manifest

SMALL = CacheConfig(side_px=16, num_per_piece=4, num_processes=1)


def _sources(folder: Path, num: int = 10) -> list[Source]:
    supply = Supply(manifest=image_manifest(folder, num), kind=Kind.IMAGES)
    return list(read_material([supply]).sources)


def _pieces(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("[0-9]*.npy")}


def test_squares_are_what_the_preprocess_makes(tmp_path: Path) -> None:
    sources = _sources(tmp_path)
    calls: list[tuple[int, int]] = []
    cache = build_cache(sources, tmp_path / "cache", SMALL, progress=lambda done, total: calls.append((done, total)))
    rows = cache.find(sources)
    assert sorted(rows) == list(range(10))
    assert cache.problems == ()
    assert calls == [(n, 10) for n in range(1, 11)]
    got = cache.gather(rows[[7, 2, 7]])
    for n, source in enumerate((sources[7], sources[2], sources[7])):
        assert np.array_equal(got[n], SMALL.preprocess(np.asarray(Image.open(source.location))))
    cache.verify()


def test_one_channel_keeps_grey_values_and_weighs_colours(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(colour).save(tmp_path / "c.png")
    Image.fromarray(colour[:, :, 0]).save(tmp_path / "g.png")
    sources = [Source(name=name, location=tmp_path / name) for name in ("c.png", "g.png")]
    config = CacheConfig(side_px=16, num_channels=1, num_processes=1)
    cache = build_cache(sources, tmp_path / "cache", config)
    got = cache.gather(cache.find(sources))
    assert np.array_equal(got[0, :, :, 0], np.asarray(Image.fromarray(colour).convert("L")))
    assert np.array_equal(got[1, :, :, 0], colour[:, :, 0])


def test_what_is_there_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = _sources(tmp_path)
    build_cache(sources, tmp_path / "cache", SMALL)
    before = _pieces(tmp_path / "cache")
    monkeypatch.setattr(pixel_cache.SquareReaders, "squares", lambda self, sources: iter(()) if not sources else 1 / 0)
    again = build_cache(sources, tmp_path / "cache", SMALL)
    assert (again.find(sources) >= 0).all()
    assert _pieces(tmp_path / "cache") == before


def test_moved_contents_are_recognised_and_changed_ones_made_anew(tmp_path: Path) -> None:
    sources = _sources(tmp_path, 4)
    build_cache(sources, tmp_path / "cache", SMALL)
    shutil.copytree(tmp_path / "images", tmp_path / "elsewhere")
    moved = [Source(name=s.name, location=tmp_path / "elsewhere" / s.location.name) for s in sources]
    Image.fromarray(np.full((20, 20), 9, np.uint8)).save(moved[0].location)
    assert (open_cache(tmp_path / "cache", SMALL).find(moved) == -1).all()
    cache = build_cache(moved, tmp_path / "cache", SMALL)
    assert len(cache) == 5
    assert np.array_equal(cache.find(moved)[1:], cache.find(sources)[1:])
    assert (cache.gather(cache.find(moved)[:1]) == 9).all()


def test_other_recipes_are_kept_apart(tmp_path: Path) -> None:
    sources = _sources(tmp_path, 2)
    build_cache(sources, tmp_path / "cache", SMALL)
    other = CacheConfig(side_px=8, num_processes=1)
    assert (open_cache(tmp_path / "cache", other).find(sources) == -1).all()
    cache = build_cache(sources, tmp_path / "cache", other)
    assert cache.gather(cache.find(sources)).shape == (2, 8, 8, 3)


def test_unreadable_pictures_are_reported_and_left_out(tmp_path: Path) -> None:
    manifest = pair_manifest(tmp_path, 6)
    (tmp_path / "pairs" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture at all")
    (tmp_path / "pairs" / "4.png").unlink()
    material = read_material([Supply(manifest=manifest, kind=Kind.PAIRS)])
    cache = build_cache(material.sources, tmp_path / "cache", SMALL)
    assert sorted(problem.source for problem in cache.problems) == ["pairs/2.png", "pairs/4.png"]
    assert all(problem.answer is not Answer.ACCEPT and problem.code and problem.sentence for problem in cache.problems)
    left = material.readable(cache)
    assert [picture.record_id for picture in left.pictures] == ["r0", "r1", "r3", "r5"]
    for image, text in left.pools[0].pair_rows:
        assert left.pictures[image].record_id == left.texts[text].record_id
    assert len(left.pools[0].pair_rows) == 4
    assert left.summary()["num_unreadable"] == 2
    assert len(build_cache(material.sources, tmp_path / "cache", SMALL).problems) == 2  # tried again, and said again


def test_no_picture_readable(tmp_path: Path) -> None:
    material = read_material([Supply(manifest=image_manifest(tmp_path, 3), kind=Kind.IMAGES)])
    for source in material.sources:
        source.location.write_bytes(b"nothing")
    cache = build_cache(material.sources, tmp_path / "cache", SMALL)
    assert len(cache.problems) == 3
    with pytest.raises(InputError, match="None of the 3 pictures"):
        material.readable(cache)


KILLED = """
import sys
from pathlib import Path
from callosum.data.sources import Source
from callosum.train.pixel_cache import CacheConfig, build_cache
import time
def slow(done, total):
    time.sleep(0.05 if done < 5 else 60)
sources = [Source(name=str(n), location=Path(sys.argv[1]) / "images" / f"{n}.png") for n in range(10)]
config = CacheConfig(side_px=16, num_per_piece=4, num_processes=1)
build_cache(sources, Path(sys.argv[1]) / "cache", config, progress=slow)
"""


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    sources = _sources(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not list((tmp_path / "cache").rglob("00000.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    before = _pieces(tmp_path / "cache")
    assert list(before) == ["00000.npy"]
    calls: list[int] = []
    cache = build_cache(sources, tmp_path / "cache", SMALL, progress=lambda done, total: calls.append(done))
    assert calls == [5, 6, 7, 8, 9, 10]
    assert _pieces(tmp_path / "cache").items() >= before.items()
    assert (cache.find(sources) >= 0).all()
    cache.verify()


def test_a_draft_and_a_piece_without_its_names_do_not_count(tmp_path: Path) -> None:
    """What a process leaves that is killed between the two renames."""
    sources = _sources(tmp_path, 4)
    build_cache(sources, tmp_path / "cache", SMALL)
    (header,) = (tmp_path / "cache").rglob("00000.json")
    header.rename(header.with_suffix(".part"))
    assert len(open_cache(tmp_path / "cache", SMALL)) == 0
    cache = build_cache(sources, tmp_path / "cache", SMALL)
    assert len(cache) == 4
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_an_interrupted_build_keeps_what_was_read(tmp_path: Path) -> None:
    sources = _sources(tmp_path)

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_cache(sources, tmp_path / "cache", SMALL, progress=stop)
    assert len(open_cache(tmp_path / "cache", SMALL)) == 6


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = _sources(tmp_path)
    build_cache(sources[:4], tmp_path / "cache", SMALL)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pixel_cache.np, "save", full)
    with pytest.raises(InputError, match="intact"):
        build_cache(sources, tmp_path / "cache", SMALL)
    monkeypatch.undo()
    cache = open_cache(tmp_path / "cache", SMALL)
    assert len(cache) == 4
    assert not list((tmp_path / "cache").rglob("*.part"))
    cache.verify()


def test_damage_is_noticed(tmp_path: Path) -> None:
    sources = _sources(tmp_path, 4)
    cache = build_cache(sources, tmp_path / "cache", SMALL)
    (piece,) = (tmp_path / "cache").rglob("00000.npy")
    data = bytearray(piece.read_bytes())
    data[-1] ^= 1
    piece.write_bytes(data)
    with pytest.raises(DigestMismatch):
        cache.verify()
    piece.write_bytes(data[:-7])
    with pytest.raises(IntegrityError):
        open_cache(tmp_path / "cache", SMALL)


def test_no_path_and_no_name_is_written(tmp_path: Path) -> None:
    sources = _sources(tmp_path, 4)
    build_cache(sources, tmp_path / "cache", SMALL)
    for header in (tmp_path / "cache").rglob("*.json"):
        words = header.read_text()
        assert str(tmp_path) not in words
        assert ".png" not in words
        assert '"p1"' not in words
    assert {len(place[0]) for place in json.loads(header.read_text()).get("places", [["a" * 64]])} == {64}


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="channels"):
        CacheConfig(num_channels=2)
