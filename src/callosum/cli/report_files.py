"""Reports from files and standard input, read in a process that may be lost, as pictures are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from callosum.core.errors import Refused
from callosum.core.record import Answer
from callosum.core.report import Report
from callosum.core.result import Problem
from callosum.data.jail import Jail

if TYPE_CHECKING:
    from callosum.data.poison import PoisonList

STANDARD_INPUT = "-"
_MOST_BYTES = 1 << 25
"""Of standard input; what a report may have is for its reader to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadText:
    """A text and where it came from; `report` is None for a lone sentence."""

    source: str
    text: str
    report: Report | None = None


def read_texts(names: Iterable[str], problems: list[Problem], *, are_sentences: bool) -> Iterator[ReadText]:
    """The reports of files, or the sentences, one a line; what is refused joins `problems`.

    Plain text needs no headings here: who names a file says that it is a report.

    Args:
        names: Files, or `-` for standard input.
        problems: What could not be read, and why.
        are_sentences: Whether each line is a sentence of its own.
    """
    jail: Jail | None = None
    try:
        for name in names:
            try:
                jail = jail if jail is not None and jail.is_alive else Jail("callosum.cli.report_files:answer_reports")
                data = sys.stdin.buffer.read(_MOST_BYTES) if name == STANDARD_INPUT else str(Path(name).absolute())
                read: Report = jail.call((data, are_sentences))
            except Refused as refused:
                problems.append(_problem(name, refused))
                continue
            if not are_sentences:
                yield ReadText(source=name, text=read.text, report=read)
                continue
            lines = [line.strip() for line in read.text.splitlines()]
            yield from (ReadText(source=f"{name}:{n}", text=line) for n, line in enumerate(lines, 1) if line)
    finally:
        if jail is not None:
            jail.stop()


def _problem(name: str, refused: Refused) -> Problem:
    answer = Answer(refused.answer)
    return Problem(source=name, source_digest="", answer=answer, code=refused.reason, sentence=refused.sentence)


def answer_reports(_: None, __: PoisonList) -> Callable[[tuple[bytes | str, bool]], Report]:
    """What a `Jail` asks for each file: its path, or bytes that were read already; and whether sections are wanted."""
    from callosum.data.readers import read_file
    from callosum.data.report import decode_text, parse_report, read_report

    def answer(question: tuple[bytes | str, bool]) -> Report:
        given, are_sentences = question
        data = given if isinstance(given, bytes) else read_file(Path(given))
        if are_sentences:
            return Report(text=decode_text(data)[0], sections=())
        try:
            report = read_report(data)
        except Refused as refused:
            if refused.reason != "NOT_A_REPORT":
                raise
            text, flags = decode_text(data)
            report = parse_report(text)
            report = replace(report, flags=(*flags, *report.flags))
        return replace(report, identifiers={})

    return answer
