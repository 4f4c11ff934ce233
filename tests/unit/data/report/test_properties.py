"""What holds of every text, and of the longest."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callosum.core.errors import Refused
from callosum.data.report import decode_text, parse_report, read_report

WRITTEN = (
    "FINDINGS: |Findings|findings - |IMPRESSION|Impression:|INDICATION|history|no |acute |The |LUNGS: |. |.|...|: |:|"
    "- |XXXX|___|________|====|**|## |<b>|</b>|<|>|[|]|(|)|1. |2) |* |clear|normal.|3.5 cm|Dr. |e.g. |"
    "ADDENDUM by A|FINAL REPORT|WET READ|MRN: 12|Accession: A1|\n|\n\n|\r\n|\r|  |"
    "\t|\u2028|\xa0|ö|o\u0308|心|findngs|IMPRESSON:|?|!"
)
PIECES = st.sampled_from(WRITTEN.split("|"))
TEXTS = st.one_of(
    st.lists(PIECES, max_size=60).map("".join), st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_spans(text: str) -> None:
    report = parse_report(text)
    assert report.text == text
    at = 0
    for section in report.sections:
        assert at <= section.heading_start <= section.start <= section.end <= len(text)
        assert text[section.heading_start :].startswith(section.heading)
        body = text[section.start : section.end]
        assert body == body.strip()
        at = section.end
    at = 0
    for sentence in report.sentences:
        section = report.sections[sentence.section]
        assert at <= sentence.start < sentence.end
        assert section.start <= sentence.start
        assert sentence.end <= section.end
        at = sentence.end
    for start, end in report.placeholders:
        assert 0 <= start < end <= len(text)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_nothing_said_is_lost(text: str) -> None:
    """Every letter is in a section, a heading, a title such as "FINAL REPORT", a tag or the number of an item."""
    report = parse_report(text)
    covered = bytearray(len(text))
    for section in report.sections:
        covered[section.heading_start : section.end] = b"\1" * (section.end - section.heading_start)
    rest = "".join(" " if covered[i] else c for i, c in enumerate(text))
    rest = re.sub(r"(?i)final report|</?[a-z]\w{0,9}\s*>|\(?(?:\d{1,2}|[ivx]{1,4}|[a-z])[.)]", " ", rest)
    assert not any(c.isalnum() for c in rest)
    told = {i for s in report.sentences for i in range(s.start, s.end)}
    for section in report.sections:
        assert all(i in told for i in range(section.start, section.end) if not text[i].isspace())


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), TEXTS.map(str.encode)))
def test_any_bytes_are_answered(data: bytes) -> None:
    try:
        report = read_report(data)
    except Refused as refused:
        assert refused.reason
    else:
        assert report.source_digest
        assert report.text == decode_text(data)[0]


N = 60_000
LONG = {
    "letters": "a",
    "capitals": "A",
    "line breaks": "\n",
    "lines": "a\nB ",
    "headings": "FINDINGS: ",
    "headings on lines": "FINDINGS\n",
    "colons": ":",
    "numbers": "1. ",
    "full stops": ". ",
    "underscores": "___a",
    "drawn lines": "\n_____",
    "stars": "Findings**********************************************************\n",
    "tags": "<b>",
    "brackets": "[**",
    "spaces": "a" + " " * 500,
    "wide spaces": "\n\u2003",
    "misspelt": "FINDIGNS ",
    "quotes": '."',
    "organs": "INDICATION: x\nLUNGS: a\nHEART: b\n",
    "paragraphs": "The lung is\n\n",
    "numbered lines": "MRN: 1\n",
    "addenda": "ADDENDUM by ",
}


@pytest.mark.parametrize("name", LONG)
def test_time_grows_with_length(name: str) -> None:
    """Four times the text takes about four times as long: sixteen times would be a loop inside a loop."""

    def seconds(length: int) -> float:
        text = LONG[name] * (length // len(LONG[name]))
        start = time.process_time()
        parse_report(text)
        return time.process_time() - start

    short = min(seconds(N // 4) for _ in range(2))
    assert min(seconds(N) for _ in range(3)) < 12 * short + 0.05
