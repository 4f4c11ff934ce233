"""Findings as conditions: which pictures a search may return, by what their texts state."""

from __future__ import annotations

from collections.abc import Iterable

from callosum.archive.tables import enclosed, sql_list
from callosum.knowledge.matcher import PhraseMatcher
from callosum.knowledge.ontology import Ontology


def finding_condition(
    *, present: Iterable[str] = (), without: Iterable[str] = (), ontology: Ontology, where: str | None = None
) -> str | None:
    """SQL that admits pictures with all findings of `present` and none of `without`; None when nothing is asked.

    A picture whose text states or holds possible one of `without`, or a kind of it, is left out; one without a text
    stays, for nothing is known of it.

    Args:
        present: Names of concepts.
        without: Names of concepts.
        ontology: Where the names are from.
        where: A further condition.

    Raises:
        UsageError: the further condition closes a parenthesis that it did not open.
        NotFound: the ontology does not have such a concept; the hint names the nearest.
    """
    parts = [f"array_has(findings, {_quoted(ontology.concept(name).name)})" for name in present]
    for name in without:
        value = _quoted(ontology.concept(name).name)
        parts += [
            f"({column} IS NULL OR NOT array_has({column}, {value}))" for column in ("findings", "findings_uncertain")
        ]
    if where:
        parts.append(enclosed(where))
    return " AND ".join(parts) or None


def concept_of(name: str, *, matcher: PhraseMatcher) -> str:
    """The concept that somebody means by a name: its own, or any words for it, such as "PTX".

    Raises:
        NotFound: there is none; the hint names the nearest.
    """
    words = " ".join(name.split())
    if words.casefold() not in matcher.ontology:
        whole = (mention for mention in matcher.mentions(words) if (mention.start, mention.end) == (0, len(words)))
        if (found := next(whole, None)) is not None:
            return found.concept
    return matcher.ontology.concept(words.casefold()).name


def _quoted(value: str) -> str:
    return sql_list([value])[1:-1]
