"""How a concept is put into words: its nouns, and what may be said before and behind them.

`tables/prompts.csv` has the words that were written for a concept; edit it. A concept without a row there has its name
and its site from the ontology, and the degrees of what it is a kind of where its name ends with that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from callosum.knowledge.grammar import Number, is_many, number_of, plural, with_article
from callosum.knowledge.ontology import Concept, read_table, split_cell

_BEHIND = re.compile(r"(?:in|at|of|on|over|near|along|around|behind|within|under|above|below)\b")
_PLACES = frozenset(
    "apical basilar bibasilar basal perihilar hilar peripheral central retrocardiac lobar bronchial bilateral diffuse "
    "multifocal".split()
)
"""Kinds that say where: they stand beside no site."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """The words for a concept.

    Attributes:
        number: How the nouns are counted.
        nouns: What it is called; the first takes all that may stand around it.
        severity: Degrees, before everything else.
        kinds: Kinds, right before the noun.
        sites: Places: behind the noun when they begin with a preposition, before the kind when not.
        absent: What is said, without a "no", of one in whom it is absent.
    """

    number: Number
    nouns: tuple[str, ...]
    severity: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def number_of(self, noun: str) -> Number:
        """How one of its nouns is counted."""
        return self.number if noun == self.nouns[0] else number_of(noun)

    def phrases(self) -> Iterator[str]:
        """Every combination of degree, kind and site around the first noun, each with the article that it takes."""
        for degree, kind, site in product(("", *self.severity), ("", *self.kinds), ("", *self.sites)):
            if kind in _PLACES and site:
                continue
            before, behind = ("", site) if _BEHIND.match(site) else (site, "")
            yield self._phrase(degree, before, kind, behind)

    def _phrase(self, degree: str, before: str, kind: str, behind: str) -> str:
        ordered = (before, degree, kind) if before == "multiple" else (degree, before, kind)
        words = " ".join(filter(None, ordered))
        noun, number = self.nouns[0], self.number
        if number is Number.COUNT and is_many(words):
            noun, number = plural(noun), Number.PLURAL
        return in_words(" ".join(filter(None, (words, noun, behind))), number)


def in_words(phrase: str, number: Number) -> str:
    """The phrase as it is said: with an article where it is one of several."""
    return with_article(phrase) if number is Number.COUNT else phrase


@cache
def written() -> dict[str, Wording]:
    """The words of `tables/prompts.csv`, by the name of the concept."""
    columns = ("concept", "number", "nouns", "severity", "kinds", "sites", "absent")
    return {row["concept"]: _from_row(row) for row in read_table("prompts.csv", columns=columns)}


def _from_row(row: dict[str, str]) -> Wording:
    number, nouns = Number(row["number"]), split_cell(row["nouns"])
    if number is Number.ADJECTIVE:
        number, nouns = Number.COUNT, tuple(f"{row['concept']} {noun}" for noun in nouns)
    return Wording(
        number=number,
        nouns=nouns,
        severity=split_cell(row["severity"]),
        kinds=split_cell(row["kinds"]),
        sites=split_cell(row["sites"]),
        absent=split_cell(row["absent"]),
    )


def wording(concept: Concept) -> Wording:
    """The words for a concept."""
    if concept.name in written():
        return written()[concept.name]
    kind_of = [parent for parent in concept.parents if parent in written() and concept.name.endswith(parent)]
    capitals = (phrase for phrase in concept.phrases if phrase.isupper() and phrase.casefold() == concept.name)
    name = next(capitals, concept.name)
    return Wording(
        number=number_of(name),
        nouns=(name,),
        severity=written()[kind_of[0]].severity if kind_of else (),
        sites=() if not concept.site or concept.site in concept.name else (f"in the {concept.site}",),
    )
