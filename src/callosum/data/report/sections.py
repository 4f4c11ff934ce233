"""Headings to sections: what each holds, and what is taken for findings when nothing says so.

Text under no heading is a title (EXAM) as long as it says nothing about a picture. Where no heading of findings
exists, findings are looked for in this order, and the report is flagged: sentences under no heading; labels of organs
("LUNGS: ... HEART: ...") below another section; further paragraphs below a title or a comparison, or the last one
below a technique; and only when nothing else in the report shows anything, the last paragraph of an indication or
history that does not read like a question.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, replace

from callosum.core.record import Flag
from callosum.core.report import SEARCHABLE, Section
from callosum.core.report import SectionKind as Kind
from callosum.data.report.headings import FORMAT, LINE, MIN_WRAPPED, RULE, Heading, HeadingFinder
from callosum.data.report.vocabulary import MAX_PHRASE, Meaning, Strength, meaning_of

UNHEADED = Flag(code="FINDINGS_UNHEADED", sentence="No heading says where the findings are; a paragraph was taken.")
NO_HEADINGS = Flag(code="NO_HEADINGS", sentence="The report has no headings; all of its sentences are searched.")
NO_FINDINGS = Flag(code="NO_FINDINGS", sentence="Nothing in the report says what the pictures show.")

_PARAGRAPH = re.compile(r"(?:\r\n|[\n\r\x85\u2028\u2029])[ \t\xa0]*(?:\r\n|[\n\r\x85\u2028\u2029])\s*|\u2029\s*")
_TRAILING = re.compile(r"(?:\s|</[A-Za-z]\w{0,9}\s*>|<(?:br|hr|p)\s*/?>)+")
_LEADING = re.compile(FORMAT)
_SAYS = re.compile(
    r"\b(?:is|are|was|were|be|no|not|there|has|have|show|shows|showed|shown|demonstrates?|reveals?|normal|clear|"
    r"unremarkable|seen|identified|noted|evidence|within|stable|"
    r"without(?!(?:\s+and\s+with)?(?:\s+(?:iv|i\.v\.|intravenous|oral))*\s+contrast)|"
    r"unchanged|negative|intact|present|absent|"
    r"appears?|remains?|kein|keine|keinen|ist|sind|unauffällig|regelrecht|est|sont|pas|sans|es|son|sin|sono|"
    r"nella|nessun\w*|são|sem|geen|zijn)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\?|\b(?:evaluat\w+|assess\w*|rule out|r/o|question|concern\w*|suspect\w*|please|history of|h/o|s/p|status post|"
    r"year[- ]old|y/?o|presents?|presenting|complain\w*|symptoms?|follow[- ]?up|pre-?op\w*|verdacht|ausschluss)\b",
    re.IGNORECASE,
)
_ACQUIRES = re.compile(
    r"\b(?:performed|obtained|acquired|administered|injected|protocol|reconstruct\w*|reformat\w*|axial|sagittal|"
    r"coronal|mgy|dlp|ctdi\w*|contrast was|kvp|sequences?|slices?|technique)\b",
    re.IGNORECASE,
)
_DRAWN = frozenset("=-_~*#.–—")
_MAY_HOLD_FINDINGS = (Kind.EXAM, Kind.COMPARISON, Kind.TECHNIQUE, Kind.INDICATION, Kind.HISTORY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outline:
    """The sections of a text and what was doubtful about finding them."""

    sections: tuple[Section, ...]
    flags: tuple[Flag, ...] = ()


def outline(text: str) -> Outline:
    """Divide a text into sections.

    The sections are in order, do not overlap, and are trimmed: a section with a heading and nothing under it is empty.
    """
    finder = HeadingFinder(text).find()
    finder.headings = _with_requests(finder.headings)
    headings, has_labels = _with_labels(text, finder)
    sections = [part for at, heading in enumerate(headings) for part in _body(text, headings, at, heading)]
    first = headings[0].opening if headings else len(text)
    sections = [*_unheaded(text, 0, first), *sections]
    found = _settle(text, sections)
    return replace(found, flags=(UNHEADED,)) if has_labels else found


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without white space, drawn lines and closing marks at its ends."""
    while True:
        before = (start, end)
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        if start < end and text[start] == "<":
            tag = _LEADING.match(text, start, end)
            start = tag.end() if tag else start
        if start < end and text[start] in _DRAWN:
            line_end = _line_end(text, start, end)
            start = line_end if RULE.fullmatch(text, start, line_end) else start
        if start < end and text[end - 1] in _DRAWN:
            line_start = _line_start(text, start, end)
            end = line_start if RULE.fullmatch(text, line_start, end) else end
        if start < end and text[end - 1] == ">":
            tail = text.rfind("<", max(start, end - 45), end)
            end = tail if tail >= 0 and _TRAILING.fullmatch(text, tail, end) else end
        if (start, end) == before:
            return start, end


def _line_end(text: str, start: int, end: int) -> int:
    found = LINE.match(text, start, end)
    return found.end() if found else start


def _line_start(text: str, start: int, end: int) -> int:
    low = max(start, end - 400)
    found = max((text.rfind(mark, low, end) for mark in "\n\r\v\f\x85\u2028\u2029"), default=-1)
    return found + 1 if found >= 0 else start if low == start else end


def _with_requests(headings: list[Heading]) -> list[Heading]:
    """A "Diagnosis" above findings that are followed by an impression is what the requester wrote."""
    kinds = [h.meaning.kind for h in headings]
    first = kinds.index(Kind.FINDINGS) if Kind.FINDINGS in kinds else 0
    if Kind.IMPRESSION not in kinds[first + 1 :]:
        return headings
    asked = Meaning(kind=Kind.INDICATION)
    return [
        replace(h, meaning=asked) if h.meaning == Meaning(kind=Kind.IMPRESSION, strength=Strength.LINE) else h
        for h in headings[:first]
    ] + headings[first:]


def _with_labels(text: str, finder: HeadingFinder) -> tuple[list[Heading], bool]:
    """Headings, with findings begun where labels of organs stand below a section that is no finding."""
    headings = finder.headings
    if any(h.meaning.kind is Kind.FINDINGS for h in headings):
        return headings, False
    openings = [h.opening for h in headings]
    groups: dict[int, list[tuple[int, int]]] = {}
    for span in finder.labels:
        groups.setdefault(bisect.bisect_right(openings, span[0]) - 1, []).append(span)
    for index, spans in groups.items():
        if index < 0 or len(spans) < 2 or headings[index].meaning.kind in SEARCHABLE:
            continue
        at, name_end = spans[0]
        if text[headings[index].end : at].strip() or headings[index].meaning.kind not in (
            Kind.INDICATION,
            Kind.HISTORY,
        ):
            label = Heading(start=at, name_end=name_end, end=at, opening=at, meaning=Meaning(kind=Kind.FINDINGS))
            return [*headings[: index + 1], label, *headings[index + 1 :]], True
    return headings, False


def _body(text: str, headings: list[Heading], at: int, heading: Heading) -> list[Section]:
    """The section below a heading, and what stands below the line that an administrative one is content with."""
    limit = headings[at + 1].opening if at + 1 < len(headings) else len(text)
    if heading.meaning.kind is None:
        return _unheaded(text, heading.end, limit)
    end = limit
    if heading.meaning.kind is Kind.OTHER:
        line_end = _line_end(text, heading.end, limit)
        if text[heading.end : line_end].strip():
            paragraph = _PARAGRAPH.search(text, heading.end, limit)
            is_wrapped = line_end - heading.start >= MIN_WRAPPED
            end = (paragraph.start() if paragraph else limit) if is_wrapped else line_end
    start, stop = trimmed(text, heading.end, end)
    if start >= stop:
        start = stop = min(heading.end, end)
    opening = text[heading.opening : heading.start]
    if stop > start and text[stop - 1] == "|" and "|" in opening:
        start, stop = trimmed(text, start, stop - 1)
    if heading.meaning.strength is Strength.WEAK and heading.meaning.kind is Kind.FINDINGS and start == stop:
        return []
    name = text[heading.start : heading.name_end]
    section = Section(kind=heading.meaning.kind, heading=name, heading_start=heading.start, start=start, end=stop)
    return [section, *_unheaded(text, end, limit)]


def _unheaded(text: str, start: int, end: int) -> list[Section]:
    """Text under no heading: each paragraph a title, or findings if it says something."""
    sections: list[Section] = []
    if start >= end or text[start:end].isspace():
        return sections
    at = start
    for stop, after in [*((m.start(), m.end()) for m in _PARAGRAPH.finditer(text, start, end)), (end, end)]:
        low, high = trimmed(text, at, stop)
        at = after
        if low >= high or _is_banner(text[low:high]):
            continue
        kind = Kind.FINDINGS if _says_something(text[low:high]) else Kind.EXAM
        if sections and sections[-1].kind is kind:
            sections[-1] = replace(sections[-1], end=high)
        else:
            sections.append(_plain(kind, low, high))
    return sections


def _is_banner(paragraph: str) -> bool:
    """True for a title such as "FINAL REPORT"."""
    meaning = meaning_of(paragraph) if len(paragraph) <= MAX_PHRASE else None
    return meaning is not None and meaning.kind is None


def _plain(kind: Kind, start: int, end: int) -> Section:
    return Section(kind=kind, heading="", heading_start=start, start=start, end=end)


def _says_something(paragraph: str) -> bool:
    """True for three words or more of which one is said of something."""
    return len(paragraph.split(None, 3)) >= 3 and bool(_SAYS.search(paragraph[:2000]))


def _settle(text: str, sections: list[Section]) -> Outline:
    """Decide what text under no heading is, once it is known what the headings cover."""
    headed = {s.kind for s in sections if s.heading} - {Kind.OTHER}
    if not headed:
        return _all_is_said(sections)
    if Kind.FINDINGS in headed:
        return Outline(sections=tuple(_as_titles(sections)))
    end = next((i for i, s in enumerate(sections) if s.heading and s.kind is Kind.IMPRESSION), len(sections))
    if any(not s.heading and s.kind is Kind.FINDINGS for s in sections[:end]):
        return Outline(sections=(*sections[:end], *_as_titles(sections)[end:]), flags=(UNHEADED,))
    sections = _as_titles(sections)
    if divided := _divide(text, sections, nothing_shown=not headed & SEARCHABLE):
        return Outline(sections=tuple(divided), flags=(UNHEADED,))
    is_said = any(s.kind in SEARCHABLE and s.end > s.start for s in sections)
    return Outline(sections=tuple(sections), flags=() if is_said else (NO_FINDINGS,))


def _all_is_said(sections: list[Section]) -> Outline:
    """No heading at all: every sentence is searched; a text without a sentence is searched whole."""
    if not any(s.kind is Kind.FINDINGS for s in sections):
        sections = [replace(s, kind=Kind.FINDINGS) if s.kind is Kind.EXAM else s for s in sections]
    found = any(s.kind is Kind.FINDINGS for s in sections)
    return Outline(sections=tuple(sections), flags=(NO_HEADINGS,) if found else (NO_FINDINGS,))


def _as_titles(sections: list[Section]) -> list[Section]:
    return [_as_title(sections, i) for i in range(len(sections))]


def _as_title(sections: list[Section], index: int) -> Section:
    """Text under no heading beside headed findings: a title above them, administration below."""
    section = sections[index]
    if section.heading:
        return section
    below = any(s.kind in SEARCHABLE and s.heading for s in sections[:index])
    return replace(section, kind=Kind.OTHER if below else Kind.EXAM)


def _divide(text: str, sections: list[Section], *, nothing_shown: bool) -> list[Section]:
    """Cut findings off the section before the impression, or off the last one; empty when none is found."""
    if nothing_shown:
        index = max((i for i, s in enumerate(sections) if s.kind not in (Kind.OTHER, Kind.WET_READ)), default=-1)
    else:
        index = next((i for i, s in enumerate(sections) if s.kind is Kind.IMPRESSION), 0) - 1
    if index < 0:
        return []
    section = sections[index]
    cuts = [m.end() for m in _PARAGRAPH.finditer(text, section.start, section.end)]
    asked = section.kind in (Kind.INDICATION, Kind.HISTORY)
    if not cuts or (asked and not nothing_shown) or section.kind not in _MAY_HOLD_FINDINGS:
        return []
    at = cuts[-1] if section.kind is Kind.TECHNIQUE or asked else _first_saying(text, cuts, section.end)
    paragraph = text[at : section.end][:4000]
    if not _says_something(paragraph) or (asked and _ASKS.search(paragraph)) or _ACQUIRES.search(paragraph):
        return []
    before = replace(section, end=trimmed(text, section.start, at)[1])
    return [*sections[:index], before, _plain(Kind.FINDINGS, at, section.end), *sections[index + 1 :]]


def _first_saying(text: str, cuts: list[int], end: int) -> int:
    """Where the first paragraph below the section's own begins that says something and is no technique."""
    for at, after in zip(cuts, [*cuts[1:], end], strict=True):
        if _says_something(text[at:after]) and not _ACQUIRES.search(text, at, after):
            return at
    return cuts[-1]
