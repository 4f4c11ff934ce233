"""Folders walked in order, archives read in place, and an answer for what cannot be opened."""

import gc
import gzip
import io
import os
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from callosum.core.errors import InputError, Refused
from callosum.data.sources import Source, iter_sources
from callosum.data.tar import MAX_OPEN, open_tar, read_member


def test_walk(tmp_path: Path) -> None:
    for name in ("b/2.dcm", "b/1.dcm", "a.png", ".hidden/x.png", ".svn/y", "b/.git/z", "c/deep/er/z.png"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    single = tmp_path / "single.png"
    single.write_text("single")
    found = list(iter_sources([tmp_path / "folder", str(single)]))
    names = [".hidden/x.png", "a.png", "b/1.dcm", "b/2.dcm", "c/deep/er/z.png", str(single)]
    assert [source.name for source in found] == names
    assert found[2].read_bytes() == b"b/1.dcm"
    assert all(pickle.loads(pickle.dumps(source)) == source for source in found)


def test_links_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_text("x")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a" / "self")
    (tmp_path / "a" / "nowhere").symlink_to(tmp_path / "missing")
    found = list(iter_sources([tmp_path]))
    assert [source.name for source in found] == ["a/nowhere", "a/self", "a/x.png"]
    for source in found[:2]:
        with pytest.raises(Refused, match="UNREADABLE"):
            source.read_bytes()


def test_pipes_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (source,) = iter_sources([tmp_path])
    with pytest.raises(Refused, match="UNREADABLE") as caught:
        source.read_bytes()
    assert caught.value.answer == "REJECT"
    assert "pipe" not in str(caught.value)


def test_missing_source_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SOURCE 2 of 2 does not exist") as caught:
        iter_sources([tmp_path, tmp_path / "missing"])
    assert str(tmp_path) not in str(caught.value)


def test_vanished_file(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_text("x")
    (source,) = iter_sources([tmp_path])
    path.unlink()
    with pytest.raises(Refused, match="UNREADABLE"):
        source.read_bytes()


def make_tar(path: Path, members: dict[str, bytes], *, is_packed: bool = False) -> None:
    with tarfile.open(path, "w:gz" if is_packed else "w:") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


@pytest.mark.parametrize("is_packed", [False, True])
def test_members(tmp_path: Path, is_packed: bool) -> None:
    archive = tmp_path / "archive.tar"
    members = {f"folder/{n}.bin": bytes([n]) * n * 100 for n in range(20)}
    make_tar(archive, members | {"./dot.bin": b"dot", "../up.bin": b"up"}, is_packed=is_packed)
    for name in sorted(members, reverse=True):
        assert Source(name=name, location=archive, member=name).read_bytes() == members[name]
    assert read_member(archive, "dot.bin") == read_member(archive, "./dot.bin") == b"dot"
    assert read_member(archive, "../up.bin") == b"up"  # a name in the archive, never one on the disk
    for name in ("link", "folder", "missing", "../archive.tar"):
        with pytest.raises(Refused, match="UNREADABLE"):
            read_member(archive, name)
    assert open_tar(archive) is open_tar(archive)


def test_a_changed_archive_is_read_anew(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    make_tar(archive, {"a": b"old"})
    assert read_member(archive, "a") == b"old"
    make_tar(archive, {"a": b"newer and longer", "b": b"x" * 20_000})
    assert read_member(archive, "a") == b"newer and longer"


@pytest.mark.parametrize("damage", ["cut", "text", "missing", "packed"])
def test_damaged_archives(tmp_path: Path, damage: str) -> None:
    archive = tmp_path / "archive.tar"
    make_tar(archive, {"a": bytes(10_000)}, is_packed=damage == "packed")
    data = archive.read_bytes()
    if damage == "missing":
        archive.unlink()
    else:
        archive.write_bytes({"cut": data[:3000], "text": b"not a tar" * 200, "packed": data[: len(data) // 2]}[damage])
    with pytest.raises(Refused) as caught:
        read_member(archive, "a")
    assert caught.value.reason in ("UNREADABLE", "TRUNCATED")


def test_a_packed_archive_may_not_outgrow_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(gzip.compress(bytes(1 << 22)))
    monkeypatch.setattr("callosum.data.tar.MAX_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(Refused, match="DECOMPRESSION_LIMIT"):
        read_member(archive, "a")


def test_archives_that_are_no_longer_kept_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_tar(tmp_path / "a.tar.gz", {"a": b"a"}, is_packed=True)
    assert read_member(tmp_path / "a.tar.gz", "a") == b"a"
    (unpacked,) = tmp_path.glob("callosum-*.tar")
    assert unpacked.stat().st_mode & 0o077 == 0
    for n in range(MAX_OPEN):
        make_tar(tmp_path / f"{n}.tar", {"a": b"a"})
        open_tar(tmp_path / f"{n}.tar")
    gc.collect()
    assert not unpacked.exists()


@pytest.mark.parametrize("name", [b"R\xf6ntgen.png", b"line\nbreak.png", b"\x1b[31m.png", "\u202egnp.exe".encode()])
def test_any_file_name_is_text_of_one_line(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path / "folder") + b"/" + name
    (tmp_path / "folder").mkdir()
    with open(path, "wb") as stream:  # noqa: PTH123 - a Path takes no bytes
        stream.write(b"x")
    (source,) = iter_sources([tmp_path / "folder"])
    assert source.name.encode("utf-8").decode("utf-8").isprintable()
    assert source.read_bytes() == b"x"
    (single,) = iter_sources([os.fsdecode(path)])
    assert single.name.isprintable()


def test_an_archive_of_callosum_is_not_walked(tmp_path: Path) -> None:
    for folder, card in (("archive", '{"format": "callosum.archive/1"}'), ("mine", '{"format": "x"}'), ("odd", "[")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "archive.json").write_text(card)
        (tmp_path / folder / "x.png").write_text("x")
    names = [source.name for source in iter_sources([tmp_path])]
    assert names == ["mine/archive.json", "mine/x.png", "odd/archive.json", "odd/x.png"]


def test_a_flat_folder_costs_little(tmp_path: Path) -> None:
    for n in range(5000):
        (tmp_path / f"IM_{n:08}.dcm").touch()
    tracemalloc.start()
    walk = iter_sources([tmp_path])
    assert next(walk).name == "IM_00000000.dcm"
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 5000 < 120  # a name and its place in a list; a Path takes twice that


def test_a_name_with_a_zero_byte_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="UNREADABLE"):
        Source(name="a", location=tmp_path / "a\0b").read_bytes()
