import numpy as np
import pytest

from callosum.core.errors import InputError
from callosum.evaluate.bootstrap import bootstrap


def test_the_interval_of_a_mean_has_its_textbook_width() -> None:
    values = np.random.default_rng(0).normal(size=400)
    interval = bootstrap(lambda rows: float(values[rows].mean()), 400, rng=np.random.default_rng(1))
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval.num_rows == 400


def test_whole_groups_are_drawn() -> None:
    values = np.repeat([0.0, 1.0], 50)
    groups = ["a"] * 50 + ["b"] * 50
    interval = bootstrap(lambda rows: float(values[rows].mean()), 100, rng=np.random.default_rng(1), groups=groups)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_undefined_resamples_are_left_out_and_rows_are_needed() -> None:
    interval = bootstrap(lambda rows: float("nan") if rows[0] else 1.0, 3, rng=np.random.default_rng(0))
    assert (interval.low, interval.high) == (1.0, 1.0)
    with pytest.raises(InputError):
        bootstrap(lambda rows: 0.0, 0, rng=np.random.default_rng(0))


def test_the_same_generator_gives_the_same_interval() -> None:
    values = np.arange(30.0)
    first, second = (
        bootstrap(lambda rows: float(values[rows].mean()), 30, rng=np.random.default_rng(3)) for _ in range(2)
    )
    assert first == second
