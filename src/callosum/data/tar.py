"""Members of `.tar` and `.tar.gz` read in place: nothing is unpacked under a name from the archive.

Each process indexes an archive once and then reads members by position. A `.tar.gz` has no positions, so it is
inflated once into a temporary file without a name. Both are kept until the process ends or too many are open.
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
from typing import IO

from callosum.data.readers.refusal import MAX_FILE_BYTES, Reason, reject, unreadable

MAX_OPEN = 32
MAX_UNPACKED_BYTES = 256 << 30
"""What a `.tar.gz` may inflate to on the disk of the temporary folder."""

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, weakref_slot=True)
class TarIndex:
    """An open archive: where each regular member begins, and how long it is.

    Attributes:
        stream: Uncompressed bytes of the archive.
        members: Name, without a leading `./`, to position and length; the last of a name counts.
    """

    stream: IO[bytes]
    members: dict[str, tuple[int, int]]

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
        data = os.pread(self.stream.fileno(), size, at)
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
    stream: IO[bytes] = archive.open("rb")
    try:
        if stream.read(2) == b"\x1f\x8b":
            stream = _inflated(stream)
        stream.seek(0)
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            members = {
                entry.name.removeprefix("./"): (entry.offset_data, entry.size)
                for entry in tar
                if entry.isreg() and not entry.issparse()
            }
    except BaseException:
        stream.close()
        raise
    index = TarIndex(stream=stream, members=members)
    weakref.finalize(index, stream.close)
    return index


def _inflated(stream: IO[bytes]) -> IO[bytes]:
    """The archive inflated into a file without a name, which vanishes with the process."""
    stream.seek(0)
    plain = tempfile.TemporaryFile(prefix="callosum-")
    try:
        with stream, gzip.GzipFile(fileobj=stream) as packed:
            while piece := packed.read(_PIECE_BYTES):
                if plain.tell() > min(MAX_UNPACKED_BYTES, shutil.disk_usage(tempfile.gettempdir()).free):
                    raise reject(Reason.DECOMPRESSION_LIMIT, "Inflated, the archive outgrows the temporary folder.")
                plain.write(piece)
        plain.flush()
    except BaseException:
        plain.close()
        raise
    return plain
