"""Zip and tar files met in a folder: their members become sources, when nothing about the file is unsafe.

Members are read where they lie and never unpacked, so a name cannot lead anywhere; a name that tries marks the file
as made to harm. Archives within archives are not walked, and compressed tars only through a manifest, which inflates
them once.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from callosum.data.readers.refusal import MAX_FILE_BYTES, Reason, reject, unreadable
from callosum.data.tar import open_tar

MAX_MEMBERS = 100_000
MAX_TOTAL_BYTES = 256 << 30
MAX_RATIO = 100
"""What members may hold in all, over what the archive takes: a bomb has a thousand, real pictures a few."""
FREE_BYTES = 64 << 20
"""So much may always be inflated, whatever the ratio."""

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_DOCUMENTS = frozenset({"[Content_Types].xml", "META-INF/MANIFEST.MF", "mimetype"})
"""Members that tell an office document, a program or a book from an archive of files."""


def is_container(path: Path) -> bool:
    """True for a zip or a plain tar."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            head = stream.read(512)
    except (OSError, ValueError):
        return False
    return head.startswith(_ZIP) or head[257:262] == b"ustar"


def member_names(path: Path) -> tuple[str, ...]:
    """The regular members of a zip or tar, in order.

    Raises:
        Refused: `ARCHIVE_UNSAFE`, `ARCHIVE_UNSUPPORTED`, `FORMAT_UNSUPPORTED`, `EMPTY`, `TRUNCATED` or `CORRUPT`.
    """
    sizes = _zip_sizes(path) if _is_zip(path) else _tar_sizes(path)
    if not sizes:
        raise reject(Reason.EMPTY, "The archive has no files.")
    if _DOCUMENTS & sizes.keys():
        raise reject(Reason.FORMAT_UNSUPPORTED, "It is a document or program in a zip; there is no reader for it.")
    if len(sizes) > MAX_MEMBERS or sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise reject(Reason.ARCHIVE_UNSAFE, "The archive announces more members or bytes than any real one has.")
    if sum(sizes.values()) > max(FREE_BYTES, MAX_RATIO * path.stat().st_size):
        raise reject(Reason.ARCHIVE_UNSAFE, f"Its members grow to more than {MAX_RATIO} times its size.")
    if any(_leads_out(name) for name in sizes):
        raise reject(Reason.ARCHIVE_UNSAFE, "The name of a member leads out of the archive.")
    return tuple(sizes)


def read_from(path: Path, member: str) -> bytes:
    """The bytes of a regular member of a zip or tar.

    Raises:
        Refused: `UNREADABLE`, `FILE_TOO_LARGE`, `TRUNCATED` or `CORRUPT`.
    """
    if not _is_zip(path):
        return open_tar(path).read(member)
    with _damage_answered(path):
        status = path.stat()
        opened = _opened(path, status.st_mtime_ns, status.st_size)
        try:
            info = opened.getinfo(member)
        except KeyError as error:
            raise unreadable() from error
        if info.file_size > MAX_FILE_BYTES:
            raise reject(Reason.FILE_TOO_LARGE, f"The member is larger than {MAX_FILE_BYTES >> 30} GiB.")
        with opened.open(info) as stream:
            data = stream.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise reject(Reason.TRUNCATED, "The archive ends inside the member.")
    return data


def _is_zip(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(4).startswith(_ZIP)
    except OSError as error:
        raise unreadable() from error


@lru_cache(maxsize=8)
def _opened(path: Path, mtime_ns: int, size: int) -> zipfile.ZipFile:
    """A zip whose directory is parsed once; time and size are part of the key only."""
    return zipfile.ZipFile(path)


def _zip_sizes(path: Path) -> dict[str, int]:
    with _damage_answered(path):
        status = path.stat()
        infos = _opened(path, status.st_mtime_ns, status.st_size).infolist()
    if any(info.flag_bits & 1 for info in infos):
        raise reject(Reason.ARCHIVE_UNSUPPORTED, "The archive is encrypted; unpack it first.")
    sizes = {info.filename: info.file_size for info in infos if not info.is_dir()}
    if len(sizes) < sum(not info.is_dir() for info in infos):
        raise reject(
            Reason.ARCHIVE_UNSAFE, "Two members of the archive have one name: readers differ in which they take."
        )
    return sizes


def _tar_sizes(path: Path) -> dict[str, int]:
    with _damage_answered(path):
        return {name: size for name, (_, size) in open_tar(path).members.items()}


@contextmanager
def _damage_answered(path: Path) -> Iterator[None]:
    try:
        yield
    except zipfile.BadZipFile as error:
        if zipfile.is_zipfile(path):
            raise reject(Reason.CORRUPT, "A member of the archive is damaged.") from error
        raise reject(Reason.TRUNCATED, "The archive ends early.") from error
    except RuntimeError as error:  # a compression that is not known, or a password
        raise reject(Reason.ARCHIVE_UNSUPPORTED, "The archive is packed in a way that is not read.") from error
    except (zlib.error, EOFError, tarfile.TarError, UnicodeDecodeError) as error:
        raise reject(Reason.CORRUPT, "A member of the archive is damaged.") from error
    except OSError as error:
        raise unreadable() from error


def _leads_out(name: str) -> bool:
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    is_absolute = posix.is_absolute() or bool(windows.drive or windows.root)
    return is_absolute or ".." in posix.parts or ".." in windows.parts or "\0" in name
