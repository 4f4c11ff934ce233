"""Balanced accuracy and AUROC."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from callosum.core.errors import InputError


def balanced_accuracy(true_N: Int[np.ndarray, " N"], predicted_N: Int[np.ndarray, " M"]) -> float:
    """Mean over the classes present in `true_N` of the share that was predicted right; NaN without rows.

    Raises:
        InputError: the two arrays differ in length.
    """
    if len(true_N) != len(predicted_N):
        message = f"As many predictions as labels are needed; found {len(predicted_N)} and {len(true_N)}."
        raise InputError(message)
    if len(true_N) == 0:
        return float("nan")
    hit_N = true_N == predicted_N
    return float(np.mean([hit_N[true_N == label].mean() for label in np.unique(true_N)]))


def auroc(positive_N: Bool[np.ndarray, " N"], score_N: Float[np.ndarray, " N"]) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN when one side is empty.

    Mann-Whitney: Hanley and McNeil 1982.

    Raises:
        InputError: the arrays differ in length, or a score is not a number.
    """
    positive_N = np.asarray(positive_N, dtype=bool)
    if len(positive_N) != len(score_N) or bool(np.isnan(score_N).any()):
        message = f"{len(positive_N)} labels need as many scores, each a number; found {len(score_N)}."
        raise InputError(message)
    num_positive = int(positive_N.sum())
    num_negative = len(positive_N) - num_positive
    if num_positive == 0 or num_negative == 0:
        return float("nan")
    _, inverse_N, count = np.unique(score_N, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mid_rank_N = (last - (count - 1) / 2.0)[inverse_N]
    rank_sum = float(mid_rank_N[positive_N].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)
