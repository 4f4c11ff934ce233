"""From text to findings: concepts, what is said of them, and where in the body they are.

A report's sections are kept apart. What the requester wrote is a question, what was before is history, and when one
section says that something is there and another that it is not, both findings stay and both say so. A statement that
something is normal is a finding of its own; what it denies is for `labels` to say.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from typing import NamedTuple

from callosum.core.errors import UsageError
from callosum.core.finding import Experiencer, Finding, Laterality, Presence, Temporality
from callosum.core.report import SEARCHABLE, Report, SectionKind
from callosum.knowledge.assertion import ReadSentence
from callosum.knowledge.foreign import other_language, refuse_no_text, refuse_other_language, without_markup
from callosum.knowledge.labels import implied
from callosum.knowledge.matcher import Mention, MentionFinder, PhraseMatcher, default_matcher
from callosum.knowledge.ontology import Kind, Ontology, read_ontology
from callosum.knowledge.places import Places

_END = re.compile(
    r"(?:[.!]+|(?<=[^\s.,;:(?])\?[?!.]*(?!\s+(?i:yes|no|none|neg|negative|positive|present|absent)\b\s*(?:[.,;]|\Z)))"
    r"(?=\s|\Z)|\n[^\S\n]*\n\s*"
)
"""A question mark with nothing before it asks ahead ("? effusion"); a question and its answer are one sentence."""
_PARTED = re.compile(r"(?<=[a-z]{2})-[^\S\n]*\n[^\S\n]*(?=[a-z]{2})")
"""Where the end of a line parts a word: "pneu-" and "mothorax"."""
_LONGEST = 1000
_KEPT = 10_000
_PLACES = frozenset({Kind.SITE, Kind.MODALITY})
_ASKED = frozenset({SectionKind.INDICATION, SectionKind.EXAM})
_BEFORE = frozenset({SectionKind.HISTORY, SectionKind.COMPARISON})
_ABSENT = Presence.ABSENT
_OPPOSITE = {Presence.PRESENT: Presence.ABSENT, Presence.ABSENT: Presence.PRESENT}


class Extractor:
    """Reads findings from texts; made once, it may be used from several threads.

    Args:
        ontology: What can be found; the one that comes with this package when None.
        finder: What finds where concepts are named; the ontology's phrases when None.
    """

    def __init__(self, ontology: Ontology | None = None, finder: MentionFinder | None = None) -> None:
        self._ontology = read_ontology() if ontology is None else ontology
        if finder is None:
            finder = default_matcher() if ontology is None else PhraseMatcher(ontology)
        self._finder = finder
        self._kinds = {concept.name: concept.kind for concept in self._ontology}
        sites = Ontology(concept for concept in self._ontology if concept.kind is Kind.SITE)
        self._find_sites = lru_cache(_KEPT)(PhraseMatcher(sites).mentions)

    def sentence(self, text: str) -> list[Finding]:
        """The findings of a text without sections, in the order of the text.

        Raises:
            UsageError: It is not text.
            InputError: It is binary, or not in English.
        """
        text = _readable(text)
        refuse_other_language(other_language(text))
        ends = [*(match.end() for match in _END.finditer(text)), len(text)]
        spans = zip([0, *ends], ends, strict=False)
        return [finding for start, end in spans for finding in self._read(text, start, end)]

    def report(self, report: Report) -> list[Finding]:
        """The findings of a report, in its order, each with its section.

        Raises:
            InputError: It is binary, or not in English.
        """
        text = _readable(report.text)
        refuse_other_language(report.language)
        if report.language != "en":
            refuse_other_language(other_language(report.section_text(*SectionKind)))
        findings = []
        for sentence in report.sentences:
            kind = report.sections[sentence.section].kind
            found = self._read(text, sentence.start, sentence.end)
            findings += [_in_section(finding, kind) for finding in found]
        return _mark_conflicts(findings, self._ontology)

    def _read(self, text: str, start: int, end: int) -> Iterator[Finding]:
        """The findings of a sentence that starts and ends at these characters."""
        for first, after in _pieces(text, start, end):
            part = text[first:after]
            mentions = self._mentions(part)
            things = [m for m in mentions if self._kinds.get(m.concept) not in _PLACES]
            if things:
                sites = [m for m in mentions if self._kinds.get(m.concept) is Kind.SITE]
                sites += [site for m in things for site in self._sites_within(part, m)]
                yield from self._assess(part, first, things, sites)

    def _mentions(self, part: str) -> list[Mention]:
        """Where concepts are named, also by words that the end of a line parts."""
        mentions = self._finder.mentions(part)
        parted = [match.span() for match in _PARTED.finditer(part)]
        if not parted:
            return mentions
        kept = [place for place in range(len(part)) if not any(start <= place < end for start, end in parted)]
        joined = self._finder.mentions("".join(part[place] for place in kept))
        placed = [
            Mention(kept[m.start], kept[m.end - 1] + 1, m.concept, kept[m.anchor_start])
            for m in joined
            if any(kept[m.start] < start and end <= kept[m.end - 1] for start, end in parted)
        ]
        apart = [m for m in mentions if not any(m.start < other.end and other.start < m.end for other in placed)]
        return sorted([*apart, *placed], key=lambda mention: mention.start)

    def _assess(self, part: str, offset: int, things: list[Mention], sites: list[Mention]) -> Iterator[Finding]:
        """What a sentence says of the concepts that it names."""
        read = ReadSentence(part)
        places = Places(read, sites, things, self._ontology)
        for mention in things:
            said = read.assess(*mention.anchor)
            if self._kinds.get(mention.concept) is Kind.GENERAL and said.presence is not Presence.ABSENT:
                continue
            site, laterality = places.of(mention)
            yield Finding(
                concept=mention.concept,
                presence=said.presence,
                temporality=said.temporality,
                experiencer=said.experiencer,
                change=said.change,
                leans=said.leans,
                site=site,
                laterality=laterality,
                span=(offset + mention.start, offset + mention.end),
                sentence=(offset, offset + len(part)),
                cues=tuple((offset + first, offset + after) for first, after in said.cues),
            )

    def _sites_within(self, part: str, mention: Mention) -> list[Mention]:
        """The sites that the words of a concept name: "bibasilar atelectasis" is at both lung bases.

        A site that the concept is always at ("lung" in "lung nodule") tells nothing.
        """
        concept = self._ontology.concept(mention.concept) if mention.concept in self._ontology else None
        usual = {concept.site, *self._ontology.ancestors(concept.site)} if concept and concept.site else set()
        found = self._find_sites(part[mention.start : mention.end])
        offset = mention.start
        return [
            Mention(offset + m.start, offset + m.end, m.concept, offset + m.anchor_start)
            for m in found
            if m.concept not in usual
        ]


def extract_sentence(text: str) -> list[Finding]:
    """The findings of a sentence, or of a text whose sections do not matter, in the order of the text.

    Spans count characters of the text. HTML tags are passed over.

    Raises:
        UsageError: It is not text.
        InputError: It is binary, or not in English: other languages are refused, not guessed at.
    """
    return _shipped().sentence(text)


def extract_report(report: Report) -> list[Finding]:
    """The findings of a report, in its order; spans count characters of `Report.text`.

    What the indication names without denying it is hypothetical and uncertain; what the history or comparison names is
    historical. Findings of two searchable sections that contradict each other about one place are both kept, with
    `is_conflicting`.

    Raises:
        InputError: It is binary, or not in English.
    """
    return _shipped().report(report)


@cache
def _shipped() -> Extractor:
    return Extractor()


def _readable(text: str) -> str:
    if not isinstance(text, str):
        message = f"Findings are read from text; got {type(text).__name__}."
        raise UsageError(message, hint="Decode the bytes first.")
    refuse_no_text(text)
    return without_markup(text)


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A sentence without the white space around it; one that is longer than any sentence is cut at spaces."""
    while start < end:
        after = end
        if end - start > _LONGEST:
            space = text.rfind(" ", start, start + _LONGEST)
            after = space + 1 if space > start else start + _LONGEST
        part = text[start:after]
        words = part.strip()
        if words:
            first = start + part.index(words)
            yield first, first + len(words)
        start = after


def _in_section(finding: Finding, kind: SectionKind) -> Finding:
    """A finding as its section has it."""
    is_said = finding.presence is Presence.PRESENT and finding.temporality is Temporality.RECENT
    if is_said and kind in _ASKED:
        return replace(finding, section=kind, presence=Presence.UNCERTAIN, temporality=Temporality.HYPOTHETICAL)
    if is_said and kind in _BEFORE:
        return replace(finding, section=kind, temporality=Temporality.HISTORICAL)
    return replace(finding, section=kind)


class _Said(NamedTuple):
    """What a section says of a concept at a place."""

    section: SectionKind | None
    presence: Presence
    site: str
    laterality: Laterality


def _said(finding: Finding) -> _Said:
    return _Said(finding.section, finding.presence, finding.site, finding.laterality)


def _mark_conflicts(findings: list[Finding], ontology: Ontology) -> list[Finding]:
    """Mark what another section contradicts, by the same concept or by what it denies without naming it."""
    said: dict[str, set[_Said]] = defaultdict(set)
    for finding in findings:
        if _counts(finding):
            said[finding.concept].add(_said(finding))
    wrong = _conflicts(said, ontology)
    return [
        replace(finding, is_conflicting=True)
        if _counts(finding) and (finding.concept, _said(finding)) in wrong
        else finding
        for finding in findings
    ]


def _counts(finding: Finding) -> bool:
    """Whether a finding says what the pictures show: something else cannot contradict it."""
    return (
        finding.section in SEARCHABLE
        and finding.presence in _OPPOSITE
        and finding.temporality is Temporality.RECENT
        and finding.experiencer is Experiencer.PATIENT
    )


def _conflicts(said: Mapping[str, set[_Said]], ontology: Ontology) -> set[tuple[str, _Said]]:
    """What is said of a concept that another section contradicts, or that denies what another section names.

    A concept that the ontology does not have (another finder may name some) implies nothing.
    """
    known = [name for name in said if name in ontology]
    wrong = set()
    for concept, each in said.items():
        for one in each:
            against = [(concept, other) for other in each if _contradict(one, other, ontology)]
            rules = implied(concept, one.presence, ontology) if concept in ontology else ()
            for denied in (other for other, becomes in rules if becomes is _ABSENT):
                denial = one._replace(presence=_ABSENT)
                kinds = [(name, other) for name in known if ontology.is_a(name, denied) for other in said[name]]
                against += [named for named in kinds if _contradict(denial, named[1], ontology)]
            wrong |= {(concept, one), *against} if against else set()
    return wrong


def _contradict(one: _Said, other: _Said, ontology: Ontology) -> bool:
    """Whether two sections say opposite things of one place."""
    return (
        one.section is not other.section
        and one.presence is _OPPOSITE[other.presence]
        and _same_side(one.laterality, other.laterality)
        and _same_site(one.site, other.site, ontology)
    )


def _same_side(one: Laterality, other: Laterality) -> bool:
    open_sides = (Laterality.UNSTATED, Laterality.BILATERAL)
    return one is other or one in open_sides or other in open_sides


def _same_site(one: str, other: str, ontology: Ontology) -> bool:
    if not one or not other or one == other:
        return True
    return ontology.is_a(one, other) or ontology.is_a(other, one)


__all__ = ["Extractor", "extract_report", "extract_sentence"]
