"""Doubts about who a DICOM file says it is: identifiers that are none, and text in an unknown character set.

A picture is not lost for its name. An identifier that is no UID (PS3.5 9.1) is kept out, so that nothing is grouped by
it; text is read with the default repertoire, and the bytes of names are never kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydicom.charset import python_encoding

from callosum.core.record import Flag
from callosum.data.readers.dicom_header import raw_value

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_UID = re.compile(r"(?=.{1,64}\Z)(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+")
_NEEDED = "instance_uid"


def check_identity(dataset: Dataset, identifiers: Mapping[str, str]) -> tuple[dict[str, str], list[Flag]]:
    """The identifiers that can be used, and `UID_INVALID` and `CHARSET_UNKNOWN` where they are due."""
    wrong = {name for name, text in identifiers.items() if name.endswith("_uid") and not _UID.fullmatch(text)}
    flags = []
    if wrong or _NEEDED not in identifiers:
        sentence = "A UID is missing or is none; the file is not grouped by it."
        flags.append(Flag(code="UID_INVALID", sentence=sentence))
    stated = raw_value(dataset, "SpecificCharacterSet")
    terms = stated if hasattr(stated, "append") else [stated]
    if any(term and str(term).strip() not in python_encoding for term in terms):
        sentence = "Its character set is not one that is known; text in it was read as plain letters."
        flags.append(Flag(code="CHARSET_UNKNOWN", sentence=sentence))
    return {name: text for name, text in identifiers.items() if name not in wrong}, flags
