"""A text in pieces that can be coloured: what names a finding, what decided over it, headings, and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from callosum.core.finding import Experiencer, Finding, Laterality, Temporality
from callosum.core.report import Report

TONES = {
    "present": "bold white on dark_red",
    "uncertain": "black on dark_orange",
    "absent": "black on green3",
    "historical": "white on grey37",
    "hypothetical": "black on sky_blue2",
    "other person": "white on purple4",
}
"""What is said of a finding, and its style on a terminal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some characters, and what they are.

    Attributes:
        text: The characters.
        tone: What is said of the finding that they name; empty when they name none.
        concepts: The findings that they name.
        is_cue: Whether they decided over one.
        is_heading: Whether they are the heading of a section.
    """

    text: str
    tone: str = ""
    concepts: tuple[str, ...] = ()
    is_cue: bool = False
    is_heading: bool = False


def tone(finding: Finding) -> str:
    """What is said of a finding, in the words of `TONES`."""
    if finding.experiencer is not Experiencer.PATIENT:
        return "other person"
    return str(finding.presence) if finding.temporality is Temporality.RECENT else str(finding.temporality)


def pieces(text: str, findings: Sequence[Finding], report: Report | None = None) -> list[Piece]:
    """The text from its beginning to its end; where findings overlap, the one that starts first has the tone."""
    marks = [_Mark(*finding.span, finding=finding) for finding in findings]
    marks += [_Mark(*cue, is_cue=True) for finding in findings for cue in finding.cues]
    for section in report.sections if report else ():
        marks.append(_Mark(section.heading_start, section.heading_start + len(section.heading), is_heading=True))
    marks.sort(key=lambda mark: (mark.start, -mark.end))
    edges = sorted({0, len(text), *(edge for mark in marks for edge in (mark.start, mark.end))})
    made, open_marks, waiting = [], list[_Mark](), 0
    for start, end in pairwise(edges):
        while waiting < len(marks) and marks[waiting].start <= start:
            open_marks.append(marks[waiting])
            waiting += 1
        open_marks = [mark for mark in open_marks if mark.end > start]
        named = [mark.finding for mark in open_marks if mark.finding is not None]
        made.append(
            Piece(
                text=text[start:end],
                tone=tone(named[0]) if named else "",
                concepts=tuple(dict.fromkeys(finding.concept for finding in named)),
                is_cue=any(mark.is_cue for mark in open_marks),
                is_heading=any(mark.is_heading for mark in open_marks),
            )
        )
    return made


class _Mark(NamedTuple):
    """A stretch of the text, and what it is."""

    start: int
    end: int
    finding: Finding | None = None
    is_cue: bool = False
    is_heading: bool = False


def place(finding: Finding) -> str:
    """Where a finding is, in words: its side, unless its site names it, and its site."""
    side = "" if finding.laterality is Laterality.UNSTATED else str(finding.laterality)
    return f"{'' if finding.site.startswith(side) else side} {finding.site}".strip() if finding.site else side
