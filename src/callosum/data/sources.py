"""Files, folders and archive members as small values: where the bytes are, and what a manifest says about them.

A `Source` is a name and a place; it holds no bytes and can be sent to a reading worker.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from callosum.core.errors import InputError
from callosum.core.record import Attribute
from callosum.data.readers import read_file
from callosum.data.tar import read_member


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the bytes of one record are, and what is already known about it.

    Attributes:
        name: The path below the SOURCE, or in the manifest, as the caller gave it: for the caller's eyes only.
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

    def read_bytes(self) -> bytes:
        """The bytes of the file or member.

        Raises:
            Refused: REJECT `UNREADABLE`, `FILE_TOO_LARGE` or `TRUNCATED`.
        """
        return read_member(self.location, self.member) if self.member else read_file(self.location)


def iter_sources(sources: Iterable[str | Path]) -> Iterator[Source]:
    """Every file of every SOURCE, folders walked in sorted order.

    Hidden files and folders below a SOURCE are left out. Links are followed, except into a folder that is already
    being walked. A folder that may not be listed is a source that cannot be read, so that it gets an answer too.
    Archives are not walked; a manifest names their members.

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
            yield from _walk(path, path, frozenset())
        else:
            yield Source(name=str(source), location=path)


def _walk(folder: Path, root: Path, above: frozenset[tuple[int, int]]) -> Iterator[Source]:
    """Files below `folder`; `above` holds device and inode of the folders that lead here."""
    try:
        status = folder.stat()
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        yield Source(name=folder.relative_to(root).as_posix(), location=folder)
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in entries:
        if _is_folder(entry):
            yield from _walk(entry, root, above | {here})
        else:
            yield Source(name=entry.relative_to(root).as_posix(), location=entry)


def _is_folder(path: Path) -> bool:
    """True for a folder; False for a link that leads nowhere or in circles, which reading will answer."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False
