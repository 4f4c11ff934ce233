"""Free text to findings, and findings to the columns that an archive filters by."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from callosum.core.errors import InputError, UsageError
from callosum.core.finding import Finding, Presence
from callosum.core.report import Report
from callosum.data.report import parse_report
from callosum.knowledge.extract import extract_report, extract_sentence
from callosum.knowledge.labels import statements
from callosum.knowledge.ontology import read_ontology
from callosum.knowledge.soft_targets import with_ancestors


class TextKind(StrEnum):
    """What a text is."""

    REPORT = "report"
    """A whole report: its sections are told apart, and what the requester asked is no finding."""
    SENTENCE = "sentence"
    """A sentence, a caption, or anything else without sections."""


def extract(text: str, kind: str = TextKind.REPORT) -> list[Finding]:
    """The findings of a report or a sentence, in the order of the text; spans count its characters.

    A concept that a text names several times is there several times; `callosum.knowledge.label` says what they come to.

    Args:
        text: English. HTML tags are passed over; nothing is found in an empty text.
        kind: "report" or "sentence".

    Raises:
        UsageError: it is not text, or of another kind.
        InputError: it is binary, or in another language.
    """
    if kind not in list(TextKind):
        message = f"A text is of kind {' or '.join(TextKind)}; found {str(kind)[:40]!r}."
        raise UsageError(message)
    if kind == TextKind.SENTENCE or not isinstance(text, str):
        return extract_sentence(text)
    return extract_report(parse_report(text))


def caption_columns(text: str | None) -> dict[str, Any]:
    """The columns of a picture's own caption; see `finding_columns`. A caption in another language has none."""
    if not text:
        return {}
    try:
        return finding_columns(extract_sentence(text))
    except InputError:
        return {}


def report_columns(report: Report) -> dict[str, Any]:
    """The columns of a report; see `finding_columns`. One in another language, which is flagged as such, has none."""
    try:
        return finding_columns(extract_report(report))
    except InputError:
        return {}


def finding_columns(findings: Iterable[Finding]) -> dict[str, Any]:
    """What an archive keeps of findings: concepts that are stated, held possible, and denied.

    What is stated or possible has all that it is a kind of with it. A concept is in one of the three only: stated
    before possible before denied.
    """
    ontology = read_ontology()
    said: dict[Presence, set[str]] = {presence: set() for presence in Presence}
    for concept, presence in statements(findings, ontology):
        said[presence].add(concept)
    present = with_ancestors(said[Presence.PRESENT], ontology)
    uncertain = with_ancestors(said[Presence.UNCERTAIN], ontology) - present
    return {
        "findings": tuple(sorted(present)),
        "findings_uncertain": tuple(sorted(uncertain)),
        "findings_absent": tuple(sorted(said[Presence.ABSENT] - present - uncertain)),
    }
