"""Members of `.tar` and `.tar.gz` read in place: nothing is unpacked under a name from the archive.

Each process indexes an archive once and then reads members by position. A `.tar.gz` has no positions, so it is
inflated first, into a temporary file that only its owner may read. `read_manifest` does so once, in the process that
hands out the sources, and other processes open that file: no member pays for the whole archive with its own time.
The file is removed when nothing in that process refers to it any more, at the latest when the process exits; a
process that is killed leaves it in the temporary folder.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import weakref
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from callosum.core.errors import Refused
from callosum.data.readers.refusal import MAX_FILE_BYTES, Reason, reject, unreadable

MAX_OPEN = 32
MAX_UNPACKED_BYTES = 256 << 30
"""What a `.tar.gz` may inflate to on the disk of the temporary folder."""

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True, weakref_slot=True)
class Inflated:
    """A `.tar.gz` inflated for every process to read, or why it could not be.

    The one that `inflate` returns owns the file, and removes it with itself; copies sent to other processes do not.

    Attributes:
        path: The inflated archive; None when there is none.
        reason: Code of the refusal that every member is answered with.
        sentence: Its sentence.
    """

    path: Path | None
    reason: str = ""
    sentence: str = ""

    def read(self, member: str) -> bytes:
        """The bytes of one regular member.

        Raises:
            Refused: the archive could not be inflated; or see `read_member`.
        """
        if self.path is None:
            raise reject(Reason(self.reason), self.sentence)
        return read_member(self.path, member)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class TarIndex:
    """An archive: where each regular member begins, and how long it is.

    Attributes:
        path: Uncompressed archive. It is opened for each member, so that a file that was removed gives its room back.
        members: Name, without a leading `./`, to position and length; the last of a name counts.
        inflated: Owner of `path` when this process inflated it.
    """

    path: Path
    members: dict[str, tuple[int, int]]
    inflated: Inflated | None

    def read(self, member: str) -> bytes:
        """The bytes of a member.

        Raises:
            Refused: `UNREADABLE` when there is no such member, `FILE_TOO_LARGE`, or `TRUNCATED`.
        """
        place = self.members.get(member.removeprefix("./"))
        if place is None:
            raise unreadable()
        at, size = place
        if size > MAX_FILE_BYTES:
            raise reject(Reason.FILE_TOO_LARGE, f"The member is larger than {MAX_FILE_BYTES >> 30} GiB.")
        try:
            with self.path.open("rb") as stream:
                data = os.pread(stream.fileno(), size, at)
        except OSError as error:
            raise unreadable() from error
        if len(data) != size:
            raise reject(Reason.TRUNCATED, "The archive ends inside the member.")
        return data


def read_member(archive: Path, member: str) -> bytes:
    """The bytes of one regular member.

    Raises:
        Refused: `UNREADABLE` when the archive cannot be opened or has no such member; see `TarIndex.read`.
    """
    return open_tar(archive).read(member)


def open_tar(archive: Path) -> TarIndex:
    """The index of an archive, built when this process sees the file for the first time, or changed.

    Raises:
        Refused: `UNREADABLE`.
    """
    try:
        status = archive.stat()
        return _index(archive, status.st_mtime_ns, status.st_size)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise unreadable() from error


@lru_cache(maxsize=MAX_OPEN)
def _index(archive: Path, mtime_ns: int, size: int) -> TarIndex:
    """Time and size are part of the key only."""
    inflated = inflate(archive) if is_packed(archive) else None
    if inflated is not None and inflated.path is None:
        raise reject(Reason(inflated.reason), inflated.sentence)
    path = inflated.path if inflated is not None and inflated.path is not None else archive
    with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
        members = {
            entry.name.removeprefix("./"): (entry.offset_data, entry.size)
            for entry in tar
            if entry.isreg() and not entry.issparse()
        }
    return TarIndex(path=path, members=members, inflated=inflated)


def is_packed(archive: Path) -> bool:
    """True for a gzip file, whatever its name; False also when it is not a file that can be opened."""
    try:
        if not archive.is_file():
            return False
        with archive.open("rb") as stream:
            return stream.read(2) == b"\x1f\x8b"
    except (OSError, ValueError):
        return False


def inflate(archive: Path) -> Inflated:
    """Inflate an archive into a temporary file, which lives as long as what is returned.

    A failure is returned too: all members share it, and none of them should try again.
    """
    try:
        number, name = tempfile.mkstemp(prefix="callosum-", suffix=".tar")
    except OSError:
        return _failed(unreadable())
    plain = Path(name)
    try:
        with os.fdopen(number, "wb") as stream:
            _inflate_into(stream, archive)
    except Refused as refused:
        plain.unlink(missing_ok=True)
        return _failed(refused)
    except (OSError, EOFError, zlib.error):
        plain.unlink(missing_ok=True)
        return _failed(unreadable())
    except BaseException:
        plain.unlink(missing_ok=True)
        raise
    inflated = Inflated(path=plain)
    weakref.finalize(inflated, _remove, plain, os.getpid())
    return inflated


def _failed(refused: Refused) -> Inflated:
    return Inflated(path=None, reason=refused.reason, sentence=refused.sentence)


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked process inherits the finalizer, but not the file
        path.unlink(missing_ok=True)


def _inflate_into(plain: IO[Any], archive: Path) -> None:
    with gzip.open(archive, "rb") as packed:
        while piece := packed.read(_PIECE_BYTES):
            if plain.tell() > min(MAX_UNPACKED_BYTES, shutil.disk_usage(tempfile.gettempdir()).free):
                raise reject(Reason.DECOMPRESSION_LIMIT, "Inflated, the archive outgrows the temporary folder.")
            plain.write(piece)
