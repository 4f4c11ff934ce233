"""How well findings are read from text, beside people's labels and beside a bag of words; and how fast.

Run it with `python -m benchmarks.extract --data PACKS [--quick] [--json]`. The full run writes
`benchmarks/results/extract.json` and `docs/results/extraction.md`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.extract_gold import (
    CLASSES,
    LETTERS,
    Coded,
    Placed,
    Probe,
    corrected,
    read_coded,
    read_context,
    read_negex,
    read_probes,
)
from benchmarks.extract_page import Row, page
from benchmarks.extract_words import crossed, of_training_rows
from benchmarks.figures import Figure, arguments, save, show
from callosum.core.finding import Presence, Temporality
from callosum.core.report import Report
from callosum.data.report import parse_report
from callosum.evaluate.bootstrap import Interval, bootstrap
from callosum.knowledge import assess, extract_report, extract_sentence, label, scheme_of

ROOT = Path(__file__).parent.parent
FEWEST = 20
"""Positives; a finding with fewer is shown and not averaged."""
Bools = np.ndarray


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Precision, recall and F1 with their intervals."""

    precision: Interval
    recall: Interval
    f1: Interval
    num_positive: int


def ratios(gold: Bools, found: Bools) -> tuple[float, float, float]:
    """Precision, recall and F1; NaN where nothing is found or nothing is there."""
    both, there, said = int((gold & found).sum()), int(gold.sum()), int(found.sum())
    precision = both / said if said else float("nan")
    recall = both / there if there else float("nan")
    return precision, recall, 2 * both / (there + said) if there + said else float("nan")


def score(gold: Bools, found: Bools, groups: Sequence[str], *, num_samples: int) -> Scores:
    """The three ratios, each with a bootstrap interval over groups."""

    def interval(which: int) -> Interval:
        rng = np.random.default_rng(which)
        measure = lambda rows: ratios(gold[rows], found[rows])[which]  # noqa: E731
        return bootstrap(measure, len(gold), rng=rng, groups=_shared(groups), num_samples=num_samples)

    return Scores(precision=interval(0), recall=interval(1), f1=interval(2), num_positive=int(gold.sum()))


def macro(gold_NC: Bools, found_NC: Bools, groups: Sequence[str], *, num_samples: int) -> Interval:
    """Mean F1 over the columns, with a bootstrap interval over groups."""

    def measure(rows: np.ndarray) -> float:
        return float(np.nanmean([ratios(gold_NC[rows, k], found_NC[rows, k])[2] for k in range(gold_NC.shape[1])]))

    rng = np.random.default_rng(3)
    return bootstrap(measure, len(gold_NC), rng=rng, groups=_shared(groups), num_samples=num_samples)


def _shared(groups: Sequence[str]) -> Sequence[str] | None:
    """The groups when some rows share one: drawing rows that stand alone is the same, and faster."""
    return groups if len(set(groups)) < len(groups) else None


def measure_probes(probes: list[Probe]) -> tuple[list[Figure], list[tuple[str, int, int]]]:
    """Accuracy of presence per class and phenomenon, over the classes that a probe lists and those wrongly found."""
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    every = good = spurious = 0
    for probe in probes:
        for name, presence in label(extract_sentence(probe.sentence), scheme="chexpert14").items():
            letter = probe.gold.get(name, "")
            is_right = (
                presence is not Presence.PRESENT if letter == "h" else presence == LETTERS.get(letter, "unmentioned")
            )
            every, good = every + 1, good + is_right
            spurious += not letter and not is_right
            if letter or not is_right:
                asked[probe.phenomenon] += 1
                right[probe.phenomenon] += is_right
    rows = [(name, right[name], asked[name]) for name in sorted({p.phenomenon for p in probes})]
    figures = [
        Figure(name="probes_accuracy_listed_and_spurious", value=right.total() / asked.total(), target=0.95),
        Figure(name="probes_accuracy_all_classes", value=good / every, target=0.95),
        Figure(name="probes_lowest_phenomenon", value=min(r / n for _, r, n in rows if n), target=0.85),
        Figure(name="probes_spurious", value=spurious),
    ]
    return figures, rows


def measure_placed(rows: list[Placed], name: str, target: float, *, num_samples: int) -> list[Row]:
    """F1 of what a kit's second word means (Negated, Historical), by split, intervals over reports."""
    table = []
    for split in ("train", "val", "both"):
        chosen = [row for row in rows if split in (row.split, "both")]
        said = [assess(row.sentence, row.start, row.end) for row in chosen]
        if name == "Negated":
            found = np.array([each.presence is Presence.ABSENT for each in said])
        else:
            found = np.array([each.temporality is Temporality.HISTORICAL for each in said])
        gold = np.array([row.gold == name for row in chosen])
        scores = score(gold, found, [row.report for row in chosen], num_samples=num_samples)
        table.append(Row(name=f"{name}, {split}", scores=scores, target=target))
    return table


@dataclass(frozen=True, kw_only=True)
class ReadLabels:
    """Which classes of nih14 each report says are present, (N, K), and what it doubts.

    Attributes:
        present: As the scheme has it: what a doubt leans towards counts.
        certain: What is present when every doubt is kept uncertain.
        doubted: What is uncertain to the scheme.
    """

    present: Bools
    certain: Bools
    doubted: Bools


def read_labels(reports: list[Coded]) -> ReadLabels:
    """The labels of each report, with and without the scheme's policy on doubts that lean."""
    scheme = scheme_of("nih14")
    strict = replace(scheme, leaning=frozenset())
    found = [extract_report(parse_report(report.text)) for report in reports]
    by_policy = [[label(findings, scheme)[name] for name in CLASSES] for findings in found]
    by_word = [[label(findings, strict)[name] for name in CLASSES] for findings in found]
    return ReadLabels(
        present=np.array([[presence is Presence.PRESENT for presence in row] for row in by_policy]),
        certain=np.array([[presence is Presence.PRESENT for presence in row] for row in by_word]),
        doubted=np.array([[presence is Presence.UNCERTAIN for presence in row] for row in by_policy]),
    )


def corrected_gold(reports: list[Coded]) -> tuple[Bools, Bools, Counter[str]]:
    """The codes after the rules about their errors, which of them count, and how often each rule applies."""
    gold = np.zeros((len(reports), len(CLASSES)), bool)
    counts = np.ones_like(gold)
    errors: Counter[str] = Counter()
    for n, report in enumerate(reports):
        for k, name in enumerate(CLASSES):
            code, error = corrected(report, name)
            gold[n, k], counts[n, k] = bool(code), code is not None
            errors[error] += bool(error)
    del errors[""]
    return gold, counts, errors


def measure_speed(reports: list[Coded], *, repeats: int) -> Figure:
    """Sentences per second of processor time, the whole extractor on one core, the best of the repeats."""
    parsed: list[Report] = [parse_report(report.text) for report in reports]
    num_sentences = sum(len(report.sentences) for report in parsed)
    times = []
    for _ in range(repeats):
        start = time.process_time()
        for report in parsed:
            extract_report(report)
        times.append(time.process_time() - start)
    return Figure(name="sentences_per_s", value=num_sentences / min(times), target=5000, unit="1/s")


def measure_coded(reports: list[Coded], *, num_samples: int) -> tuple[list[Figure], dict[str, Any]]:
    """Per-finding scores on the reports with codes, and what the page shows of them."""
    gold = np.array([[name in report.gold for name in CLASSES] for report in reports])
    read = read_labels(reports)
    present, doubted = read.present, read.doubted
    words = crossed(reports, gold, num_folds=5)
    enough = np.flatnonzero(gold.sum(0) >= FEWEST)
    tables: dict[str, list[Row]] = {}
    figures = []
    for split in ("train", "val", "both"):
        rows = np.flatnonzero([split in (report.split, "both") for report in reports])
        groups = [reports[n].patient for n in rows]
        tables[split] = _table(gold[rows], present[rows], words[rows], groups, averaged=enough, num_samples=num_samples)
        columns = np.ix_(rows, enough)
        ours = macro(gold[columns], present[columns], groups, num_samples=num_samples)
        strict = macro(gold[columns], read.certain[columns], groups, num_samples=num_samples)
        theirs = macro(gold[columns], words[columns], groups, num_samples=num_samples)
        figures += [
            Figure(name=f"iu_macro_f1_{split}", value=ours.value, target=0.90 if split == "both" else None),
            Figure(name=f"iu_macro_f1_{split}_low", value=ours.low),
            Figure(name=f"iu_macro_f1_{split}_high", value=ours.high),
            Figure(name=f"iu_macro_f1_{split}_all_doubts_uncertain", value=strict.value),
            Figure(name=f"iu_macro_f1_{split}_bag_of_words", value=theirs.value),
        ]
    right, counts, errors = corrected_gold(reports)
    fair = [ratios(right[counts[:, k], k], present[counts[:, k], k])[2] for k in enough]
    leaning = present & ~read.certain
    clear = ~(doubted | leaning)
    definite = [ratios(gold[clear[:, k], k], present[clear[:, k], k])[2] for k in enough]
    asked, said = of_training_rows(reports, gold)
    figures += [
        Figure(name="iu_macro_f1_gold_errors_corrected", value=float(np.mean(fair))),
        Figure(name="iu_macro_f1_without_doubted", value=float(np.mean(definite))),
        Figure(
            name="iu_macro_f1_val_bag_of_words_of_train",
            value=float(np.nanmean([ratios(gold[asked, k], said[:, k])[2] for k in enough])),
        ),
    ]
    kinds = (leaning & gold, leaning & ~gold, doubted & gold, doubted & ~gold)
    doubts = {name: tuple(int(kind[:, k].sum()) for kind in kinds) for k, name in enumerate(CLASSES)}
    by_class = dict(zip([CLASSES[k] for k in enough], fair, strict=True))
    return figures, {"tables": tables, "errors": errors, "corrected": by_class, "doubts": doubts}


def _table(
    gold_NC: Bools,
    present_NC: Bools,
    words_NC: Bools,
    groups: Sequence[str],
    *,
    averaged: np.ndarray,
    num_samples: int,
) -> list[Row]:
    """A row for each class that some report is coded with."""
    return [
        Row(
            name=name,
            scores=score(gold_NC[:, k], present_NC[:, k], groups, num_samples=num_samples),
            baseline=score(gold_NC[:, k], words_NC[:, k], groups, num_samples=num_samples),
            is_averaged=k in averaged,
        )
        for k, name in enumerate(CLASSES)
        if gold_NC[:, k].any()
    ]


def measure(data: Path, *, quick: bool) -> tuple[list[Figure], Callable[[], str]]:
    """The figures, and what writes the page."""
    num_samples = 50 if quick else 1000
    figures, phenomena = measure_probes(read_probes(data))
    placed = measure_placed(read_negex(data), "Negated", 0.95, num_samples=num_samples)
    placed += measure_placed(read_context(data), "Historical", 0.70, num_samples=num_samples)
    figures += [
        Figure(name="f1_" + row.name.lower().replace(", ", "_"), value=row.scores.f1.value, target=row.target)
        for row in placed
    ]
    reports = read_coded(data)
    reports = reports[::4] if quick else reports
    coded, shown = measure_coded(reports, num_samples=num_samples)
    figures += [*coded, measure_speed(reports, repeats=1 if quick else 3)]
    return figures, lambda: page(figures, phenomena=phenomena, placed=placed, shown=shown)


def main() -> None:
    """Measure, print, and keep the full run's figures and page."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("CALLOSUM_DATA"), help="folder of the packs")
    options = parser.parse_args()
    if options.data is None:
        parser.error("give the folder of the packs: --data, or CALLOSUM_DATA")
    figures, write = measure(Path(options.data), quick=options.quick)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("extract", figures)
        (ROOT / "docs" / "results" / "extraction.md").write_text(write(), encoding="utf-8")


if __name__ == "__main__":
    main()
