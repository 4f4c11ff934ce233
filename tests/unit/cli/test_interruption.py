"""Ctrl-C inside a callback whose exceptions Python drops."""

import signal
import sys

import pytest

from callosum.cli.interruption import Interruption


class AsksToEnd:
    """A finalizer stands for any callback of a C library: what it raises is reported and forgotten."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_dropped_interrupt_is_raised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: dropped.append(args.exc_type))
    with Interruption() as interruption:
        interruption.check()
        AsksToEnd()
        assert dropped == [KeyboardInterrupt]  # without `check` the program would go on
        with pytest.raises(KeyboardInterrupt):
            interruption.check()


def test_an_interrupt_is_still_raised_where_it_can_be_and_the_handler_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interruption():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
