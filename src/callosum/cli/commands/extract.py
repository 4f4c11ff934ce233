"""`callosum extract`: what a report says, with the words that say it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from callosum.cli.options import FILE, JSON

if TYPE_CHECKING:
    from callosum.cli.report_files import ReadText
    from callosum.core.finding import Finding, Presence
    from callosum.core.result import Problem

EXIT_SKIPPED = 7
MOST_ROWS = 200
"""Findings of one report in the table for people."""


@click.command("extract")
@click.argument("reports", nargs=-1, required=True, metavar="REPORT...|-")
@click.option("--kind", type=click.Choice(["report", "sentence"]), default="report", help="What a text is; report.")
@click.option("--scheme", default="chexpert14", metavar="NAME", help="Label scheme; chexpert14.")
@click.option("--html", type=FILE, help="Write a page with the words highlighted, too.")
@JSON
def command(reports: tuple[str, ...], kind: str, scheme: str, html: Path | None, as_json: bool) -> int:
    """Find what REPORTs say: findings, whether they are there, and the words that say so.

    A REPORT is a file of plain text, Open-i XML or a DICOM Structured Report; `-` reads standard input. With
    `--kind sentence` each line is a sentence of its own. English is read; other languages are refused.

    \b
    Examples:
      callosum extract report.txt
      echo "Small effusion, no pneumothorax." | callosum extract - --json
    """
    from callosum.cli.output import console, note, problems_table, write_json
    from callosum.cli.report_files import read_texts
    from callosum.core.errors import InputError
    from callosum.knowledge.labels import label
    from callosum.knowledge.schemes import scheme_of

    scheme_of(scheme)
    problems: list[Problem] = []
    shown: list[tuple[ReadText, list[Finding]]] = []
    for read in read_texts(reports, problems, are_sentences=kind == "sentence"):
        try:
            findings = _findings(read)
        except InputError as error:
            problems.append(_refusal(read.source, error))
            continue
        labels = label(findings, scheme)
        if as_json:
            write_json([_line(read, findings, scheme, labels)])
        else:
            _show(read, findings, labels)
        shown.append((read, findings))
    if html is not None and shown:
        from callosum.cli.findings_page import render_findings

        html.write_text(render_findings(shown, scheme), encoding="utf-8")
        note("The page is written; it holds the text of the reports.")
    if as_json:
        write_json(problem.to_json() for problem in problems)
    elif problems:
        problems_table(problems)
    if not shown:
        message = "None of the texts can be read." if problems else "There is no sentence in the input."
        raise InputError(message)
    if not as_json:
        console().print(_legend())
    return EXIT_SKIPPED if problems else 0


def _findings(read: ReadText) -> list[Finding]:
    """The findings of a report whose sections are known, or of a sentence."""
    if read.report is None:
        import callosum

        return callosum.extract(read.text, kind="sentence")
    from callosum.knowledge.extract import extract_report

    return extract_report(read.report)


def _refusal(source: str, error: Exception) -> Problem:
    from callosum.core.record import Answer
    from callosum.core.result import Problem

    return Problem(source=source, source_digest="", answer=Answer.REJECT, code="LANGUAGE", sentence=str(error))


def _line(read: ReadText, findings: list[Finding], scheme: str, labels: dict[str, Presence]) -> dict[str, Any]:
    report = read.report
    return {
        "schema": "callosum.findings/1",
        "source": read.source,
        "text": read.text,
        "flags": [asdict(flag) for flag in report.flags] if report else [],
        "findings": [asdict(finding) | {"words": read.text[slice(*finding.span)]} for finding in findings],
        "scheme": scheme,
        "labels": labels,
    }


def _show(read: ReadText, findings: list[Finding], labels: dict[str, Presence]) -> None:
    """The text with its words highlighted, the findings, and the labels that it says something of."""
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from callosum.cli.highlight import TONES, pieces, place, tone
    from callosum.cli.output import console, note
    from callosum.core.finding import Presence

    screen, shown = console(), Text()
    for piece in pieces(read.text, findings, read.report):
        style = TONES.get(piece.tone, "bold" if piece.is_heading else "underline" if piece.is_cue else "")
        shown.append(piece.text, style=style)
    screen.print(escape(read.source), style="bold", highlight=False)
    screen.print(shown, soft_wrap=True)
    for flag in read.report.flags if read.report else ():
        note(f"{flag.code}: {flag.sentence}")
    if not findings:
        note("Nothing that the ontology knows is named.")
        return
    columns = {
        "finding": [finding.concept for finding in findings],
        "is": [tone(finding) + (" (contradicted)" if finding.is_conflicting else "") for finding in findings],
        "words": [" ".join(read.text[slice(*finding.span)].split()) for finding in findings],
        "where": [place(finding) for finding in findings],
        "change": [_said(finding.change) for finding in findings],
        "section": [str(finding.section or "") for finding in findings],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    table = Table(*filled)
    for row, finding in zip(zip(*filled.values(), strict=True), findings[:MOST_ROWS], strict=False):
        marked = [f"[{TONES[tone(finding)]}] {cell} [/]" if n == 1 else escape(cell) for n, cell in enumerate(row)]
        table.add_row(*marked)
    screen.print(table)
    if len(findings) > MOST_ROWS:
        note(f"{len(findings) - MOST_ROWS} more findings: add --json.")
    said = [f"{name}: {value}" for name, value in labels.items() if value is not Presence.UNMENTIONED]
    screen.print("Labels: " + escape("; ".join(said) or "none"))


def _said(value: str) -> str:
    return "" if value == "unstated" else str(value)


def _legend() -> Any:
    from rich.text import Text

    from callosum.cli.highlight import TONES

    line = Text()
    for name, style in TONES.items():
        line.append(f" {name} ", style=style)
        line.append(" ")
    return line.append("underlined: what decided", style="underline")
