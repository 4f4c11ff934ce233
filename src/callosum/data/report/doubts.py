"""What is doubtful about a report that was understood: its language, an empty impression, a form left unfilled."""

from __future__ import annotations

import re

from callosum.core.record import Flag
from callosum.core.report import Report
from callosum.core.report import SectionKind as Kind
from callosum.data.report.language import is_foreign

_LANGUAGE = Flag(code="LANGUAGE", sentence="It is not in English; words are searched as they are.")
_EMPTY = Flag(code="IMPRESSION_EMPTY", sentence="There is a heading of the impression and nothing said under it.")
_TEMPLATE = Flag(code="TEMPLATE", sentence="Parts of the form it was written with were not filled in.")
_REDACTED = Flag(code="REDACTED", sentence="Half of the sentences that are searched were removed by de-identification.")

_UNFILLED = re.compile(
    r"(?<!\*)\*{3}(?!\*)|\[\s{0,10}\](?!\s*\w+\s*\[)|\{[^{}\n]{0,60}:\d{2,}\}|@[A-Z][A-Z0-9]+@|<<[^<>\n]{1,60}>>"
    r"|[\[<{](?:insert|enter|select|choose|free text|fill in|type here|dictate)[^\[\]<>{}\n]{0,60}[\]>}]"
    r"|\b(?:lorem ipsum|enter text|text goes here|dictation (?:template|test)|test report|asdf\w*)\b",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"[\W_\d]*(?:(?:please )?see (?:above|below|report|body of report|findings)|as above|none|n/?a|test|nil|tbd|"
    r"pending|to follow|dictated|x+)?[\W_]*",
    re.IGNORECASE,
)


def doubts(report: Report) -> tuple[Flag, ...]:
    """Flags of a parsed report."""
    flags: list[Flag] = []
    if is_foreign(report.text, report.language):
        flags.append(_LANGUAGE)
    impressions = [report.text[s.start : s.end] for s in report.sections if s.kind is Kind.IMPRESSION]
    if impressions and all(len(said) < 200 and _NOTHING.fullmatch(said) for said in impressions):
        flags.append(_EMPTY)
    searched = list(report.findings_sentences())
    if any(_UNFILLED.search(report.text, s.start, s.end) for s in searched):
        flags.append(_TEMPLATE)
    if searched and 2 * sum(s.is_redacted for s in searched) >= len(searched):
        flags.append(_REDACTED)
    return tuple(flags)
