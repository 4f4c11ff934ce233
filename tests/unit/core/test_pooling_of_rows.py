import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from callosum.core.embedding import unit_rows
from callosum.core.errors import InputError, UsageError
from callosum.core.pooling import GatedAttention, Pooling, pool, pool_groups

EVERY = st.sampled_from(list(Pooling))
SEEDS = st.integers(0, 2**32 - 1)


def rows(seed: int, num: int, width: int = 5) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(num, width)).astype(np.float32))


@given(SEEDS, st.integers(1, 30), EVERY, st.booleans())
def test_order_does_not_matter_and_the_norm_is_one(seed: int, num: int, by: Pooling, has_query: bool) -> None:
    rows_ND = rows(seed, num)
    query = rows(seed + 1, 1)[0] if has_query else None
    pooled = pool(rows_ND, by=by, query=query)
    shuffled = pool(np.random.default_rng(seed).permutation(rows_ND), by=by, query=query)
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(pooled), 1, atol=1e-6)
    np.testing.assert_allclose(shuffled, pooled, atol=1e-6)


@given(SEEDS, EVERY)
def test_one_row_is_itself(seed: int, by: Pooling) -> None:
    np.testing.assert_allclose(pool(rows(seed, 1), by=by), rows(seed, 1)[0], atol=1e-6)


@given(SEEDS, st.integers(1, 40), st.integers(1, 6), EVERY, st.booleans())
def test_groups_are_pooled_as_if_each_were_alone(seed: int, num: int, most: int, by: Pooling, has_query: bool) -> None:
    rows_ND = rows(seed, num)
    query = rows(seed + 1, 1)[0] if has_query else None
    groups_N = np.unique(np.random.default_rng(seed).integers(0, most, num), return_inverse=True)[1]
    pooled_GD = pool_groups(rows_ND, groups_N, by=by, query=query)
    for group, pooled in enumerate(pooled_GD):
        np.testing.assert_allclose(pooled, pool(rows_ND[groups_N == group], by=by, query=query), atol=1e-6)


def test_each_rule_is_what_it_says() -> None:
    rows_ND = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], np.float32)
    np.testing.assert_allclose(pool(rows_ND, by=Pooling.MEAN), np.array([1, 2, 0]) / 5**0.5, atol=1e-6)
    np.testing.assert_allclose(pool(rows_ND, by=Pooling.MAX), np.array([1, 1, 0]) / 2**0.5, atol=1e-6)
    query = np.array([2, 0, 0], np.float32)  # its length does not matter
    weights = np.exp(np.array([2.0, 0, 0]))
    expected = weights / weights.sum() @ rows_ND
    found = pool(rows_ND, by=Pooling.ATTENTION, query=query, temperature=0.5)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


@given(SEEDS, st.integers(2, 20))
def test_attention_lies_between_the_mean_and_the_nearest_row(seed: int, num: int) -> None:
    rows_ND, query = rows(seed, num), rows(seed + 1, 1)[0]
    hot = pool(rows_ND, by=Pooling.ATTENTION, query=query, temperature=1e9)
    np.testing.assert_allclose(hot, pool(rows_ND, by=Pooling.MEAN), atol=1e-5)
    cold = pool(rows_ND, by=Pooling.ATTENTION, query=query, temperature=1e-9)
    np.testing.assert_allclose(cold, rows_ND[np.argmax(rows_ND.astype(np.float64) @ query)], atol=1e-5)


def test_attention_without_a_query_weighs_an_outlier_down() -> None:
    rows_ND = unit_rows(np.array([[1, 0.1, 0], [1, -0.1, 0], [1, 0, 0.1], [0, 0, -1]], np.float32))
    mean, attention = (pool(rows_ND, by=by) for by in (Pooling.MEAN, Pooling.ATTENTION))
    assert attention @ rows_ND[3] < mean @ rows_ND[3]


@given(SEEDS, EVERY)
def test_rows_that_cancel_still_give_one_unit_row(seed: int, by: Pooling) -> None:
    half = rows(seed, 3)
    rows_ND = np.concatenate([half, -half])
    pooled, again = pool(rows_ND, by=by), pool(rows_ND[::-1], by=by)
    np.testing.assert_allclose(np.linalg.norm(pooled), 1, atol=1e-6)
    np.testing.assert_allclose(pooled, again, atol=1e-6)


def test_a_maximum_of_zeros_is_stood_for_by_a_row() -> None:
    rows_ND = np.array([[0, -1], [-1, 0]], np.float32)
    np.testing.assert_array_equal(pool(rows_ND, by=Pooling.MAX), [-1, 0])


@settings(max_examples=50)
@given(arrays.arrays(np.float32, (4, 3), elements=st.floats(-1, 1, width=32)), EVERY)
def test_any_finite_rows_pool_to_finite_rows(rows_ND: np.ndarray, by: Pooling) -> None:
    pooled = pool(rows_ND, by=by)
    assert np.isfinite(pooled).all()


def test_what_does_not_fit_is_refused() -> None:
    rows_ND = rows(0, 3)
    with pytest.raises(InputError, match="at least 1"):
        pool(rows_ND[:0], by=Pooling.MEAN)
    with pytest.raises(InputError, match="not finite"):
        pool(rows_ND * np.float32(np.nan), by=Pooling.MEAN)
    with pytest.raises(InputError, match="numbered from 0"):
        pool_groups(rows_ND, np.array([0, 2, 2]), by=Pooling.MEAN)
    with pytest.raises(InputError, match="A query"):
        pool(rows_ND, by=Pooling.ATTENTION, query=np.zeros(5, np.float32))
    with pytest.raises(UsageError, match="temperature"):
        pool(rows_ND, by=Pooling.ATTENTION, temperature=0.0)


def gated(seed: int, hidden: int = 4, width: int = 5) -> GatedAttention:
    rng = np.random.default_rng(seed)
    shapes = ((hidden, width), (hidden, width), (hidden,))
    content, gate, score = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return GatedAttention(content_LD=content, gate_LD=gate, score_L=score)


@given(SEEDS, st.integers(1, 20))
def test_gated_attention(seed: int, num: int) -> None:
    rows_ND, attention = rows(seed, num), gated(seed)
    scores = []
    for row in rows_ND.astype(np.float64):  # equation 9, written out
        gate = 1 / (1 + np.exp(-attention.gate_LD @ row))
        scores.append(attention.score_L @ (np.tanh(attention.content_LD @ row) * gate))
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(attention.weights(rows_ND), expected, atol=1e-9)
    pooled = attention.pool(rows_ND)
    np.testing.assert_allclose(np.linalg.norm(pooled), 1, atol=1e-6)
    np.testing.assert_allclose(attention.pool(rows_ND[::-1]), pooled, atol=1e-6)


def test_gated_attention_refuses_what_does_not_fit() -> None:
    good = gated(0)
    with pytest.raises(InputError, match="weights"):
        GatedAttention(content_LD=good.content_LD, gate_LD=good.gate_LD[:2], score_L=good.score_L)
    with pytest.raises(InputError, match="rows of 5"):
        good.weights(rows(0, 3, width=7))
