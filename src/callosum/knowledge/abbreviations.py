"""Abbreviations of radiology, written out where what stands around them says which word is meant.

`tables/abbreviations.csv` is the list; edit it. An abbreviation written there in small letters is recognised in any
case, any other only as it is written. A sense may name kinds of images and words of its context (`embol*` is any word
that begins so); a sense that names neither holds everywhere. One with several senses that nothing decides between is
reported and left as it is: a wrong word is worse than a short one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache

from callosum.knowledge.grammar import plural
from callosum.knowledge.modality import mentioned, modality_of
from callosum.knowledge.ontology import read_table, split_cell

NEAR = 200
"""So many characters on either side speak for a sense."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sense:
    """What an abbreviation may stand for.

    Attributes:
        expansion: The words.
        modalities: Groups of images on which it means this.
        context: Words that speak for it.
    """

    expansion: str
    modalities: tuple[str, ...] = ()
    context: tuple[str, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether it needs nothing to speak for it."""
        return not (self.modalities or self.context)


@dataclass(frozen=True, kw_only=True, slots=True)
class Expansion:
    """An abbreviation that a text has.

    Attributes:
        start: Its first character in the text as it was given.
        end: One past its last.
        abbreviation: As it is written there.
        expansion: What was put in its place; None where nothing decides between the senses.
        senses: Everything it may stand for.
        target: `(start, end)` in the text that was made; of the abbreviation itself where nothing was put.
    """

    start: int
    end: int
    abbreviation: str
    expansion: str | None
    senses: tuple[str, ...]
    target: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expanded:
    """A text whose abbreviations were written out.

    Attributes:
        original: The text as it was given.
        text: The text that was made.
        spans: Every abbreviation, in order, also those that were left.
    """

    original: str
    text: str
    spans: tuple[Expansion, ...]

    @property
    def ambiguous(self) -> tuple[Expansion, ...]:
        """The abbreviations that were left as they are."""
        return tuple(span for span in self.spans if span.expansion is None)

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text as it was given the characters of the made text come from."""
        first, last = start, end
        for span in self.spans:
            low, high = span.target
            added = self.text[high : high + 1] == " " != self.original[span.end : span.end + 1]
            if high <= start:
                first = span.end + max(0, start - high - added)
            elif low <= start:
                first = span.start
            if high <= end:
                last = span.end + max(0, end - high - added)
            elif low < end:
                last = span.end
        return first, last


@cache
def abbreviations() -> dict[str, tuple[Sense, ...]]:
    """Every abbreviation of the table with its senses."""
    found: dict[str, tuple[Sense, ...]] = {}
    for row in read_table("abbreviations.csv", columns=("abbreviation", "expansion", "modality", "context")):
        short, modalities, context = row["abbreviation"], split_cell(row["modality"]), split_cell(row["context"])
        sense = Sense(expansion=row["expansion"], modalities=modalities, context=context)
        found[short] = (*found.get(short, ()), sense)
    return found


@cache
def plain_abbreviations() -> dict[str, str]:
    """The abbreviations that mean one thing in any text, with what they mean; those of letters and spaces only."""
    known = abbreviations()
    found = {short: senses[0].expansion for short, senses in known.items() if len(senses) == 1 and senses[0].is_free}
    signless = {short: meaning for short, meaning in found.items() if short.replace(" ", "").replace("-", "").isalnum()}
    return {s: meaning for s, meaning in signless.items() if s.isupper() or s.upper() not in known}


def expand(text: str, modality: str | None = None) -> Expanded:
    """Write out the abbreviations of a text.

    For each, the sense wins for which most words of the text speak; where none does, the one that belongs to the kind
    of images; where none does, the one that needs nothing. A tie is left as it is, and so is an abbreviation that
    stands in brackets behind its own words.

    Args:
        text: A query, a sentence or a report.
        modality: The kind of images that it is about: a DICOM code or a word; else what the text itself names counts.

    Raises:
        UsageError: the modality is not known.
    """
    asked = modality_of(modality)
    groups = {asked.group} if asked else {kind.group for _, _, kind in mentioned(text)}
    shouts = text.isupper() and len(text.split()) > 3
    parts: list[str] = []
    spans: list[Expansion] = []
    copied = length = 0
    for match in _pattern().finditer(text):
        short = _known(match[0])
        senses = abbreviations().get(short, ())
        if not senses or _is_in_brackets_behind(text, match, senses):
            continue
        around = f"{text[max(0, match.start() - NEAR) : match.start()]} {text[match.end() : match.end() + NEAR]}"
        chosen = _choose(senses, around.casefold(), groups, needs_context=shouts and short != short.casefold())
        made = _written_out(text, match, chosen) if chosen else match[0]
        start = length + match.start() - copied
        spans.append(
            Expansion(
                start=match.start(),
                end=match.end(),
                abbreviation=match[0],
                expansion=made.rstrip() if chosen else None,
                senses=tuple(sense.expansion for sense in senses),
                target=(start, start + len(made.rstrip())),
            )
        )
        parts += [text[copied : match.start()], made]
        copied, length = match.end(), start + len(made)
    return Expanded(original=text, text="".join(parts) + text[copied:], spans=tuple(spans))


@cache
def _pattern() -> re.Pattern[str]:
    """A word, or one of the abbreviations that hold a space or a sign, which come first."""
    signed = sorted((short for short in abbreviations() if not short.isalnum()), key=len, reverse=True)
    ends = (re.escape(short).replace(r"\ ", r"\s") + (r"(?!\w)" if short[-1].isalnum() else "") for short in signed)
    return re.compile(rf"(?<![\w&.-])(?:(?i:{'|'.join(ends)})|[A-Za-z][A-Za-z0-9]*(?![\w&]))")


def _known(written: str) -> str:
    """The abbreviation of the table that a word is; empty when it is none. The s of a plural is passed over."""
    flat = " ".join(written.split())
    for word in (flat, flat.removesuffix("s")):
        for short in (word, word.casefold()):
            if short in abbreviations():
                return short
    return ""


def _choose(senses: Sequence[Sense], rest: str, groups: AbstractSet[str], *, needs_context: bool) -> Sense | None:
    """The sense that most speaks for, by the words of the rest of the text, then by the kind of images."""
    if len(senses) == 1 and senses[0].is_free and not needs_context:
        return senses[0]
    counts = [_count(sense, rest) for sense in senses]
    best = max(counts)
    if best:
        winners = [sense for sense, count in zip(senses, counts, strict=True) if count == best]
    elif needs_context:
        return None
    else:
        winners = [sense for sense in senses if groups & set(sense.modalities)]
        winners = winners or [sense for sense in senses if sense.is_free]
    return winners[0] if len(winners) == 1 else None


def _count(sense: Sense, rest: str) -> int:
    """How many words of its context are in the text; the words that it stands for count as all of them."""
    if sense.expansion.casefold() in rest:
        return 1000
    return sum(stem in rest and bool(pattern.search(rest)) for stem, pattern in map(_context, sense.context))


@cache
def _context(word: str) -> tuple[str, re.Pattern[str]]:
    stem = word.casefold().rstrip("*")
    return stem, re.compile(r"\b" + re.escape(stem) + ("" if word.endswith("*") else r"\b"))


def _is_in_brackets_behind(text: str, match: re.Match[str], senses: Sequence[Sense]) -> bool:
    """Whether it is the abbreviation that the text itself gives for words before it: "pulmonary embolism (PE)"."""
    before = text[max(0, match.start() - 80) : match.start()].casefold().rstrip()
    if not before.endswith("("):
        return False
    before = before[:-1].rstrip()
    return any(before.endswith((sense.expansion.casefold(), plural(sense.expansion).casefold())) for sense in senses)


def _written_out(text: str, match: re.Match[str], sense: Sense) -> str:
    """What is put in its place: plural where it was, with a capital at the beginning, apart from the next word."""
    made = sense.expansion
    if match[0][-1] == "s" and " ".join(match[0].split()).casefold() not in map(str.casefold, abbreviations()):
        made = plural(made)
    if match[0][0].isupper() and match.start() == 0 and len(text.split()) > 1:
        made = made[0].upper() + made[1:]
    is_joined = not match[0][-1].isalnum() and text[match.end() : match.end() + 1].isalnum()
    return made + " " if is_joined else made
