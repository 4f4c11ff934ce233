"""Report: the text as it was written, and where in it sections, sentences and removed words are.

Every span counts characters of `Report.text`, which is never changed. What a search may compare is a choice of
sections, stated once: `SEARCHABLE`. What the requester wrote (indication, history) is never among them: "evaluate for
pneumonia" is a question, not a finding.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from callosum.core.record import Flag


class SectionKind(StrEnum):
    """What a section is for.

    INDICATION is why the examination was asked for (also "clinical history", "reason for exam"); HISTORY is what was
    the matter before; OTHER is administration: names, numbers, signatures, notifications.
    """

    EXAM = "exam"
    INDICATION = "indication"
    HISTORY = "history"
    COMPARISON = "comparison"
    TECHNIQUE = "technique"
    FINDINGS = "findings"
    IMPRESSION = "impression"
    RECOMMENDATION = "recommendation"
    ADDENDUM = "addendum"
    WET_READ = "wet_read"
    OTHER = "other"


SEARCHABLE = frozenset({SectionKind.FINDINGS, SectionKind.IMPRESSION, SectionKind.ADDENDUM})
"""The sections that say what the pictures show, and nothing else does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of a report.

    Attributes:
        kind: What it is for.
        heading: Its heading as written, without what separates it from the text; empty when it has none.
        heading_start: First character of the heading; equal to `start` when there is none.
        start: First character of its text.
        end: One past its last character; equal to `start` when there is a heading and nothing under it.
    """

    kind: SectionKind
    heading: str
    heading_start: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A sentence, or an item of a list.

    Attributes:
        start: First character.
        end: One past its last character.
        section: Index into `Report.sections`.
        is_redacted: True when at least half of its words were removed by de-identification.
    """

    start: int
    end: int
    section: int
    is_redacted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One report.

    Attributes:
        text: The text as it was written.
        sections: Its parts in order; they do not overlap, and what is in none of them is white space, marks between
            parts, or a title such as "FINAL REPORT".
        sentences: Their sentences in order.
        placeholders: `(start, end)` of every mark that de-identification left: `XXXX`, `___`, `[** **]`.
        language: ISO 639-1 code; "unknown" when there is too little to tell.
        identifiers: study_uid, accession, patient_id: the one place where identifiers may be.
        source_digest: SHA-256 of the file.
        flags: Doubts.
    """

    text: str = field(repr=False)
    sections: tuple[Section, ...]
    sentences: tuple[Sentence, ...] = ()
    placeholders: tuple[tuple[int, int], ...] = ()
    language: str = "unknown"
    identifiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    source_digest: str = ""
    flags: tuple[Flag, ...] = ()

    def section_text(self, *kinds: SectionKind) -> str:
        """The text of the sections of these kinds, in the order written; all white space is one space; NFC."""
        found = " ".join(self.text[s.start : s.end] for s in self.sections if s.kind in kinds)
        return unicodedata.normalize("NFC", " ".join(found.split()))

    def findings_text(self) -> str:
        """What may be searched: findings, impression and addendum; never indication, history or technique."""
        return self.section_text(*SEARCHABLE)

    def findings_sentences(self) -> Iterator[Sentence]:
        """The sentences of `findings_text`, in order."""
        return (s for s in self.sentences if self.sections[s.section].kind in SEARCHABLE)

    def sentence_text(self, sentence: Sentence) -> str:
        """A sentence on one line; NFC."""
        return unicodedata.normalize("NFC", " ".join(self.text[sentence.start : sentence.end].split()))
