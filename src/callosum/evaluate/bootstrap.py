"""Percentile bootstrap (Efron 1979): resample rows, or whole groups when rows of one patient hang together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from callosum.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A measured value with its bootstrap interval.

    Attributes:
        value: The measure on all rows.
        low: Lower bound.
        high: Upper bound.
        num_rows: Rows measured.
    """

    value: float
    low: float
    high: float
    num_rows: int

    def __str__(self) -> str:
        """Value and bounds with three decimals."""
        return f"{self.value:.3f} ({self.low:.3f}-{self.high:.3f})"


def bootstrap(
    measure: Callable[[Int64[np.ndarray, " N"]], float],
    num_rows: int,
    *,
    rng: np.random.Generator,
    groups: Sequence[str] | None = None,
    num_samples: int = 1000,
    confidence_level: float = 0.95,
) -> Interval:
    """Measure all rows, then `num_samples` resamples.

    Args:
        measure: Takes row numbers (with repeats) and returns the measure on them; NaN resamples are left out.
        num_rows: Number of rows.
        rng: Source of the resamples.
        groups: Group of each row; whole groups are drawn when given.
        num_samples: Resamples.
        confidence_level: Mass inside the interval.

    Raises:
        InputError: no rows, or as many groups as rows are not given.
    """
    if num_rows < 1 or (groups is not None and len(groups) != num_rows):
        message = f"A bootstrap needs rows and one group per row; found {num_rows} rows."
        raise InputError(message)
    members = _members(groups, num_rows)
    values = np.empty(num_samples)
    for n in range(num_samples):
        drawn = rng.integers(0, len(members), len(members))
        rows = np.concatenate([members[d] for d in drawn]) if groups is not None else drawn
        values[n] = measure(rows)
    tail = (1.0 - confidence_level) / 2
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [tail, 1.0 - tail]) if len(finite) else (np.nan, np.nan)
    value = float(measure(np.arange(num_rows)))
    return Interval(value=value, low=float(low), high=float(high), num_rows=num_rows)


def _members(groups: Sequence[str] | None, num_rows: int) -> list[Int64[np.ndarray, " M"]]:
    if groups is None:
        return [np.array([n]) for n in range(num_rows)]
    by_group: dict[str, list[int]] = {}
    for n, group in enumerate(groups):
        by_group.setdefault(group, []).append(n)
    return [np.array(rows) for rows in by_group.values()]
