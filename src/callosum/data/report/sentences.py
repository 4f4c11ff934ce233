"""Sections to sentences: where one ends, and where a full stop ends nothing.

A sentence ends at a full stop, question or exclamation mark before white space, at a blank line, and where an item of a
list begins. It does not end inside a number, after an abbreviation, an initial, the number of a list item or an
ellipsis that goes on in small letters. A question mark ends none where nothing stands before it ("? effusion") or its
answer comes after it ("Effusion? No."). A single line break is white space, unless the line before it ended early.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ITEM = r"(?:\(?\d{1,2}[.)]|[-–•*·▪►]|\([a-z]\)|[a-z]\))[ \t]+(?=\S)"
_BREAK = re.compile(
    r"(?P<stop>(?:\.{1,6}|…|[?!]+)[\"'”’)\]]*)(?=\s|$|[A-Z][a-z])"
    rf"|(?P<line>(?:\r\n|[\n\r\v\f\x85\u2028\u2029])[ \t\xa0]*(?={_ITEM}|[\n\r\v\f\x85\u2028\u2029]))"
    r"|(?P<wrap>\r\n|[\n\r\v\f\x85\u2028\u2029])"
    rf"|(?P<number>(?<=[.;:])[ \t]+(?=\(?\d{{1,2}}[.)][ \t]+[A-Z]))"
)
_LAST_TOKEN = re.compile(r"[^\s(\[\"']*$")
_FIRST_LETTER = re.compile(r"\s{0,200}[\"'(\[]{0,4}(\S)")
ABBREVIATIONS = frozenset(
    "cf dr drs mr mrs ms prof st vs approx ca al etc eg ie e.g i.e fig figs no nr nos vol ref resp incl excl est max "
    "min mos mo wk wks yr yrs hr hrs sec in inf sup ant post lat med dist prox bilat temp wt ht dept hosp univ "
    "p.o i.v i.m b.i.d t.i.d q.d q.h.s a.m p.m u.s m.d ph.d r.n d.o w.r.t s.p z.b d.h u.a bzw ggf evtl li re "
    "vgl usw abs p.ej ej sr sra dra núm pag págs".split()
)
"""Without the last full stop, in small letters."""
_END_ALSO = frozenset("in no etc mos mo wk wks yr yrs hr hrs sec min max a.m p.m med est wt ht post re li temp".split())
"""Abbreviations that may also be the last word of a sentence: a capital after them begins another."""
_MAX_LINE = 70
_ANSWER = re.compile(
    r"[ \t\xa0]{1,4}(?:yes|no|none|neg|negative|positive|present|absent)\b[ \t\xa0]{0,4}(?:[.,;]|$)", re.IGNORECASE
)


def split_sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of the sentences of a section, trimmed, in order.

    Args:
        text: The report.
        start: First character of the section.
        end: One past its last character.
    """
    at = start
    line_start = start
    for found in _BREAK.finditer(text, start, end):
        if found.lastgroup == "stop":
            if not _ends(text, at, found, end):
                continue
        elif found.lastgroup == "wrap":
            ended_early = found.start() - line_start < _MAX_LINE and _begins_anew(text, found.start(), found.end(), end)
            line_start = found.end()
            if not ended_early:
                continue
        if span := _trim(text, at, found.end()):
            yield span
        at = found.end()
    if span := _trim(text, at, end):
        yield span


def _begins_anew(text: str, stop: int, after: int, end: int) -> bool:
    """Whether a short line is complete: the next one begins with a capital, and this one does not end in a comma."""
    following = _FIRST_LETTER.match(text, after, end)
    before = text[max(0, stop - 1) : stop]
    return bool(following and following.group(1).isupper() and before not in ",;-–(/")


def _ends(text: str, start: int, found: re.Match[str], end: int) -> bool:
    """Whether a full stop ends a sentence."""
    mark = found.group()
    following = _FIRST_LETTER.match(text, found.end(), end)
    letter = following.group(1) if following else ""
    if mark[0] in "?!":
        is_free = mark[0] == "?" and (found.start() == start or text[found.start() - 1] in " \t\xa0\n(,;:")
        is_answered = mark[0] == "?" and _ANSWER.match(text, found.end(), end)
        return not (letter.islower() or is_free or is_answered)
    token = _LAST_TOKEN.search(text, max(start, found.start() - 24), found.start())
    word = token.group().casefold() if token else ""
    if mark.startswith("..") or mark[0] == "…":
        return not letter.islower() and bool(word)
    if not word:
        return bool(text[start : found.start()].strip())
    if word.isdigit() and len(word) <= 2:
        is_item = found.start() - start <= 8 and text[start : found.start()].strip(" \t\xa0(") == word
        return not is_item and not letter.islower()
    if len(word) == 1 and word.isalpha():
        return word not in "aijvx" and not letter.isupper() and not letter.islower()
    if word in ABBREVIATIONS or ("." in word and len(word) <= 5 and not any(c.isdigit() for c in word)):
        return word in _END_ALSO and letter.isupper()
    return not letter.islower()


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
