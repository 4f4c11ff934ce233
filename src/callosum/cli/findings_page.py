"""The page of `callosum extract --html`: reports with their words highlighted, in one file that asks for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from callosum.cli.highlight import TONES, pieces, place, tone
from callosum.core.finding import Presence

if TYPE_CHECKING:
    from callosum.cli.report_files import ReadText
    from callosum.core.finding import Finding


def render_findings(reports: Sequence[tuple[ReadText, Sequence[Finding]]], scheme: str) -> str:
    """The page as HTML text.

    Args:
        reports: Texts and what they say.
        scheme: Label scheme whose labels are shown.
    """
    import jinja2

    from callosum.knowledge.labels import label

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = [
        {
            "source": Path(read.source).name,
            "pieces": pieces(read.text, findings, read.report),
            "findings": [
                (finding, tone(finding), read.text[slice(*finding.span)], place(finding)) for finding in findings
            ],
            "labels": {
                name: value for name, value in label(findings, scheme).items() if value is not Presence.UNMENTIONED
            },
            "flags": read.report.flags if read.report else (),
        }
        for read, findings in reports
    ]
    return environment.get_template("findings.html").render(reports=shown, tones=list(TONES), scheme=scheme)
