"""The pool of jailed processes that fills the pixel cache: one thread here for each process there."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from callosum.core.digest import digest_bytes
from callosum.core.errors import Refused
from callosum.data.jail import Jail, JailConfig
from callosum.data.poison import PoisonList
from callosum.data.sources import Source
from callosum.train.cache_worker import ENTRY, Square, SquareJob

MAX_WAITING = 64


class SquareReaders:
    """Reads sources in other processes. Use as a context manager, and iterate `squares`.

    Args:
        job: What the processes are told.
        num_processes: How many there are.
        jail: What reading one file may take before its process is replaced.
    """

    def __init__(self, job: SquareJob, *, num_processes: int, jail: JailConfig | None = None) -> None:
        self._job = job
        self._num_processes = num_processes
        self._jail_config = jail
        self._queue: queue.Queue[tuple[int, Square] | BaseException | None] = queue.Queue(MAX_WAITING)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._jails: set[Jail] = set()
        self._poison = PoisonList()

    def __enter__(self) -> SquareReaders:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        for jail in list(self._jails):
            jail.kill()
        while any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.05)

    def squares(self, sources: Sequence[Source]) -> Iterator[tuple[int, Square]]:
        """The number of each source and what became of it, in the order in which they are done."""
        numbers = iter(range(len(sources)))
        lock = threading.Lock()
        running = min(self._num_processes, len(sources))
        self._threads = [
            threading.Thread(target=self._run, args=(sources, numbers, lock), daemon=True) for _ in range(running)
        ]
        for thread in self._threads:
            thread.start()
        while running:
            found = self._queue.get()
            if found is None:
                running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found

    def _run(self, sources: Sequence[Source], numbers: Iterator[int], lock: threading.Lock) -> None:
        jail = None
        try:
            while not self._stopping.is_set():
                with lock:
                    number = next(numbers, None)
                if number is None:
                    break
                if jail is None or not jail.is_alive:
                    self._end(jail)
                    jail = Jail(ENTRY, self._job, config=self._jail_config, poison=self._poison)
                    self._jails.add(jail)
                self._put((number, self._ask(jail, sources[number])))
        except BaseException as error:  # it is raised again where the squares are read
            self._put(error)
        finally:
            self._end(jail)
            self._put(None)

    def _ask(self, jail: Jail, source: Source) -> Square:
        """What became of a source; a content on which a process was lost is not tried again."""
        place = replace(source, name="", text="", record_id="", patient_id="", study_id="", attributes={})
        try:
            square: Square = jail.call(place)
        except Refused as refused:
            digest = "" if jail.is_alive or self._stopping.is_set() else _digest(source)
            if digest:
                self._poison.add(digest, refused)
            return Square(digest=digest, refusal=(refused.answer, refused.reason, refused.sentence))
        return square

    def _end(self, jail: Jail | None) -> None:
        if jail is not None:
            self._jails.discard(jail)
            jail.stop()

    def _put(self, item: tuple[int, Square] | BaseException | None) -> None:
        while not self._stopping.is_set() or item is None:
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            else:
                return


def _digest(source: Source) -> str:
    """The digest of a file on which a process was lost: its bytes are read here, but not looked at."""
    try:
        return digest_bytes(source.read_bytes())
    except Refused:
        return ""
