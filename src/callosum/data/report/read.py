"""The bytes of a file to a report, by what is in them; and whether a text is a report at all."""

from __future__ import annotations

import re
from dataclasses import replace

from callosum.core.digest import digest_bytes
from callosum.core.report import Report
from callosum.core.report import SectionKind as Kind
from callosum.data.readers.prescan import has_dicom
from callosum.data.readers.refusal import Reason, reject
from callosum.data.report.decode import decode_text
from callosum.data.report.parse import parse_report
from callosum.data.report.vocabulary import Strength, meaning_of

_SHOWING = (Kind.FINDINGS, Kind.IMPRESSION)
_ASIDE = (Kind.INDICATION, Kind.HISTORY, Kind.COMPARISON, Kind.TECHNIQUE, Kind.EXAM)
_TITLE = re.compile(r"(?im)^[ \t*=#_-]{0,40}(?:final|radiology|final radiology|diagnostic imaging) report\b")
_CODE = re.compile(
    r"(?im)<!doctype|<html\b|<script\b|^#!|^#include\b|^\s*import [\w.]+\s*$|^\s*from [\w.]+ import |^\s*def \w+\("
    r"|^\s*(?:public|private) (?:class|static|void)\b|^\s*function \w*\(|^\s*(?:SELECT|INSERT|CREATE TABLE)\b.*[;(]\s*$"
)
_ARTICLE = re.compile(
    r"(?im)^[ \t#*\d.]{0,12}(?:abstract|introduction|materials and methods|methods|methodology|background|references|"
    r"bibliography|acknowledge?ments?|related work|table of contents|contents|installation|usage|getting started|"
    r"licen[cs]e|keywords|funding|author contributions|limitations|participants|data sharing)[ \t*]{0,4}(?:[:\n\r]|$)"
)
MAX_CHARACTERS = 50_000
"""A longer text is a book."""


def read_report(data: bytes, *, digest: str = "") -> Report:
    """Read the report in a file: plain text, Open-i XML or a DICOM Structured Report.

    Args:
        data: All bytes of the file.
        digest: SHA-256 of `data` when the caller has it already.

    Raises:
        Refused: the bytes are no text (`NOT_TEXT`), no report (`NOT_A_REPORT`), or damaged.
    """
    return replace(_read(data), source_digest=digest or digest_bytes(data))


def _read(data: bytes) -> Report:
    if data[128:132] == b"DICM" or has_dicom(data):
        from callosum.data.report import sr

        return sr.read_report(data)
    text, flags = decode_text(data)
    if text.lstrip().startswith(("<?xml", "<eCitation")):
        from callosum.data.report import openi

        return openi.read_report(data)
    report = parse_report(text)
    if not _is_report(report):
        raise reject(Reason.NOT_A_REPORT, "The file is text, but not a report: no heading of findings or impression.")
    return replace(report, flags=(*flags, *report.flags))


def looks_like_report(text: str) -> bool:
    """Whether a text is a report of an examination.

    It is one when it has a heading of findings or impression beside one of what was asked, compared or done; or two
    headings of findings and impression; or one of them alone, if it is in capitals or says just that, or the text has
    a title such as "FINAL REPORT" or an accession number. It is none when it has the marks of a web page or a program,
    more than 50,000 characters, or the headings of an article (abstract, introduction, methods, references) and none
    of what was asked.
    """
    return _is_report(parse_report(text))


def _is_report(report: Report) -> bool:
    beginning = report.text[:MAX_CHARACTERS]
    if len(report.text) > MAX_CHARACTERS or _CODE.search(beginning):
        return False
    said = [(s.kind, s.heading) for s in report.sections if s.heading and s.end > s.start]
    headed = {kind: heading for kind, heading in said if _strength(heading) > Strength.WEAK}
    asked = {Kind.INDICATION, Kind.COMPARISON, Kind.TECHNIQUE} & headed.keys()
    if len({m.group().strip().casefold() for m in _ARTICLE.finditer(beginning)}) >= (3 if asked else 1):
        return False
    shown = [kind for kind in _SHOWING if kind in headed and (asked or _strength(headed[kind]) > Strength.LINE)]
    if (shown and any(kind in headed for kind in _ASIDE)) or len(shown) == 2:
        return True
    is_titled = bool(_TITLE.search(beginning)) or "accession" in report.identifiers
    if is_titled and (headed or report.findings_text()):
        return True
    return any(headed[kind].isupper() or headed[kind] in ("Findings", "Impression", "Impressions") for kind in shown)


def _strength(heading: str) -> Strength:
    meaning = meaning_of(heading, mend=True)
    return meaning.strength if meaning else Strength.STRONG
