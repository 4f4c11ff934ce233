"""Bytes to text: one stated order of encodings, and bytes that are no text refused.

A byte order mark decides; without one the bytes are UTF-8; bytes that are not valid UTF-8 are read as Windows-1252
(Latin-1 with quotation marks), which is flagged. NUL and control characters mean that the file is not text, which is
also how UTF-16 without a mark is answered. Line ends stay as they are: the parser knows all of them. Normalisation
(NFC) happens when text is handed out for a search, so that every span still counts characters of the decoded text.
"""

from __future__ import annotations

import codecs
import re

from callosum.core.record import Flag
from callosum.data.readers.refusal import Reason, reject

MAX_REPORT_BYTES = 1 << 20
"""Longer files are no report: the longest real ones have some ten thousand characters."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_GUESSED = Flag(code="ENCODING_GUESSED", sentence="The bytes are not UTF-8 and were read as Windows-1252.")


def decode_text(data: bytes) -> tuple[str, tuple[Flag, ...]]:
    """Decode the bytes of a text file.

    Returns:
        The text, without the byte order mark, and doubts.

    Raises:
        Refused: `EMPTY`, `FILE_TOO_LARGE`, or `NOT_TEXT`.
    """
    if not data.strip(b" \t\r\n\v\f"):
        raise reject(Reason.EMPTY, "The file has no text.")
    if len(data) > MAX_REPORT_BYTES:
        raise reject(Reason.FILE_TOO_LARGE, f"The text is larger than {MAX_REPORT_BYTES >> 20} MiB.")
    text, flags = _decode(data)
    if _CONTROL.search(text):
        raise reject(Reason.NOT_TEXT, "There are control characters in it that no text has.")
    return text, flags


def _decode(data: bytes) -> tuple[str, tuple[Flag, ...]]:
    try:
        for mark, encoding in _MARKS:
            if data.startswith(mark):
                return data[len(mark) :].decode(encoding), ()
        try:
            return data.decode("utf-8"), ()
        except UnicodeDecodeError:
            return data.decode("cp1252"), (_GUESSED,)
    except UnicodeDecodeError as error:
        raise reject(Reason.NOT_TEXT, "The bytes are of no encoding that is read.") from error
