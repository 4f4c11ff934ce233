"""What de-identification left in place of words: where, and how much of a span it is."""

from __future__ import annotations

import bisect
import re

_PLACEHOLDER = re.compile(
    r"\[\*\*[^\[\]\n]{0,120}\*\*\]"  # MIMIC-III
    r"|(?<![_\w])_{3,}(?!\w)"  # MIMIC-CXR; a run of five or more alone on its line is a drawn line
    r"|X{4,}"  # Open-i
    r"|<(?:/?[A-Z][A-Z_\-]{2,30}\d{0,4})>"  # <NAME>
    r"|\[(?=[A-Z])[A-Z_ \-]{3,30}\d{0,4}\]"  # [PERSONALNAME]
    r"|\{\{[^{}\n]{1,60}\}\}"
    r"|\*{4,}"
    r"|█+"
)
_DRAWN = re.compile(r"_{5,}")
_WORD = re.compile(r"[^\W_]+")


def find_placeholders(text: str) -> tuple[tuple[int, int], ...]:
    """`(start, end)` of every placeholder, in order."""
    return tuple(m.span() for m in _PLACEHOLDER.finditer(text) if not _is_drawn(text, m))


def _is_drawn(text: str, match: re.Match[str]) -> bool:
    """A run of underscores that has the line to itself."""
    if not _DRAWN.fullmatch(match.group()) and not match.group().startswith("****"):
        return False
    before = text[max(0, match.start() - 40) : match.start()].rstrip(" \t")
    after = text[match.end() : match.end() + 40].lstrip(" \t")
    return (not before or before[-1] in "\n\r") and (not after or after[0] in "\n\r")


def is_mostly_placeholder(text: str, start: int, end: int, placeholders: tuple[tuple[int, int], ...]) -> bool:
    """True when at least half of the words of a span, and two of them or all, are placeholders."""
    first = bisect.bisect_left(placeholders, (start, start))
    inside = 0
    covered = 0
    while first + inside < len(placeholders) and placeholders[first + inside][1] <= end:
        low, high = placeholders[first + inside]
        covered += len(_WORD.findall(text, low, high))
        inside += 1
    if not inside:
        return False
    words = len(_WORD.findall(text, start, end)) - covered
    return words == 0 or (inside >= 2 and inside >= words)
