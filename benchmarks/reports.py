"""How well and how fast reports are divided into sections.

A section that was found is right when its kind and both of its boundaries are, after white space is trimmed. `loose`
counts a section of the right kind whose span overlaps the right one by nine tenths of both together.

Run it with `CALLOSUM_DATA=... python -m benchmarks.reports [--quick] [--json]`; without the data packs only the made-up
reports are measured.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure, arguments, save, show
from benchmarks.report_styles import STYLES, Span, make_reports
from callosum.data.report import parse_report

KINDS = ("exam", "indication", "comparison", "findings", "impression")
Key = tuple[str, str]


@dataclass
class Tally:
    """Counts of sections by style and kind."""

    right: Counter[Key] = field(default_factory=Counter)
    wrong: Counter[Key] = field(default_factory=Counter)
    missed: Counter[Key] = field(default_factory=Counter)
    loose: int = 0

    @property
    def styles(self) -> list[str]:
        """The styles that were met."""
        return sorted({style for style, _ in self.right | self.missed})

    def f1(self, *, style: str = "", kind: str = "") -> float:
        """F1 of all sections, of one style, or of one kind."""
        totals = []
        for counts in (self.right, self.wrong, self.missed):
            totals.append(sum(n for (s, k), n in counts.items() if s in (style or s) and k == (kind or k)))
        right, wrong, missed = totals
        return 2 * right / max(1, 2 * right + wrong + missed)

    def loose_f1(self) -> float:
        """F1 that forgives a tenth of a section's length."""
        found = self.right.total() + self.wrong.total()
        return 2 * self.loose / max(1, found + self.right.total() + self.missed.total())


def gold_sections(row: Mapping[str, object]) -> list[Span]:
    """Where the sections of a row are in its `rendered_text`: they are set there in order, word for word."""
    text, spans, at = str(row["rendered_text"]), [], 0
    for kind in KINDS:
        said = row[kind]
        if isinstance(said, str) and said.strip():
            start = text.index(said.strip(), at)
            at = start + len(said.strip())
            spans.append((kind, start, at))
    return spans


def score(reports: Iterable[tuple[str, str, list[Span]]]) -> Tally:
    """Compare what is found with what is right; `reports` are style, text and spans."""
    tally = Tally()
    for style, text, spans in reports:
        found = {(str(s.kind), s.start, s.end) for s in parse_report(text).sections if s.end > s.start}
        right = set(spans)
        tally.right.update((style, kind) for kind, _, _ in found & right)
        tally.wrong.update((style, kind) for kind, _, _ in found - right)
        tally.missed.update((style, kind) for kind, _, _ in right - found)
        tally.loose += sum(any(_overlap(one, other) >= 0.9 for other in found) for one in right)
    return tally


def _overlap(one: Span, other: Span) -> float:
    """Intersection over union of two spans of one kind."""
    both = min(one[2], other[2]) - max(one[1], other[1])
    return 0.0 if one[0] != other[0] else both / (max(one[2], other[2]) - min(one[1], other[1]))


def _iu_figures(rows: list[dict[str, object]]) -> list[Figure]:
    tally = score((str(row["rendered_style"]), str(row["rendered_text"]), gold_sections(row)) for row in rows)
    figures = [
        Figure(name="iu_f1", value=tally.f1(), target=0.98),
        Figure(name="iu_f1_loose", value=tally.loose_f1(), target=0.98),
    ]
    figures += [Figure(name=f"iu_f1_{style}", value=tally.f1(style=style), target=0.98) for style in tally.styles]
    return figures + [Figure(name=f"iu_f1_{kind}", value=tally.f1(kind=kind), target=0.98) for kind in KINDS]


def _speed(texts: list[str]) -> Figure:
    """Reports per second of processor time, the best of three."""
    times = []
    for _ in range(3):
        start = time.process_time()
        for text in texts:
            parse_report(text)
        times.append(time.process_time() - start)
    return Figure(name="reports_per_s", value=len(texts) / min(times), target=2000, unit="1/s")


def measure(*, count: int) -> list[Figure]:
    """The figures; `count` reports of every made-up style."""
    made = [(name, *report) for name, style in STYLES.items() for report in make_reports(style, count=count, seed=5)]
    tally = score(made)
    lowest = min(STYLES, key=lambda name: tally.f1(style=name))
    figures = [
        Figure(name="made_f1", value=tally.f1(), target=0.98),
        Figure(name=f"made_f1_lowest ({lowest})", value=tally.f1(style=lowest), target=0.98),
        Figure(name="made_styles", value=len(STYLES)),
    ]
    path = Path(os.environ.get("CALLOSUM_DATA", "")) / "iu_reports" / "reports.parquet"
    texts = [text for _, text, _ in made][:3000]
    if path.exists():
        from pyarrow import parquet

        rows = parquet.read_table(path).to_pylist()
        figures += _iu_figures(rows)
        texts = [str(row["rendered_text"]) for row in rows]
    return [*figures, _speed(texts)]


def main() -> None:
    """Measure, print, and keep the full run's figures."""
    options = arguments(__doc__).parse_args()
    figures = measure(count=20 if options.quick else 200)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("reports", figures)


if __name__ == "__main__":
    main()
