"""Files, folders and archive members as small values: where the bytes are, and what a manifest says about them.

A `Source` is a name and a place; it holds no bytes and can be sent to a reading worker.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from callosum.core.errors import InputError
from callosum.core.record import Attribute
from callosum.data.containers import read_from
from callosum.data.readers import read_file
from callosum.data.tar import Inflated

if TYPE_CHECKING:
    from callosum.data.slides.plan import TileBatch

_VERSION_CONTROL = frozenset({".git", ".svn", ".hg"})
_ARCHIVE_CARD = "archive.json"
_ARCHIVE_FORMAT = "callosum.archive/"
_MAX_CARD_BYTES = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What would break a line, drive a terminal or turn the direction of the text around it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the bytes of one record are, and what is already known about it.

    Attributes:
        name: The path below the SOURCE, or in the manifest, as the caller gave it: for the caller's eyes only. Always
            text of one line: bytes that are not UTF-8 and control characters are written as escapes.
        location: The file, or the archive that holds it.
        member: Name in the archive; empty for a plain file.
        record_id: Id from a manifest; empty when the content is to name the record.
        text: Caption or report.
        patient_id: Identifier, to be kept apart like those of a DICOM header.
        study_id: Identifier, likewise.
        modality: What the manifest says; it precedes the header.
        body_part: Likewise.
        split: train, validation, calibration or test.
        attributes: Every other column of the manifest.
        inflated: What to read instead of a `location` that is compressed; held so that it stays.
        tiles: The part of a slide that is meant; None for the whole file.
    """

    name: str
    location: Path
    member: str = ""
    record_id: str = ""
    text: str = ""
    patient_id: str = field(default="", repr=False)
    study_id: str = field(default="", repr=False)
    modality: str = ""
    body_part: str = ""
    split: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    inflated: Inflated | None = field(default=None, repr=False)
    tiles: TileBatch | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", legible(self.name))

    def read_bytes(self) -> bytes:
        """The bytes of the file or member.

        Raises:
            Refused: REJECT `UNREADABLE`, `FILE_TOO_LARGE`, `TRUNCATED` or `DECOMPRESSION_LIMIT`.
        """
        if self.inflated is not None:
            return self.inflated.read(self.member)
        return read_from(self.location, self.member) if self.member else read_file(self.location)


def legible(name: str) -> str:
    """A file name as text of one line that any file, terminal or database takes."""
    try:
        text = os.fsencode(name).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # not a name of this file system
        text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def iter_sources(sources: Iterable[str | Path]) -> Iterator[Source]:
    """Every file of every SOURCE, folders walked in sorted order.

    Hidden files are files like any other. Left out are the folders of version control (`.git`, `.svn`, `.hg`) and
    callosum's own archives, which are nobody's pictures. Links are followed, except into a folder that is already
    being walked. A folder that may not be listed is a source that cannot be read, so that it gets an answer too.
    Zip and tar files are sources too; reading one gives its members.

    Raises:
        InputError: a SOURCE does not exist; raised before anything is yielded.
    """
    given = list(sources)
    for number, source in enumerate(given, start=1):
        if not Path(source).exists():
            message = f"SOURCE {number} of {len(given)} does not exist."
            raise InputError(message, hint="Check its spelling, and that its disk is mounted.")
    return _walk_all(given)


def _walk_all(sources: list[str | Path]) -> Iterator[Source]:
    for source in sources:
        path = Path(source)
        if path.is_dir():
            yield from _walk(path, "", frozenset())
        else:
            yield Source(name=str(source), location=path)


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[Source]:
    """Files below `folder`, named after `prefix`; `above` holds device and inode of the folders that lead here.

    Of the folder that is walked, only the names are held: some have a million files.
    """
    folders: set[str] = set()
    names: list[str] = []
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            for entry in entries:
                names.append(entry.name)
                if _is_folder(entry):
                    folders.add(entry.name)
    except OSError:
        yield Source(name=prefix.removesuffix("/") or ".", location=folder)
        return
    here = (status.st_dev, status.st_ino)
    if here in above or (_ARCHIVE_CARD in names and _is_archive(folder)):
        return
    names.sort()
    for name in names:
        if name not in folders:
            yield Source(name=prefix + name, location=folder / name)
        elif name not in _VERSION_CONTROL:
            yield from _walk(folder / name, f"{prefix}{name}/", above | {here})


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """True for a folder; False for a link that leads nowhere or in circles, which reading will answer."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_archive(folder: Path) -> bool:
    """True for an archive of callosum, told by its card; a user's file may have the same name."""
    try:
        with (folder / _ARCHIVE_CARD).open("rb") as stream:
            card = json.loads(stream.read(_MAX_CARD_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(card, dict) and str(card.get("format", "")).startswith(_ARCHIVE_FORMAT)
