"""The rows that extraction is measured on: probes, NegEx, ConText, and reports with codes; and what is wrong with them.

The codes of `iu_reports` come from MeSH headings by a table of others. Where that table, or the coders, missed what
the scheme's class means is told by rules over the headings alone, `ERRORS`; no report is picked by hand.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LETTERS = {"p": "present", "a": "absent", "u": "uncertain"}
CLASSES = (
    "Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax Consolidation Edema Emphysema "
    "Fibrosis Pleural_Thickening"
).split()
"""Hernia is left out: its code is 0 in every row, although hernias are among the headings."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A sentence, its phenomenon, and a letter for each class that it says something of."""

    phenomenon: str
    sentence: str
    gold: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A concept in a sentence: its place, and what people said of it."""

    report: str
    split: str
    sentence: str
    start: int
    end: int
    gold: str


@dataclass(frozen=True, kw_only=True)
class Coded:
    """A report, its headings, and the classes that it was coded with."""

    patient: str
    split: str
    text: str
    headings: tuple[str, ...]
    gold: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class GoldError:
    """A rule that says, from a report's headings, that its code of a class is wrong.

    Attributes:
        name: What went wrong.
        classes: The classes that it is about.
        is_wrong: Takes the headings and whether the class was coded.
        becomes: What the code should be; None takes the report out for these classes.
    """

    name: str
    classes: tuple[str, ...]
    is_wrong: Callable[[tuple[str, ...], bool], bool]
    becomes: bool | None


def _has(headings: tuple[str, ...], *words: str) -> bool:
    """Whether one heading has all of these words."""
    return any(all(word in heading for word in words) for heading in headings)


ERRORS = (
    GoldError(
        name="a thickening of something else than pleura is coded as pleural thickening",
        classes=("Pleural_Thickening",),
        is_wrong=lambda headings, coded: coded and not _has(headings, "thickening", "pleura"),
        becomes=False,
    ),
    GoldError(
        name="a pericardial effusion is coded as pleural effusion",
        classes=("Effusion",),
        is_wrong=lambda headings, coded: coded and not _has(headings, "pleural effusion"),
        becomes=False,
    ),
    GoldError(
        name="a hydropneumothorax is coded as neither of its two parts",
        classes=("Effusion", "Pneumothorax"),
        is_wrong=lambda headings, coded: not coded and _has(headings, "hydropneumothorax"),
        becomes=True,
    ),
    GoldError(
        name="an enlarged cardiac shadow is not coded as cardiomegaly",
        classes=("Cardiomegaly",),
        is_wrong=lambda headings, coded: not coded and _has(headings, "cardiac shadow", "enlarged"),
        becomes=True,
    ),
    GoldError(
        name="the report was never indexed",
        classes=tuple(CLASSES),
        is_wrong=lambda headings, coded: _has(headings, "no indexing"),
        becomes=None,
    ),
)


def corrected(report: Coded, name: str) -> tuple[bool | None, str]:
    """The code of a class after `ERRORS`, and the error that changed it; None when the report should be left out."""
    coded = name in report.gold
    for error in ERRORS:
        if name in error.classes and error.is_wrong(report.headings, coded):
            return error.becomes, error.name
    return coded, ""


def read_probes(data: Path) -> list[Probe]:
    """The authored sentences."""
    return [
        Probe(phenomenon=row["phenomenon"], sentence=row["sentence"], gold=json.loads(row["gold"]))
        for row in _rows(data / "negation_findings" / "probes.csv")
    ]


def read_negex(data: Path) -> list[Placed]:
    """NegEx: Negated or Affirmed, by report."""
    rows = _rows(data / "negation_findings" / "negex.csv")
    return [placed for row in rows if (placed := _place(row, row["negation"], row["report_no"])) is not None]


def read_context(data: Path) -> list[Placed]:
    """ConText: Historical or Recent; the report is that of the same sentence in NegEx."""
    reports = {row["sentence"]: row["report_no"] for row in _rows(data / "negation_findings" / "negex.csv")}
    rows = (row for row in _rows(data / "negation_findings" / "context.csv") if row["temporality"] != "Not particular")
    found = (_place(row, row["temporality"], reports.get(row["sentence"], row["id"])) for row in rows)
    return [placed for placed in found if placed is not None]


def _place(row: dict[str, str], gold: str, report: str) -> Placed | None:
    """Where the concept is, put into small letters; None for a row whose sentence does not have it."""
    sentence, concept = row["sentence"], row["concept"]
    start = sentence.find(concept.upper())
    if start < 0 or not concept:
        return None
    end = start + len(concept)
    lowered = sentence[:start] + sentence[start:end].lower() + sentence[end:]
    return Placed(report=report, split=row["split"], sentence=lowered, start=start, end=end, gold=gold)


def read_coded(data: Path) -> list[Coded]:
    """The reports with codes: findings and impression under their headings."""
    return [
        Coded(
            patient=row["patient_id"],
            split=row["split"],
            text=f"FINDINGS: {row['findings']}\n\nIMPRESSION: {row['impression']}",
            headings=tuple(heading.lower() for heading in row["mesh_major"].split("|")),
            gold=frozenset(name for name in CLASSES if row[f"gold_{name}"] == "1.0"),
        )
        for row in _rows(data / "iu_reports" / "manifest.csv")
        if row["has_gold"] == "True"
    ]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)
