"""Ctrl-C that cannot get lost: Python drops a KeyboardInterrupt that is raised inside a callback of a C library."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any


class Interruption:
    """While it is entered, SIGINT is remembered as well as raised; `check` raises it again."""

    def __init__(self) -> None:
        self._is_asked = False
        self._before: Any = None

    def __enter__(self) -> Interruption:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._is_asked = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if the user has asked for the end."""
        if self._is_asked:
            raise KeyboardInterrupt
