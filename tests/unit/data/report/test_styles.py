"""Sections of made-up reports in a hundred styles: kind and both boundaries."""

import pytest

from benchmarks.report_styles import STYLES, make_reports
from callosum.data.report import looks_like_report, parse_report


@pytest.mark.parametrize("name", STYLES)
def test_style(name: str) -> None:
    right = wrong = missed = 0
    for text, spans in make_reports(STYLES[name], count=12, seed=20):
        found = {(str(s.kind), s.start, s.end) for s in parse_report(text).sections if s.end > s.start}
        right += len(found & set(spans))
        wrong += len(found - set(spans))
        missed += len(set(spans) - found)
    assert 2 * right / (2 * right + wrong + missed) >= 0.98


@pytest.mark.parametrize("name", ["capitals", "title in one line", "lower and dash in one line", "markdown", "tags"])
def test_they_are_reports(name: str) -> None:
    for text, spans in make_reports(STYLES[name], count=10, seed=21):
        if {"findings", "impression"} <= {kind for kind, _, _ in spans}:
            assert looks_like_report(text)
