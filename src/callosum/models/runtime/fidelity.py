"""How far a fast tower is from the slow one, on the caller's own weights and inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from callosum.core.errors import InputError, UsageError
from callosum.models.runtime.precision import Precision

COSINE_BOUND = {Precision.FP32: 0.999999, Precision.BF16: 0.9995, Precision.INT8: 0.9995}
"""Least cosine to the plain float32 vectors that a precision has to keep, of every row."""

Rows = Callable[..., Any]
"""A tower: what it takes to rows, as an array or a tensor."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """Cosines between the vectors of two towers.

    Attributes:
        min_cosine: Of the worst row.
        mean_cosine: Over the rows.
        max_abs: Largest difference of a coordinate, of unit vectors.
        num_rows: How many were compared.
        bound: What `min_cosine` has to reach.
    """

    min_cosine: float
    mean_cosine: float
    max_abs: float
    num_rows: int
    bound: float

    @property
    def passed(self) -> bool:
        """Whether every row reaches the bound."""
        return self.min_cosine >= self.bound


def fidelity(reference: Rows, candidate: Rows, inputs: Iterable[Any], *, bound: float = 0.9995) -> Fidelity:
    """Compare two towers on batches of inputs; a batch is what a tower takes, several arguments as a tuple.

    Raises:
        InputError: no rows to compare, or rows of two shapes.
    """
    cosines, gaps = [np.empty(0)], [0.0]
    for batch in inputs:
        arguments = batch if isinstance(batch, tuple) else (batch,)
        expected_BD, found_BD = _unit(reference(*arguments)), _unit(candidate(*arguments))
        if expected_BD.shape != found_BD.shape:
            message = f"Both towers should give rows {list(expected_BD.shape)}; found {list(found_BD.shape)}."
            raise InputError(message)
        cosines.append((expected_BD * found_BD).sum(axis=1))
        gaps.append(float(np.abs(expected_BD - found_BD).max(initial=0.0)))
    cosine_N = np.concatenate(cosines)
    if not len(cosine_N):
        message = "Fidelity is measured on at least one input; found none."
        raise InputError(message, hint="Give some of the pictures or texts that will be encoded.")
    # A row that is not a number is as far away as can be.
    cosine_N = np.nan_to_num(cosine_N, nan=-1.0)
    return Fidelity(
        min_cosine=float(cosine_N.min()),
        mean_cosine=float(cosine_N.mean()),
        max_abs=max(gaps),
        num_rows=len(cosine_N),
        bound=bound,
    )


def require(found: Fidelity, what: str) -> None:
    """Refuse what did not pass.

    Raises:
        UsageError: a row is further from float32 than the bound allows.
    """
    if found.passed:
        return
    message = (
        f"{what} has to keep a cosine of {found.bound:g} to float32; found {found.min_cosine:.6f} at worst and "
        f"{found.mean_cosine:.6f} on average over {found.num_rows} rows."
    )
    raise UsageError(message, hint="Use bf16 or fp32 with these weights.")


def _unit(rows: Any) -> Float[np.ndarray, "B D"]:
    """Unit rows in float64."""
    array = rows.detach().float().numpy() if hasattr(rows, "detach") else np.asarray(rows)
    array = array.astype(np.float64)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-12)
