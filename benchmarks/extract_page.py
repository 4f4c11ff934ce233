"""The page of extraction's figures: `docs/results/extraction.md`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure

if TYPE_CHECKING:
    from benchmarks.extract import Scores


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table: our scores, and those of the bag of words where it was asked."""

    name: str
    scores: Scores
    baseline: Scores | None = None
    target: float | None = None
    is_averaged: bool = True


_OPENING = """# How well findings are read from text

Written by `python -m benchmarks.extract`. All rows are those of the packs' training and validation splits. The rules
were written in view of the training rows and of all the probes. The errors on the validation rows of the two kits
were looked at twice. One rule (a chronic illness that stands alone is history) and three cues were added the first
time; the second time that rule was cut down, habits and allergies became history, and single cues that fitted a row
were removed. Of the validation reports the scores were looked at, and which kinds of doubt their coders wrote down.
So hardly a figure here is one of unseen text. Intervals are 95 % bootstrap intervals over reports. Research and
teaching only: this reads words, and makes no diagnosis.
"""
_CODES = """
## Reports with human codes (iu_reports)

Findings and impression of reports that people coded with MeSH headings, mapped to the NIH classes by the makers of
NegBio. A class counts as found when its label is present. The codes have no word for doubt, so the scheme counts a
doubt that leans ("probable", "borderline", "versus", "and/or") as present, and every other doubt ("possible", "may
represent") as not. That policy was learnt from these very reports, from which doubts their coders wrote down, in the
training and validation rows: what it gains here is not measured on unseen text. `iu_macro_f1_*_all_doubts_uncertain`
is the same without it, where only what is said outright counts. Classes with fewer than 20 coded reports in both
splits together are not averaged (*). The bag of words is a logistic regression on words and pairs of words, class
weights balanced, learnt in five folds over patients from these very reports and codes, so that it learns the coders'
habits; the rules see no code.
"""
_DOUBTS = """
### Doubted by us

How often the coders wrote down what the report only doubts is no error of either: the codes have no word for doubt.

| class | leaning, coded | leaning, not coded | doubted outright, coded | doubted outright, not coded |
|---|---|---|---|---|
"""
_ERRORS = """
### Errors of the codes

Told by rules over the MeSH headings alone (`benchmarks/extract_gold.py`), never by report. The figure
`iu_macro_f1_gold_errors_corrected` is the macro F1 against the codes after these corrections, over the same classes;
`iu_macro_f1_without_doubted` leaves out, class by class, the reports that doubt it.

| rule | codes |
|---|---|
"""


def page(
    figures: list[Figure],
    *,
    phenomena: Iterable[tuple[str, int, int]],
    placed: list[Row],
    shown: Mapping[str, Any],
) -> str:
    """The whole page."""
    parts = [_OPENING, _figures(figures), _phenomena(phenomena), _kits(placed), _CODES]
    for split, rows in shown["tables"].items():
        title = {"train": "Training rows", "val": "Validation rows", "both": "Both"}[split]
        parts.append(f"\n### {title}\n\n{_scores(rows)}")
    doubts = "".join(f"| {name} | {' | '.join(map(str, counts))} |\n" for name, counts in shown["doubts"].items())
    errors: Counter[str] = shown["errors"]
    parts += [_DOUBTS, doubts, _ERRORS, "".join(f"| {name} | {count} |\n" for name, count in errors.most_common())]
    fair = "".join(f"| {name} | {value:.3f} |\n" for name, value in shown["corrected"].items())
    return "".join([*parts, "\n| class | F1 against corrected codes |\n|---|---|\n", fair])


def _figures(figures: list[Figure]) -> str:
    lines = ["\n## Figures\n\n| figure | value | target | met |\n|---|---|---|---|\n"]
    for figure in figures:
        met = {None: "", True: "yes", False: "**no**"}[figure.met]
        target = "" if figure.target is None else f"{figure.target:g}"
        value = f"{figure.value:.0f}" if figure.unit else f"{figure.value:.3f}"
        lines.append(f"| {figure.name} | {value} | {target} | {met} |\n")
    return "".join(lines)


def _phenomena(rows: Iterable[tuple[str, int, int]]) -> str:
    lines = [
        "\n## Sentences by phenomenon (probes)\n\n"
        "A class counts where the sentence has a gold letter for it, or where one was wrongly found. Of historical\n"
        "mentions only that they are not present is asked.\n\n| phenomenon | right | of |\n|---|---|---|\n"
    ]
    return "".join([*lines, *(f"| {name} | {right} | {asked} |\n" for name, right, asked in rows)])


def _kits(rows: list[Row]) -> str:
    opening = (
        "\n## General clinical prose (NegEx and ConText kits)\n\n"
        "The concept's place is given. Rows whose sentence does not hold their concept are left out. ConText has many\n"
        "lone names of chronic illnesses whose list heading was cut off.\n\n"
    )
    return opening + _scores(rows)


def _scores(rows: list[Row]) -> str:
    with_words = any(row.baseline for row in rows)
    head = "| class | positive | precision | recall | F1 |" + (" bag of words F1 |" if with_words else "")
    lines = [head + "\n", "|" + "---|" * head.count("|", 1) + "\n"]
    for row in rows:
        name = row.name + ("" if row.is_averaged else " *")
        cells = [name, str(row.scores.num_positive), row.scores.precision, row.scores.recall, row.scores.f1]
        cells += [row.baseline.f1] if row.baseline else []
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |\n")
    return "".join(lines)
