"""The small language of phrases in the tables.

    pleural effusion            these words, in any case, spelling (oedema, edema) and number (effusions)
    (heart|cardiac silhouette)  one of these; they may hold brackets of their own
    [the|a] tip                 may be missing
    heart .. enlarged           up to three words between; `..5` up to five; never over a comma, a stop or a "but"
    CM                          a word in capitals is found in capitals only
    # cm                        any number
    ^ normal                    nothing else stands in the sentence

A phrase is spelled out into all its sequences, so keep the alternatives few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from callosum.core.errors import InputError

WHOLE = "^"
_GAP_WORDS = 3
_MOST_SEQUENCES = 5000
_PARTS = re.compile(r"[()\[\]|]|\.\.\d*|[^\s()\[\]|]+")
_CLOSES = {"(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Gap:
    """Up to so many words that do not matter."""

    words: int


Item = str | Gap
Sequence = tuple[Item, ...]


def expand(phrase: str) -> list[Sequence]:
    """Every sequence of words and gaps that a phrase stands for, each once.

    Raises:
        InputError: It is empty, begins or ends with a gap, has a bracket too many or too few, or stands for too many
            sequences.
    """
    parts = _PARTS.findall(phrase)
    sequences, end = _alternatives(phrase, parts, 0)
    if end < len(parts):
        raise _refusal(phrase, "a bracket is closed that was not opened")
    if any(not s or isinstance(s[0], Gap) or isinstance(s[-1], Gap) for s in sequences):
        raise _refusal(phrase, "it should begin and end with a word")
    return sequences


def beginnings(phrase: str) -> frozenset[str]:
    """The words that its sequences begin with, without spelling them out."""
    return frozenset(_beginnings(_PARTS.findall(phrase), 0)[0])


def _beginnings(parts: list[str], at: int) -> tuple[set[str], bool, int]:
    """First words of what the parts from here to a closing bracket stand for, whether it may be none, and its end."""
    found: set[str] = set()
    may_be_none, is_first = False, True
    while at < len(parts) and parts[at] not in ")]":
        part = parts[at]
        at += 1
        if part == "|":
            may_be_none, is_first = may_be_none or is_first, True
        elif part in _CLOSES:
            inner, is_empty, end = _beginnings(parts, at)
            at = end + 1
            if is_first:
                found |= inner
                is_first = is_empty or part == "["
        elif is_first and (words := split_words(part)):
            found.add(words[0])
            is_first = False
    return found, may_be_none or is_first, at


def _alternatives(phrase: str, parts: list[str], at: int) -> tuple[list[Sequence], int]:
    """What the parts from here to a closing bracket stand for, and where that is."""
    found: list[Sequence] = []
    current: list[Sequence] = [()]
    while at < len(parts) and parts[at] not in ")]":
        part = parts[at]
        at += 1
        if part == "|":
            found, current = [*found, *current], [()]
            continue
        options: list[Sequence]
        if part in _CLOSES:
            options, at = _alternatives(phrase, parts, at)
            if at >= len(parts) or parts[at] != _CLOSES[part]:
                raise _refusal(phrase, f"{part} should be closed")
            at += 1
            options = [*options, ()] if part == "[" else options
        elif part == WHOLE:
            options = [(WHOLE,)]
        elif part.startswith(".."):
            options = [(Gap(int(part[2:] or _GAP_WORDS)),)]
        else:
            options = [split_words(part)]
        current = [before + after for before in current for after in options]
        if len(current) + len(found) > _MOST_SEQUENCES:
            raise _refusal(phrase, f"it should stand for at most {_MOST_SEQUENCES} sequences")
    return list(dict.fromkeys([*found, *current])), at


def split_words(text: str) -> tuple[str, ...]:
    """The words of a text, hyphens between them or not."""
    return tuple(re.findall(r"[^\W_]+(?:['’][^\W_]+)*|#", text))


def _refusal(phrase: str, expected: str) -> InputError:
    return InputError(f"The phrase {phrase!r} cannot be read: {expected}.", hint="Correct it in the table.")
