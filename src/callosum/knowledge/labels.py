"""Findings to the labels of a scheme, by the names of its classes.

What a finding says of a label:

- An ancestor counts: a nodule is a Lung Lesion. So does a denial: "no rib fracture" denies Fracture, as the CheXpert
  labeller holds.
- A hypothetical mention ("evaluate for pneumonia") is uncertain; in what the requester wrote it says nothing.
- What was there before, or is another person's, says nothing; what has resolved is absent.
- A doubt that leans ("probable", "versus", "borderline") is uncertain, but present in schemes without a word for doubt.
- A normal statement denies what it implies (`tables/implications.csv`): "the heart is normal in size" that it is large.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from callosum.core.finding import Change, Experiencer, Finding, Presence, Temporality
from callosum.core.report import SectionKind
from callosum.knowledge.ontology import Kind, Ontology, read_ontology
from callosum.knowledge.schemes import Role, Scheme, scheme_of

UNSEEN = frozenset(
    {
        SectionKind.EXAM,
        SectionKind.INDICATION,
        SectionKind.HISTORY,
        SectionKind.COMPARISON,
        SectionKind.TECHNIQUE,
        SectionKind.RECOMMENDATION,
        SectionKind.OTHER,
    }
)
"""Sections that do not say what the pictures show."""
Statement = tuple[str, Presence]
_ABNORMAL = frozenset({Kind.FINDING, Kind.GENERAL})
_SEEN = (Presence.PRESENT, Presence.UNCERTAIN)


class Aggregation(StrEnum):
    """Which of several presences of one class is its label."""

    STRONGEST = "strongest"
    """Present, else uncertain, else absent: what is anywhere is there."""
    CHEXPERT = "chexpert"
    """As the CheXpert labeller does (`stages/aggregate.py`): absent and uncertain together are uncertain, which is
    looked at first, so that they are with a third that is present, too; otherwise as STRONGEST."""


class NoFinding(StrEnum):
    """When the class that nothing was found is present; it is never said to be absent."""

    STATED = "stated"
    """When the text says so ("no acute disease"), and nothing else is found: for a lone sentence."""
    UNLESS_FOUND = "unless_found"
    """When something is said and nothing is found, present or uncertain, but devices: the CheXpert labeller's rule, for
    a whole report."""


def label(
    findings: Iterable[Finding],
    scheme: str | Scheme = "chexpert14",
    *,
    aggregation: Aggregation = Aggregation.STRONGEST,
    no_finding: NoFinding | None = None,
    ontology: Ontology | None = None,
) -> dict[str, Presence]:
    """The label of every class of a scheme, by its published name and in the published order.

    Args:
        findings: Of one sentence or one report.
        scheme: A scheme, or the name of one that comes with this package.
        aggregation: Which of several presences of one class counts.
        no_finding: When the class that nothing was found is present; None is UNLESS_FOUND where a finding stands in a
            section, as those of reports do, and STATED elsewhere.
        ontology: Whose concepts the findings name; the one that comes with this package when None.

    Raises:
        NotFound: No scheme of that name, or a finding whose concept the ontology does not have.
    """
    chosen = scheme_of(scheme) if isinstance(scheme, str) else scheme
    ontology = read_ontology() if ontology is None else ontology
    given = tuple(findings)
    said = list(_statements(given, ontology))
    by_class: dict[str, list[Presence]] = {name: [] for name in chosen.classes}
    for concept, presence, leans in said:
        for name in chosen.classes_of(concept, ontology):
            by_class[name].append(Presence.PRESENT if leans and name in chosen.leaning else presence)
    labels = {name: aggregate(presences, aggregation) for name, presences in by_class.items()}
    if no_finding is None:
        no_finding = NoFinding.STATED if all(f.section is None for f in given) else NoFinding.UNLESS_FOUND
    if chosen.normal:
        found = any(p in _SEEN and ontology.concept(c).kind in _ABNORMAL for c, p, _ in said)
        stated = bool(said) if no_finding is NoFinding.UNLESS_FOUND else labels[chosen.normal] is Presence.PRESENT
        labels[chosen.normal] = Presence.PRESENT if stated and not found else Presence.UNMENTIONED
    return labels


def aggregate(presences: Iterable[Presence], rule: Aggregation = Aggregation.STRONGEST) -> Presence:
    """One presence for several of the same thing; unmentioned when there is none."""
    found = set(presences)
    if rule is Aggregation.CHEXPERT and {Presence.ABSENT, Presence.UNCERTAIN} <= found:
        return Presence.UNCERTAIN
    order = (Presence.PRESENT, Presence.UNCERTAIN, Presence.ABSENT)
    return next((presence for presence in order if presence in found), Presence.UNMENTIONED)


def statements(findings: Iterable[Finding], ontology: Ontology | None = None) -> Iterator[Statement]:
    """What findings say of concepts at this examination, and what that implies: `(concept, presence)`.

    A finding that says nothing of the patient now yields nothing. What is implied is not said of a concept whose own
    presence some finding tells otherwise: "clear lungs" beside an opacity deny none.

    Raises:
        NotFound: A finding whose concept the ontology does not have.
    """
    for concept, presence, _ in _statements(findings, read_ontology() if ontology is None else ontology):
        yield concept, presence


def _statements(findings: Iterable[Finding], ontology: Ontology) -> Iterator[tuple[str, Presence, bool]]:
    """As `statements`, and whether a doubt leans towards presence; one that is implied does ("borderline size")."""
    said = [(f.concept, presence, f.leans) for f in findings if (presence := _now(f)) is not Presence.UNMENTIONED]
    yield from said
    for concept, presence in dict.fromkeys((concept, presence) for concept, presence, _ in said):
        for other, becomes in implied(concept, presence, ontology):
            others = {p for c, p, _ in said if ontology.is_a(c, other)}
            if not others & set(_SEEN) or becomes in _SEEN:
                yield other, becomes, becomes is Presence.UNCERTAIN


def implied(concept: str, presence: Presence, ontology: Ontology) -> Iterator[Statement]:
    """What a presence of a concept says of others (`tables/implications.csv`): `(concept, presence)`."""
    for rule in ontology.implications:
        if presence is rule.presence and _fires(concept, rule.concept, presence, ontology):
            yield rule.other, rule.becomes


def _now(finding: Finding) -> Presence:
    """What a finding says of the patient at this examination; unmentioned when nothing."""
    if finding.section in UNSEEN or finding.experiencer is Experiencer.OTHER:
        return Presence.UNMENTIONED
    if finding.change is Change.RESOLVED:
        return Presence.ABSENT
    if finding.temporality is Temporality.HISTORICAL:
        return Presence.UNMENTIONED
    if finding.temporality is Temporality.HYPOTHETICAL:
        return Presence.UNCERTAIN
    return finding.presence


def _fires(concept: str, of: str, presence: Presence, ontology: Ontology) -> bool:
    """Whether what is said of a concept is said of another: what is there, of all it is a kind of; else of itself."""
    return ontology.is_a(concept, of) if presence is Presence.PRESENT else concept == of


__all__ = [
    "Aggregation",
    "NoFinding",
    "Role",
    "aggregate",
    "label",
    "statements",
]
