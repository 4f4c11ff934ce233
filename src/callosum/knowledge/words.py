"""Words in the form in which they are compared: any case, number, spelling, and small slips in long words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

PLACEHOLDER = "\0"
"""Stands for a word that de-identification took away: a phrase is found across it."""
NUMBER = "#"
COLON = ":"
"""The one mark that a phrase may hold: "heart: enlarged" is said as "the heart is enlarged" is."""
_PARTS = re.compile(
    r"(?P<gone>\[\*\*.*?\*\*\]|\bX{3,}\b|_{2,})"
    r"|(?P<number>\d+(?:[.,]\d+)*(?![^\W\d_]))"
    r"|(?P<word>[^\W_]+(?:['’][^\W\d_]+)*)"
    r"|(?P<stop>[^\w\s\-‐-–'’]|\n\s*\n)"
)
_IRREGULAR = {
    "pneumothoraces": "pneumothorax",
    "hydropneumothoraces": "hydropneumothorax",
    "hemothoraces": "hemothorax",
    "bronchi": "bronchus",
    "emboli": "embolus",
    "thrombi": "thrombus",
    "calculi": "calculus",
    "foci": "focus",
    "vertebrae": "vertebra",
    "diverticula": "diverticulum",
    "septa": "septum",
    "hila": "hilum",
    "apices": "apex",
    "indices": "index",
    "feet": "foot",
    "bases": "base",
    "was": "was",
    "has": "has",
    "vas": "vas",
    "gas": "gas",
    "does": "does",
}
_SLIP_LENGTH = 10
"""Letters; a shorter word that differs in one letter is often another word (contusion, confusion)."""
_LONGEST_SLIP = 40
"""Letters; what is longer is no word, and would take long to compare."""
_MOST_KEPT = 200_000


class Token(NamedTuple):
    """A word, number, removed word or mark of a text; the word of a mark other than a colon is empty."""

    word: str
    capitals: str
    start: int
    end: int


def _key(word: str) -> str:
    return f"={word}" if len(word) > 1 and word.isupper() else canonical(word)


def canonical(word: str) -> str:
    """One form for all spellings and numbers of a word; it need not be a word itself."""
    lower = word.lower().replace("’", "'")
    lower = lower.removesuffix("'s").replace("'", "")
    if not lower.isascii():
        lower = "".join(c for c in unicodedata.normalize("NFKD", lower) if not unicodedata.combining(c))
    lower = _IRREGULAR.get(lower, lower)
    if len(lower) < 4:
        return lower
    return _american(_singular(lower))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("ses") and word[-4] in "aeioyu" and len(word) > 6:
        return word[:-2] + "is"  # metastases, stenoses; "diseases" becomes a form of its own, as "disease" does
    if word.endswith("ae"):
        return word[:-1]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _american(word: str) -> str:
    word = word.replace("ae", "e").replace("oe", "e")
    word = re.sub(r"our(?=$|ed$|ing$|al$)", "or", word) if len(word) > 5 else word
    word = re.sub(r"is(?=e$|ed$|ing$|ation$)", "iz", word) if len(word) > 6 else word
    return re.sub(r"(?<=[bt])re$", "er", word)


class Canon:
    """Words to their canonical form, with slips in long words of the lexicon put right.

    A word of at least ten letters that the lexicon does not have, and that one letter left out, added, changed or
    swapped away from its ends would make exactly one word of the lexicon, is taken for that word.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        self._learnt: dict[str, str] = {}
        self._lexicon: set[str] = set()
        self._slips: dict[str, set[str]] = {}

    def learn(self, word: str) -> str:
        """The key of a word of the lexicon: its canonical form, or itself when it stands in capitals."""
        key = self._learnt.get(word)
        if key is None:
            key = self._learnt[word] = _key(word)
            if not key.startswith("="):
                self._lexicon.add(key)
        return key

    def close(self) -> None:
        """Make the list of slips; to be called when all words are learnt."""
        for word in self._lexicon:
            if len(word) >= _SLIP_LENGTH - 1:
                for slip in _shortened(word):
                    self._slips.setdefault(slip, set()).add(word)

    def keys(self, word: str) -> tuple[str, str]:
        """The canonical form of a word of a text, and its key in capitals, empty when it has none."""
        found = self._known.get(word)
        if found is None:
            found = (self._mend(canonical(word)), f"={word}" if len(word) > 1 and word.isupper() else "")
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            if len(word) <= _LONGEST_SLIP:
                self._known[word] = found
        return found

    def _mend(self, word: str) -> str:
        if not _SLIP_LENGTH <= len(word) <= _LONGEST_SLIP or word in self._lexicon or not word.isalpha():
            return word
        near = {other for slip in _shortened(word) for other in self._slips.get(slip, ()) if _is_slip(word, other)}
        return near.pop() if len(near) == 1 else word


class Shorthand:
    """Abbreviations that can mean one thing only, put in place of which the words of that thing are looked up.

    Args:
        meanings: What each stands for. One in small letters is meant in any case, another only as it is written.
    """

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._starting: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
        for short, meaning in meanings.items():
            first, *rest = (_key(word) for word in short.replace("-", " ").split())
            words = tuple(canonical(word) for word in re.findall(r"[^\W_]+", meaning))
            self._starting.setdefault(first, []).append((tuple(rest), words))
        for same in self._starting.values():
            same.sort(key=lambda pair: len(pair[0]), reverse=True)

    def written_out(self, tokens: list[Token]) -> list[Token]:
        """The tokens with the words of each abbreviation in its place, all of them where it stands."""
        starting = self._starting
        if starting.keys().isdisjoint([t.word for t in tokens]) and starting.keys().isdisjoint(
            [t.capitals for t in tokens]
        ):
            return tokens
        made: list[Token] = []
        at = 0
        while at < len(tokens):
            num_tokens, words = self._read(tokens, at)
            start, end = tokens[at].start, tokens[at + num_tokens - 1].end
            made += [Token(word, "", start, end) for word in words] or [tokens[at]]
            at += num_tokens
        return made

    def _read(self, tokens: list[Token], at: int) -> tuple[int, tuple[str, ...]]:
        """How many tokens from here are an abbreviation, and its words; 1 and none when they are not."""
        for key in (tokens[at].capitals, tokens[at].word):
            for rest, words in self._starting.get(key, ()):
                after = tokens[at + 1 : at + 1 + len(rest)]
                if len(after) == len(rest) and all(k in (t.word, t.capitals) for k, t in zip(rest, after, strict=True)):
                    return 1 + len(rest), words
        return 1, ()


def _shortened(word: str) -> set[str]:
    """The word, and the word without one of its inner letters."""
    return {word, *(word[:i] + word[i + 1 :] for i in range(2, len(word) - 2))}


def _is_slip(word: str, other: str) -> bool:
    """Whether one letter added, left out or changed, or two neighbours swapped, makes the one out of the other."""
    if word[:2] != other[:2] or word[-2:] != other[-2:] or abs(len(word) - len(other)) > 1:
        return False
    if len(word) != len(other):
        return True
    differ = [i for i in range(len(word)) if word[i] != other[i]]
    swapped = len(differ) == 2 and differ[1] == differ[0] + 1 and word[differ[0]] == other[differ[1]]
    return len(differ) == 1 or (swapped and word[differ[1]] == other[differ[0]])


def tokenize(text: str, canon: Canon) -> list[Token]:
    """The words, numbers, removed words and marks of a text, in order; hyphens only part words."""
    tokens = []
    keys = canon.keys
    for part in _PARTS.finditer(text):
        kind = part.lastgroup
        start, end = part.span()
        if kind == "word":
            word, capitals = keys(part.group())
            tokens.append(Token(word, capitals, start, end))
        elif kind == "number":
            tokens.append(Token(NUMBER, "", start, end))
        elif kind == "gone":
            tokens.append(Token(PLACEHOLDER, "", start, end))
        else:
            tokens.append(Token(COLON if part.group() == COLON else "", "", start, end))
    return tokens
