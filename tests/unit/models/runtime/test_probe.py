from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import Tensor

from callosum.core.errors import UsageError
from callosum.models.runtime.precision import Op, Path, PathReport, Precision, Runtime, RuntimeReport
from callosum.models.runtime.probe import ERROR_BOUND, Trial, judge, plain, probe_here

EXACT = torch.ones(4, dtype=torch.float64)


class Clock:
    """A clock that only runs try by try."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def run(self, took: float, value: float = 1.0) -> Callable[[], Tensor]:
        def run() -> Tensor:
            self.now += took
            return torch.full((4,), value)

        return run


def judged(clock: Clock, others: dict[Path, Callable[[], Callable[[], Tensor]]]) -> PathReport:
    trial = Trial(op=Op.LINEAR, plain=clock.run(2.0), others=others, exact=EXACT)
    return judge(trial, 1e-5, clock=clock)


def test_the_fastest_right_path_is_taken() -> None:
    clock = Clock()
    found = judged(
        clock,
        {
            Path.PACKED: lambda: clock.run(1.0),
            Path.SWITCHED: lambda: clock.run(1.5),
            Path.FUSED: lambda: clock.run(0.1, value=1.001),
        },
    )
    assert (found.path, found.ratio, found.error) == (Path.PACKED, 2.0, 0.0)
    assert "switched 1.33 times plain" in found.why
    assert "fused wrong by 1.0e-03, more than 1e-05" in found.why


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.0001])
def test_what_is_wrong_is_never_taken(value: float) -> None:
    clock = Clock()
    found = judged(clock, {Path.PACKED: lambda: clock.run(0.01, value=value)})
    assert found.path is Path.PLAIN
    assert "packed wrong" in found.why


def test_a_narrow_lead_takes_more_rounds_so_that_a_disturbed_one_does_not_decide() -> None:
    clock, calls = Clock(), 0

    def run() -> Tensor:
        nonlocal calls
        calls += 1
        clock.now += 1.8 if calls > 8 else 2.5
        return torch.ones(4)

    found = judged(clock, {Path.PACKED: lambda: run})
    assert (found.path, found.ratio) == (Path.PACKED, 1.111)
    assert calls == 16, "once to compare, then every round there is"


def test_a_clear_lead_takes_few_rounds() -> None:
    clock, calls = Clock(), 0

    def run() -> Tensor:
        nonlocal calls
        calls += 1
        clock.now += 1.0
        return torch.ones(4)

    assert judged(clock, {Path.PACKED: lambda: run}).path is Path.PACKED
    assert calls == 4


def test_what_is_no_faster_is_not_taken() -> None:
    clock = Clock()
    found = judged(clock, {Path.PACKED: lambda: clock.run(1.99)})
    assert (found.path, found.ratio) == (Path.PLAIN, 1.0)


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_what_torch_does_not_offer_is_not_taken(error: type[Exception]) -> None:
    def missing() -> Callable[[], Tensor]:
        raise error

    found = judged(Clock(), {Path.PACKED: missing})
    assert found.path is Path.PLAIN
    assert error.__name__ in found.why


@pytest.mark.parametrize("precision", list(ERROR_BOUND))
def test_every_operation_is_tried_here_once(precision: Precision) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    report = probe_here(precision)
    assert report is probe_here(precision)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert [path.op for path in report.paths] == list(Op)
    assert (report.runtime, report.precision, report.version) == (Runtime.TORCH, precision, torch.__version__)
    for path in report.paths:
        assert path.error <= ERROR_BOUND[precision]
        assert path.ratio >= 1.0
        assert path.why
        assert report.path(path.op) is path.path


def test_the_report_is_a_small_frozen_value() -> None:
    report = plain(Precision.FP32)
    assert report.path(Op.LINEAR) is Path.PLAIN
    assert report.to_json() == {"runtime": "torch", "version": torch.__version__, "precision": "fp32", "paths": ()}
    with pytest.raises(FrozenInstanceError):
        report.precision = Precision.BF16
    assert isinstance(hash(probe_here(Precision.FP32)), int)
    assert isinstance(report, RuntimeReport)


def test_int8_depends_on_the_weights() -> None:
    with pytest.raises(UsageError, match="found int8"):
        probe_here(Precision.INT8)
