"""One picture from one file, decoded in a process that may be lost: what `callosum.read` is."""

from __future__ import annotations

import atexit
import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from callosum.core.digest import digest_bytes
from callosum.core.errors import Refused
from callosum.data.jail import Jail, JailConfig
from callosum.data.poison import PoisonList

if TYPE_CHECKING:
    from callosum.core.record import Image

_Question = tuple[str, int | None]


def read(path: Path | str, *, frame: int | None = None, jail: bool = True) -> Image:
    """Read one picture from a file.

    The file is decoded in a process of its own, which is started by the first call and kept: a decoder that crashes,
    hangs or takes too much memory costs that file its picture, and nothing else.

    Args:
        path: A regular file.
        frame: Frame of a multi-frame file, counted from 0; the middle one when not given.
        jail: False decodes here, without limits: for files of your own making, and where no process may be started.

    Raises:
        Refused: the file cannot be indexed; answer, code and sentence say why.
        UsageError: `frame` is not in the file.
        MissingDependency: the process could not start.
    """
    if not jail:
        from callosum.data.readers import read as read_here

        return read_here(path, frame=frame)
    return _shared().read(path, frame=frame)


class JailedReader:
    """Reads files in one warm jail, which is replaced when it is lost. Safe to use from several threads."""

    def __init__(self, config: JailConfig | None = None) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._poison = PoisonList()
        self._jail: Jail | None = None

    def read(self, path: Path | str, *, frame: int | None = None) -> Image:
        """Read one picture; see `read`."""
        question: _Question = (os.path.abspath(path), frame)  # noqa: PTH100 - a path may hold a zero byte
        with self._lock:
            try:
                return self._ask(question)
            except Refused as refused:
                if self._jail is None or not self._jail.was_killed:
                    self._remember(path, refused)
                    raise
            try:  # killed from outside: for the memory of the machine, or with the thread that started it
                return self._ask(question)
            except Refused as refused:
                self._remember(path, refused)
                raise

    def _ask(self, question: _Question) -> Image:
        if self._jail is None or not self._jail.is_alive:
            self._let_go()
            self._jail = Jail("callosum.data.read:answer_paths", config=self._config, poison=self._poison)
        image: Image = self._jail.call(question)
        return image

    def _remember(self, path: Path | str, refused: Refused) -> None:
        """Not to try again a content on which a process was lost."""
        if self._jail is not None and not self._jail.is_alive and (digest := digest_of(path)):
            self._poison.add(digest, refused)

    def close(self) -> None:
        """End the process; the next call starts another."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._jail is not None:
            self._jail.stop()
        self._jail = None


def answer_paths(_: None, poison: PoisonList) -> Callable[[_Question], Image]:
    """What a `Jail` asks for each path."""
    from callosum.data.readers import read_bytes, read_file

    def answer(question: _Question) -> Image:
        path, frame = question
        data = read_file(Path(path))
        digest = digest_bytes(data)
        poison.check(digest)
        image = read_bytes(data, frame=frame, digest=digest)
        return dataclasses.replace(image, attributes=dict(image.attributes), identifiers=dict(image.identifiers))

    return answer


def digest_of(path: Path | str) -> str:
    """SHA-256 of a file, empty when it cannot be opened: its bytes are read here, but not looked at."""
    from callosum.data.readers import read_file

    try:
        return digest_bytes(read_file(Path(path)))
    except Refused:
        return ""


_readers: dict[int, JailedReader] = {}


def _shared() -> JailedReader:
    """The reader of this process; a forked one gets its own, for two must not speak through one pipe."""
    here = os.getpid()
    if here not in _readers:
        _readers[here] = JailedReader()
        atexit.register(_readers[here].close)
    return _readers[here]
