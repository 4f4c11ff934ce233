"""DICOMDIR: which files a medium says it holds (PS3.3 F, PS3.10 8.6).

The files themselves are found by walking the folder. A directory is read to say what it lists, and never followed: a
File ID is a path that somebody else wrote.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from callosum.data.readers.dicom_header import items, raw_value

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage."""

_COMPONENT = re.compile(r"[\w\- ]+(?:\.[\w\- ]+)*")
_MAX_COMPONENTS = 8


def listed_files(dataset: Dataset) -> tuple[list[str], int]:
    """The files that a DICOMDIR lists, relative to its folder, and how many names lead, or may lead, elsewhere.

    Returns:
        Paths with `/`, of which no part is empty, `.` or `..` or holds a separator, a drive or a control character;
        and the number of File IDs that were left out because theirs did.
    """
    found: list[str] = []
    num_unsafe = 0
    for record in items(dataset, "DirectoryRecordSequence"):
        value = raw_value(record, "ReferencedFileID")
        if value is None:
            continue
        parts = [str(part) for part in (value if hasattr(value, "append") else [value])]
        if len(parts) <= _MAX_COMPONENTS and all(_COMPONENT.fullmatch(part) for part in parts):
            found.append("/".join(parts))
        else:
            num_unsafe += 1
    return found, num_unsafe


def describe(dataset: Dataset) -> str:
    """One sentence about a DICOMDIR, without a name from it."""
    found, num_unsafe = listed_files(dataset)
    unsafe = f", {num_unsafe} more under names that may lead elsewhere" if num_unsafe else ""
    return f"A directory of a medium: it lists {len(found)} files{unsafe}; they are read where they lie."
