"""What a jail is asked in tests: each question is something that a decoder might do."""

import ctypes
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from callosum.core.errors import UsageError
from callosum.data.poison import PoisonList


class Panic(BaseException):
    """What a plugin in Rust raises: no `Exception`."""


class Evil:
    """Runs something where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.putenv, ("CALLOSUM_EVIL",)


def answer_traps(argument: object, poison: PoisonList) -> Callable[[tuple[str, Any]], object]:
    """A function of this class for every question."""
    traps = _Traps(argument, poison)
    return lambda question: getattr(traps, question[0])(question[1])


class _Traps:
    def __init__(self, argument: object, poison: PoisonList) -> None:
        self._argument, self._poison = argument, poison

    def echo(self, value: object) -> object:
        return value

    def argument(self, _: object) -> object:
        return self._argument

    def pid(self, _: object) -> int:
        return os.getpid()

    def crash(self, number: int) -> None:
        os.kill(os.getpid(), number)

    def abort(self, _: object) -> None:
        ctypes.CDLL(None).abort()

    def hang(self, _: object) -> None:
        time.sleep(60)

    def spin(self, _: object) -> None:
        while True:
            pass

    def eat(self, num_bytes: int) -> int:
        return int(np.ones(num_bytes, np.uint8).sum())

    def panic(self, words: str) -> None:
        raise Panic(words)

    def usage(self, words: str) -> None:
        raise UsageError(words)

    def evil(self, _: object) -> Evil:
        return Evil()

    def network(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    def core(self, _: object) -> tuple[int, int]:
        return resource.getrlimit(resource.RLIMIT_CORE)

    def write(self, path: str) -> int:
        try:
            with Path(path).open("wb") as stream:
                for _ in range(8):
                    stream.write(bytes(1 << 20))
        except OSError:
            pass
        return Path(path).stat().st_size

    def poisoned(self, digest: str) -> None:
        self._poison.check(digest)

    def threads(self, _: object) -> int:
        return threading.active_count()

    def interrupted(self, _: object) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "still here"
