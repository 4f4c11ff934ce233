"""Text to `Report`: found sections, or sections that a form states itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from callosum.core.errors import Refused
from callosum.core.record import Flag
from callosum.core.report import Report, Section, SectionKind, Sentence
from callosum.data.readers.refusal import Reason, metadata_only
from callosum.data.report.doubts import doubts
from callosum.data.report.identifiers import find_identifiers
from callosum.data.report.language import guess_language
from callosum.data.report.placeholders import find_placeholders, is_mostly_placeholder
from callosum.data.report.sections import NO_FINDINGS, outline
from callosum.data.report.sentences import split_sentences


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A section as a form states it: its kind, its heading and its text."""

    kind: SectionKind
    heading: str
    text: str


def parse_report(text: str) -> Report:
    """Understand a report that is plain text.

    The text is not changed. Time is linear in its length.

    Args:
        text: The report, with any line ends.
    """
    found = outline(text)
    identifiers, conflicts = find_identifiers(text, found.sections)
    return _finish(text, found.sections, identifiers=identifiers, flags=(*found.flags, *conflicts))


def compose_report(blocks: Iterable[Block], *, identifiers: Mapping[str, str]) -> Report:
    """Write a report whose parts are known as "HEADING: text", a blank line between them, with exact spans."""
    parts: list[str] = []
    sections: list[Section] = []
    at = 0
    for block in blocks:
        body, heading = block.text.strip(), block.heading.strip()
        opening = f"{heading}: " if heading else ""
        gap = "\n\n" if parts else ""
        start = at + len(gap) + len(opening)
        end = start + len(body)
        begin = at + len(gap)
        sections.append(Section(kind=block.kind, heading=heading, heading_start=begin, start=start, end=end))
        parts.append(f"{gap}{opening}{body}")
        at = end
    text = "".join(parts)
    report = _finish(text, tuple(sections), identifiers=identifiers, flags=())
    return report if report.findings_text() else replace(report, flags=(NO_FINDINGS, *report.flags))


def no_text(identifiers: Mapping[str, str]) -> Refused:
    """The answer for a form of a report in which nothing is said."""
    refused = metadata_only(Reason.NO_REPORT_TEXT, "The report has no text.")
    refused.identifiers = dict(identifiers)
    return refused


def unlinked() -> Refused:
    """The answer for a report that names no study to attach it to."""
    sentence = "A report that names no study and no accession number: nothing can be joined to it."
    return metadata_only(Reason.REPORT_UNLINKED, sentence)


def _finish(
    text: str, sections: tuple[Section, ...], *, identifiers: Mapping[str, str], flags: tuple[Flag, ...]
) -> Report:
    """Add sentences, placeholders, language and doubts."""
    placeholders = find_placeholders(text)
    sentences = tuple(
        Sentence(
            start=start,
            end=end,
            section=index,
            is_redacted=bool(placeholders) and is_mostly_placeholder(text, start, end, placeholders),
        )
        for index, section in enumerate(sections)
        for start, end in split_sentences(text, section.start, section.end)
    )
    report = Report(
        text=text,
        sections=sections,
        sentences=sentences,
        placeholders=placeholders,
        language=guess_language(text),
        identifiers=MappingProxyType(dict(identifiers)),
    )
    return replace(report, flags=(*flags, *doubts(report)))
