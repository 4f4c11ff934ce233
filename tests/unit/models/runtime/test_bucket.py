from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosum.core.errors import UsageError
from callosum.models.runtime.bucket import CALL_TOKENS, bucketed, chunked

IDS = st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=24)


@given(IDS, st.integers(1, 5))
def test_outputs_come_back_in_the_order_of_the_input(ids: list[list[int]], batch_size: int) -> None:
    plan = bucketed(ids, batch_size=batch_size)
    encoded = [ids[n] for batch in plan.batches for n in batch]
    assert [encoded[row] for row in plan.restore_N] == ids
    assert len({tuple(row) for row in encoded}) == len(encoded), "no text is encoded twice"
    assert all(1 <= len(batch) <= batch_size for batch in plan.batches)
    assert plan.restore_N.shape == (len(ids),)


def cost(lengths: list[int], cuts: list[int]) -> int:
    ends = [0, *cuts, len(lengths)]
    return sum(CALL_TOKENS + (b - a) * lengths[b - 1] for a, b in pairwise(ends))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(1, 4))
def test_no_other_cut_costs_less(lengths: list[int], batch_size: int) -> None:
    ids = [[n] * length for n, length in enumerate(lengths)]
    plan = bucketed(ids, batch_size=batch_size)
    found = sum(CALL_TOKENS + len(batch) * max(lengths[n] for n in batch) for batch in plan.batches)
    ordered, every = sorted(lengths), []
    for choice in product((False, True), repeat=len(lengths) - 1):
        cuts = [n + 1 for n, is_cut in enumerate(choice) if is_cut]
        ends = [0, *cuts, len(ordered)]
        if all(b - a <= batch_size for a, b in pairwise(ends)):
            every.append(cost(ordered, cuts))
    assert found == min(every)


@given(IDS, st.integers(1, 20))
def test_chunks_hold_so_many_tokens(ids: list[list[int]], max_tokens: int) -> None:
    plan = chunked(ids, max_tokens=max_tokens)
    encoded = [ids[n] for batch in plan.batches for n in batch]
    assert [encoded[row] for row in plan.restore_N] == ids
    assert len({tuple(row) for row in encoded}) == len(encoded)
    sizes = [[len(ids[n]) for n in batch] for batch in plan.batches]
    assert all(sum(size) <= max_tokens or len(size) == 1 for size in sizes)
    total = sum(map(sum, sizes))
    share = total / max(1, -(-total // max_tokens))
    ends = [(sum(size), after[0]) for size, after in pairwise(sizes)]
    assert all(s + a > max_tokens or s + a / 2 > share for s, a in ends), "no batch is cut too early"


def test_chunks_are_shared_out_among_threads_where_that_pays() -> None:
    ids = [[n, *range(39)] for n in range(40)]  # 1600 tokens
    sizes = {threads: [40 * len(b) for b in chunked(ids, num_threads=threads).batches] for threads in (1, 4, 64)}
    assert sizes == {1: [800, 800], 4: [400] * 4, 64: [280, 280, 280, 280, 280, 200]}
    assert [len(batch) for batch in chunked(ids[:5], num_threads=4).batches] == [5]


def test_texts_of_one_length_share_a_batch_and_long_ones_do_not_pad_short_ones() -> None:
    plan = bucketed([[1] * 200, [2] * 20, [3] * 20, [2] * 20, [4] * 21])
    assert plan.batches == ((1, 2, 4), (0,))
    assert plan.restore_N.tolist() == [3, 0, 1, 0, 2]


def test_a_fixed_length_saves_only_repetition() -> None:
    plan = bucketed([[1] * 9, [2], [2], [3] * 50], pad_length=64, batch_size=8)
    assert plan.batches == ((0, 1, 3),)
    assert plan.restore_N.tolist() == [0, 1, 1, 2]


def test_nothing_to_encode() -> None:
    plan = bucketed([])
    assert plan.batches == ()
    assert plan.restore_N.dtype == np.intp


def test_a_batch_holds_a_text() -> None:
    with pytest.raises(UsageError, match="found batch_size 0"):
        bucketed([[1]], batch_size=0)
