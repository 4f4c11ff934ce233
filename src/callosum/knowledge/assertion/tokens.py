"""A sentence to words and marks; what de-identification left is no word, so that phrases are found across it."""

from __future__ import annotations

import re
from dataclasses import dataclass

PARAGRAPH = "\n"
DASH = "-"
YEAR = "<year>"
MONTH = "<month>"
QUERY = "query"

_PARTS = re.compile(
    r"(?P<gone>\*\*[A-Z][A-Z-]*(?:\[[^\]\n]{0,80}\])?|\[\*\*[^\]\n]{0,120}\*\*\]|_{2,}|(?<![^\W_])X{3,}(?![^\W_]))"
    r"|(?P<minus>\([-–−]\))"
    r"|(?P<item>(?<!\S)\d{1,2}\)(?!\w*\())"
    r"|(?P<number>\d+(?:[.,]\d+)*)"
    r"|(?P<word>w/(?=[\s\d])|[^\W\d_]+(?:['’/][^\W\d_]+)*)"
    r"|(?P<paragraph>\n\s*\n|\n\s*(?=[-*•]\s|\d{1,2}[.)]\s))"
    r"|(?P<dash>(?<=\s)[-–=]+|[-–](?=\s(?!to\b|and\b|or\b))|—|--+|=)"
    r"|(?P<mark>[.,;:!?•()])"
)
_MONTHS = frozenset(
    "january february april june july august september october november december jan feb mar apr jun jul aug sep sept "
    "oct nov dec".split()
)
_ANSWER = re.compile(
    r"\s*(?:yes|no|none|neg|negative|positive|present|absent|unlikely|likely|possible)\b", re.IGNORECASE
)
_TITLES = frozenset({"dr", "mr", "mrs", "ms"})
_SHORT = frozenset("vs approx cf hx st nos fig est".split())
"""A full stop after one of these, or after one letter, ends nothing when a small letter follows."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words and marks of a sentence: in lower case, and where each starts and ends."""

    words: list[str]
    starts: list[int]
    ends: list[int]


def read_tokens(sentence: str) -> Tokens:
    """The words and marks of a sentence, in order; hyphens within a word only part it."""
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for part in _PARTS.finditer(sentence):
        kind = part.lastgroup
        if kind == "gone":
            continue
        word = part.group()
        if kind == "word":
            word = word.lower().replace("’", "'")
            word = MONTH if word in _MONTHS else word
        elif kind == "number":
            word = YEAR if len(word) == 4 and word[:2] in ("19", "20") else word
        elif kind in ("paragraph", "item"):
            word = PARAGRAPH
        elif kind == "dash":
            word = DASH
        elif kind == "minus":
            word = "absent"
        elif word == "?" and _asks_ahead(sentence, part.start()):
            word = QUERY
        elif word == "." and words and _is_short(words[-1], sentence, part.end()):
            continue
        words.append(word)
        starts.append(part.start())
        ends.append(part.end())
    return Tokens(words, starts, ends)


def _asks_ahead(sentence: str, place: int) -> bool:
    """Whether a question mark stands before what is in question ("?effusion", "opacity ? mass"), not after it."""
    spaced, after = sentence[max(0, place - 3) : place], sentence[place + 1 : place + 2]
    if after != " " or spaced.rstrip()[-1:] in ("", ".", ",", ";", ":", "("):
        return after.isalnum() or after == " "
    asks = sentence[place + 2 : place + 3].isalnum() and not _ANSWER.match(sentence, place + 1)
    return spaced[-1:].isspace() and asks


def _is_short(word: str, sentence: str, place: int) -> bool:
    """Whether a full stop after a word, at a place, only says that the word is cut short."""
    if word in _TITLES:
        return True
    if word not in _SHORT and not (len(word) == 1 and word.isalpha()):
        return False
    following = sentence[place : place + 3].lstrip()
    return bool(following) and not following[0].isupper()
