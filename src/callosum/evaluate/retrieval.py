"""Ranks and what is read from them: Recall@k, median rank, mean reciprocal rank."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

from callosum.core.errors import InputError


def first_relevant_rank(
    score_QN: Float[np.ndarray, "Q N"], relevant_QN: Bool[np.ndarray, "Q N"]
) -> Int64[np.ndarray, " Q"]:
    """Rank, from 1, of the best-scored relevant row of each query; rows tied with it are counted before it.

    Raises:
        InputError: the shapes differ, a query has no relevant row, or a score is not a number.
    """
    if bool(np.isnan(score_QN).any()):
        message = "Scores must be numbers; found NaN."
        raise InputError(message)
    if score_QN.shape != relevant_QN.shape or not bool(relevant_QN.any(axis=1).all()):
        message = f"Every query needs a relevant row; found scores {score_QN.shape}, relevance {relevant_QN.shape}."
        raise InputError(message)
    best_Q = np.where(relevant_QN, score_QN, -np.inf).max(axis=1)
    above_QN = (score_QN >= best_Q[:, None]) & ~relevant_QN
    return above_QN.sum(axis=1).astype(np.int64) + 1


def recall_at(rank_Q: Int64[np.ndarray, " Q"], k: int) -> float:
    """Share of queries whose first relevant row is among the first `k`."""
    return float(np.mean(rank_Q <= k))


def median_rank(rank_Q: Int64[np.ndarray, " Q"]) -> float:
    """Median rank of the first relevant row."""
    return float(np.median(rank_Q))


def mean_reciprocal_rank(rank_Q: Int64[np.ndarray, " Q"]) -> float:
    """Mean of one over the rank."""
    return float(np.mean(1.0 / rank_Q))
