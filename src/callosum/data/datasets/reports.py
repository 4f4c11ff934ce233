"""What of a report is searched: findings and impression."""

from __future__ import annotations

from callosum.data.report import parse_report


def searchable(report: str) -> str:
    """Findings, impression and addendum of a report; indication and history are never taken for findings."""
    return parse_report(report).findings_text() if report else ""
