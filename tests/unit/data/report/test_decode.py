"""Bytes to text."""

import codecs

import pytest

from callosum.core.errors import Refused
from callosum.data.report import decode_text
from callosum.data.report.decode import MAX_REPORT_BYTES

TEXT = "Befund: Größe 3 µm – “normal”.\r\nEnde"


@pytest.mark.parametrize(
    ("data", "flags"),
    [
        (TEXT.encode(), []),
        (codecs.BOM_UTF8 + TEXT.encode(), []),
        (codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"), []),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), []),
        (codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"), []),
        (TEXT.encode("cp1252"), ["ENCODING_GUESSED"]),
    ],
)
def test_encodings(data: bytes, flags: list[str]) -> None:
    text, found = decode_text(data)
    assert text == TEXT
    assert [flag.code for flag in found] == flags


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "EMPTY"),
        (b" \r\n\t", "EMPTY"),
        (b"FINDINGS:\0 clear", "NOT_TEXT"),
        (b"FINDINGS: \x07", "NOT_TEXT"),
        (TEXT.encode("utf-16-le"), "NOT_TEXT"),
        (codecs.BOM_UTF16_LE + b"\x00\xd8a", "NOT_TEXT"),
        (b"caf\xe9 \x81", "NOT_TEXT"),
        (b"a" * (MAX_REPORT_BYTES + 1), "FILE_TOO_LARGE"),
    ],
)
def test_what_is_no_text(data: bytes, reason: str) -> None:
    with pytest.raises(Refused) as raised:
        decode_text(data)
    assert raised.value.reason == reason
