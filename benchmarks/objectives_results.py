"""The figures of the comparison as the page reads them: by method, share of the pairs and seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.objectives_plot import Point


class Results:
    """Figures of runs by method and share."""

    def __init__(self, value: dict[str, Any]) -> None:
        self.value = value
        self.titles: dict[str, str] = value["methods"]

    def runs(self, method: str, share: float = 1.0) -> list[dict[str, Any]]:
        """The runs of a method with a share of the pairs."""
        return [run for run in self.value["runs"] if run["method"] == method and run["share"] == share]

    def seeds(self, method: str, figure: str, share: float = 1.0) -> list[float]:
        """A figure of every seed."""
        if figure not in self.value["figures"]:
            return []
        at = self.value["figures"].index(figure)
        return [run["values"][at] for run in self.runs(method, share) if run["values"][at] is not None]

    def point(self, method: str, figure: str, share: float = 1.0) -> Point | None:
        """Mean and standard deviation over seeds."""
        return spread(self.seeds(method, figure, share))

    def logged(self, method: str, term: str) -> Point | None:
        """A term of the log, averaged over the last steps of a run."""
        return spread([run["logged"][term] for run in self.runs(method) if term in run["logged"]])

    def random(self, figure: str) -> Point | None:
        """A figure of the weights that runs begin with."""
        return spread([each[figure] for each in self.value["references"]["random"] if figure in each])

    @property
    def done(self) -> list[str]:
        """Methods with a run on all pairs."""
        return [name for name in self.titles if self.runs(name)]


def spread(values: Sequence[float]) -> Point | None:
    """Mean and standard deviation (of a sample; 0 for one value)."""
    if not values:
        return None
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Point(mean=float(np.mean(values)), sd=sd, num=len(values))


def shown(point: Point | None, digits: int = 3) -> str:
    """As a cell."""
    if point is None:
        return ""
    return f"{point.mean:.{digits}f}" + (f" ± {point.sd:.{digits}f}" if point.num > 1 else " (one seed)")


def verdict(claim: dict[str, Any]) -> str:
    """What an interval and the seeds say: a difference is one when both agree."""
    if claim["low"] > 0 and min(claim["seeds"]) > 0:
        return "better"
    return "worse" if claim["high"] < 0 and max(claim["seeds"]) < 0 else "no difference shown"
