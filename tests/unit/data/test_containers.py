"""Zip and tar files met in a folder: safe ones give their members, the others one answer."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosum.core.errors import Refused
from callosum.data.containers import is_container, member_names, read_from


def zipped(path: Path, members: dict[str, bytes], *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(Refused) as caught:
        member_names(path)
    return caught.value.reason


@pytest.mark.parametrize("make", [zipped, tarred])
def test_members_are_read_where_they_lie(tmp_path: Path, make) -> None:
    path = make(tmp_path / "any.name", {"a/b.png": b"one" * 50, "c": b"", "d e.dcm": bytes(range(256))})
    assert is_container(path)
    assert member_names(path) == ("a/b.png", "c", "d e.dcm")
    assert read_from(path, "a/b.png") == b"one" * 50
    assert read_from(path, "c") == b""
    with pytest.raises(Refused, match="UNREADABLE"):
        read_from(path, "not there")


@pytest.mark.parametrize("name", ["../../etc/evil.dcm", "/etc/evil.dcm", "C:\\evil.dcm", "a/../../b", "..\\b"])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_name_that_leads_out_is_unsafe(tmp_path: Path, make, name: str) -> None:
    assert refusal(make(tmp_path / "x", {"good.png": b"1", name: b"2"})) == "ARCHIVE_UNSAFE"


def test_a_bomb_is_refused_by_its_directory_alone(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.zip", {f"{n}.dcm": bytes(40 << 20) for n in range(3)})
    assert path.stat().st_size < 1 << 18
    assert refusal(path) == "ARCHIVE_UNSAFE"


def test_a_zip_whose_directory_lies_about_a_size_gives_no_more_than_it_said(tmp_path: Path) -> None:
    path = zipped(tmp_path / "lie.zip", {"a": b"x" * 5000}, compression=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(Refused, match="CORRUPT"):
        read_from(path, "a")


def test_a_damaged_member_costs_itself(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"abcdefgh" * 100, "b": b"fine"}, compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    with pytest.raises(Refused, match="CORRUPT"):
        read_from(path, "a")
    assert read_from(path, "b") == b"fine"


def test_other_answers(tmp_path: Path) -> None:
    assert refusal(zipped(tmp_path / "a.docx", {"[Content_Types].xml": b"<x/>", "a": b"b"})) == "FORMAT_UNSUPPORTED"
    assert refusal(zipped(tmp_path / "empty.zip", {})) == "EMPTY"
    whole = zipped(tmp_path / "whole.zip", {"a": b"b" * 1000}).read_bytes()
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    assert refusal(tmp_path / "half.zip") == "TRUNCATED"
    assert not is_container(tmp_path / "none")
    assert not is_container(tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_not_guessed_between(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a", b"one")
        archive.writestr("a", b"two")
    assert refusal(tmp_path / "twice.zip") == "ARCHIVE_UNSAFE"


def test_an_encrypted_zip_is_said_to_be_one(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a": b"b"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert refusal(path) == "ARCHIVE_UNSUPPORTED"


@given(st.data())
def test_no_mutation_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    make = data.draw(st.sampled_from([zipped, tarred]))
    path = make(folder / "a", {"x/1.png": b"abc" * 30, "2": b"d"})
    changed = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    try:
        for name in member_names(path):
            read_from(path, name)
    except Refused:
        pass
