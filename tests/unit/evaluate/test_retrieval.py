import numpy as np
import pytest

from callosum.core.errors import InputError
from callosum.evaluate.retrieval import first_relevant_rank, mean_reciprocal_rank, median_rank, recall_at


def test_ranks_by_hand() -> None:
    score = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.4], [0.3, 0.2, 0.1]])
    rank = first_relevant_rank(score, np.eye(3, dtype=bool))
    assert rank.tolist() == [1, 1, 3]
    assert recall_at(rank, 1) == pytest.approx(2 / 3)
    assert median_rank(rank) == 1.0
    assert mean_reciprocal_rank(rank) == pytest.approx((1 + 1 + 1 / 3) / 3)


def test_ties_are_not_luck() -> None:
    assert first_relevant_rank(np.ones((1, 5)), np.eye(5, dtype=bool)[:1]).tolist() == [5]


def test_the_best_of_several_relevant_rows_counts() -> None:
    relevant = np.array([[True, False, True]])
    assert first_relevant_rank(np.array([[0.1, 0.5, 0.9]]), relevant).tolist() == [1]


def test_a_query_without_a_relevant_row_is_refused() -> None:
    with pytest.raises(InputError):
        first_relevant_rank(np.ones((1, 2)), np.zeros((1, 2), bool))
