"""What the extractor reads in the texts of the comparison, and how far it agrees with people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from benchmarks.objectives_data import FINDINGS, NORMAL, Row
from callosum.core.errors import InputError
from callosum.core.finding import Finding, Presence
from callosum.knowledge.extract import extract_sentence
from callosum.knowledge.labels import label, statements
from callosum.knowledge.matcher import find_mentions
from callosum.knowledge.modality import mentioned
from callosum.knowledge.ontology import Kind, read_ontology
from callosum.knowledge.schemes import scheme_of

SCHEME = "nih14"
MIN_TEXTS = 5
"""Training texts in which a concept must be present to be a label."""


@cache
def said(text: str) -> dict[str, Presence]:
    """What a text says: NIH's findings, the other findings of the ontology, places and modalities.

    A text that the extractor refuses, because it is not in English, says nothing.
    """
    try:
        found = extract_sentence(text)
    except InputError:
        return {}
    labels = label(found, SCHEME)
    if all(labels[name] is not Presence.PRESENT for name in FINDINGS if name != NORMAL) and _is_normal(found):
        labels[NORMAL] = Presence.PRESENT
    return {**_others(found), **_named(text), **{name: labels[name] for name in FINDINGS if name in labels}}


def _is_normal(found: Sequence[Finding]) -> bool:
    """Whether something is said to be normal and no other thing to be there."""
    kinds = [(_kinds()[concept], presence) for concept, presence in statements(found)]
    is_found = any(kind is Kind.FINDING and presence is not Presence.ABSENT for kind, presence in kinds)
    return not is_found and (Kind.NORMAL, Presence.PRESENT) in kinds


def _others(found: Iterable[Finding]) -> dict[str, Presence]:
    """Findings that are no class of NIH's, by the names of their concepts."""
    scheme, ontology = scheme_of(SCHEME), read_ontology()
    others: dict[str, Presence] = {}
    for concept, presence in statements(found):
        if _kinds()[concept] is Kind.FINDING and not scheme.classes_of(concept, ontology):
            others[concept] = Presence.PRESENT if Presence.PRESENT in (others.get(concept), presence) else presence
    return others


def _named(text: str) -> dict[str, Presence]:
    """Places and modalities that a text names."""
    places = [mention.concept for mention in find_mentions(text) if _kinds()[mention.concept] is Kind.SITE]
    kinds = [modality.name for _, _, modality in mentioned(text)]
    return dict.fromkeys((*places, *kinds), Presence.PRESENT)


@cache
def _kinds() -> Mapping[str, Kind]:
    return {concept.name: concept.kind for concept in read_ontology()}


def concepts_of(rows: Iterable[Row]) -> tuple[str, ...]:
    """NIH's findings, and every concept that enough training texts say is present."""
    counts = Counter(
        name
        for row in rows
        if row["split"] == "train"
        for name, presence in said(row["text"]).items()
        if presence is Presence.PRESENT
    )
    more = sorted(name for name, count in counts.items() if count >= MIN_TEXTS and name not in FINDINGS)
    return (*FINDINGS, *more)


def agreement(rows: Sequence[Row], *, least: int) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of the extractor on impressions, of the labels that people gave the whole report.

    Args:
        rows: Of `reports`.
        least: Reports that have a finding, for it to be scored.
    """
    figures = {}
    for name in FINDINGS:
        gold = [row[name] == "1" for row in rows]
        read = [said(row["text"]).get(name) is Presence.PRESENT for row in rows]
        if sum(gold) < least:
            continue
        right = sum(a and b for a, b in zip(gold, read, strict=True))
        precision, recall = right / max(1, sum(read)), right / sum(gold)
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        figures[name] = {"reports": sum(gold), "precision": precision, "recall": recall, "f1": f1}
    return figures


def share_labelled(rows: Sequence[Row]) -> float:
    """Share of texts that say that something is present."""
    return sum(Presence.PRESENT in said(row["text"]).values() for row in rows) / len(rows)


def unchanged(rows: Sequence[Row]) -> float:
    """Of all that labelled pairs say is present, or that the extractor reads in them today, the share in both."""
    both = either = 0
    concepts = [name for name in rows[0] if name not in ("id", "path", "patient_id", "split", "text", "pack")]
    for row in rows:
        used = {name for name in concepts if row[name] == Presence.PRESENT}
        now = {name for name in concepts if said(row["text"]).get(name) is Presence.PRESENT}
        both, either = both + len(used & now), either + len(used | now)
    return both / max(1, either)
