"""Finding: what a label or a sentence says of a concept, and the words that say it.

The four presences are never merged: to say nothing of a concept is not to say that it is absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from callosum.core.report import SectionKind


class Presence(StrEnum):
    """Whether a concept is there. Label tables call the first two "positive" and "negative"; both words are read."""

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"
    UNMENTIONED = "unmentioned"

    @property
    def label(self) -> str:
        """The word of label tables: positive, negative, uncertain or unmentioned."""
        return _LABELS.get(self, str(self))

    @classmethod
    def _missing_(cls, value: object) -> Presence | None:
        return next((presence for presence, label in _LABELS.items() if label == value), None)


_LABELS = {Presence.PRESENT: "positive", Presence.ABSENT: "negative"}
PRESENCE_WORDS = frozenset({*Presence, *_LABELS.values()})
"""Every word that `Presence` reads."""


class Temporality(StrEnum):
    """When: at this examination, before it, or only in question ("evaluate for", "if it develops")."""

    RECENT = "recent"
    HISTORICAL = "historical"
    HYPOTHETICAL = "hypothetical"


class Experiencer(StrEnum):
    """Who has it: the patient, or somebody else (a relative, a donor)."""

    PATIENT = "patient"
    OTHER = "other"


class Change(StrEnum):
    """What became of it since a prior examination."""

    UNSTATED = "unstated"
    NEW = "new"
    WORSENED = "worsened"
    STABLE = "stable"
    IMPROVED = "improved"
    RESOLVED = "resolved"


class Laterality(StrEnum):
    """On which side."""

    UNSTATED = "unstated"
    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"


@dataclass(frozen=True, kw_only=True, slots=True)
class Assertion:
    """What a sentence says of a concept whose place in it is known.

    Attributes:
        presence: Never unmentioned.
        temporality: When.
        experiencer: Who.
        change: What became of it.
        leans: Whether a doubt leans towards presence ("probable", "versus", "borderline"); only of what is uncertain.
        cues: `(start, end)` of the words that decided, in the sentence; none when nothing but the mention did.
    """

    presence: Presence = Presence.PRESENT
    temporality: Temporality = Temporality.RECENT
    experiencer: Experiencer = Experiencer.PATIENT
    change: Change = Change.UNSTATED
    leans: bool = False
    cues: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A concept that a text names, and what the text says of it.

    Attributes:
        concept: Its name in the ontology, in lower case.
        presence: Never unmentioned.
        temporality: When.
        experiencer: Who.
        change: What became of it.
        leans: Whether a doubt leans towards presence ("probable", "versus", "borderline"); only of what is uncertain.
        site: Where, by the ontology's name; empty when the sentence does not say.
        laterality: On which side.
        span: `(start, end)` of the words that name it, in the text that was given.
        sentence: `(start, end)` of their sentence.
        cues: `(start, end)` of the words that decided.
        section: The section it stands in; None for a lone sentence.
        is_conflicting: True when another section of the same report says otherwise of the same place.
    """

    concept: str
    presence: Presence
    temporality: Temporality = Temporality.RECENT
    experiencer: Experiencer = Experiencer.PATIENT
    change: Change = Change.UNSTATED
    leans: bool = False
    site: str = ""
    laterality: Laterality = Laterality.UNSTATED
    span: tuple[int, int]
    sentence: tuple[int, int]
    cues: tuple[tuple[int, int], ...] = ()
    section: SectionKind | None = None
    is_conflicting: bool = False
