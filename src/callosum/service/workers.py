"""The pool of reading processes.

One thread here for each process there: it hands over a source, waits as long as one file may take, and replaces a
process that died or hung, so that such a file gets an answer and the run goes on. Results wait in a short queue; when
it is full, reading waits for the encoder, which is why memory does not grow with the number of files.
"""

from __future__ import annotations

import contextlib
import heapq
import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from callosum.core.cores import num_cores
from callosum.core.digest import digest_bytes
from callosum.core.errors import Refused
from callosum.core.record import Answer
from callosum.data.jail import Jail, JailConfig
from callosum.data.poison import PoisonList
from callosum.data.sources import Source
from callosum.service.outcome import Expanded, Job, Outcome, Walked, unreadable
from callosum.service.worker import ENTRY

QUEUE_LENGTH = 128
NUM_AHEAD = 4
MAX_TEXT_AHEAD = 1 << 13
"""A longer text waits for its turn: both ends would block if sources and results outgrew the socket's buffer."""
POLL_S = 0.2
MAX_OUT_OF_ORDER = 64
"""Outcomes that wait for an earlier one: as many pictures are held in memory at most."""


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """How files are read."""

    num_workers: int = num_cores()
    """Processes; while the encoder computes they wait for room in the queue, so they take no core from it for long."""
    jail: JailConfig = field(default_factory=JailConfig)
    """What reading one file may take before its process is replaced."""


class Workers:
    """Reads sources in other processes. Use as a context manager, and iterate `results`."""

    def __init__(self, job: Job, config: WorkersConfig | None = None) -> None:
        self._job = job
        self._config = config or WorkersConfig()
        self._queue: queue.Queue[tuple[int, Outcome] | BaseException | None] = queue.Queue(QUEUE_LENGTH)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._jails: set[Jail] = set()
        self._poison = PoisonList()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        for jail in list(self._jails):
            jail.kill()
        while any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.05)

    def results(self, sources: Iterable[Source]) -> Iterator[Outcome]:
        """What became of each source, in their order, so that a run repeated gives the same rows.

        A source that takes long does not hold up more than `MAX_OUT_OF_ORDER` others.
        """
        waiting = _Waiting(sources, self._stopping)
        self._threads = [
            threading.Thread(target=self._run, args=(waiting,), daemon=True) for _ in range(self._config.num_workers)
        ]
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        early: list[tuple[int, Outcome]] = []
        next_number = 0
        while running:
            item = self._queue.get()
            if item is None:
                running -= 1
                continue
            if isinstance(item, BaseException):
                raise item
            heapq.heappush(early, item)
            while early and (early[0][0] <= next_number or len(early) > MAX_OUT_OF_ORDER):
                number, outcome = heapq.heappop(early)
                next_number = max(next_number, number + 1)
                yield outcome
        yield from (outcome for _, outcome in sorted(early))

    def _run(self, waiting: _Waiting) -> None:
        jail = None
        ahead: deque[tuple[int, Source]] = deque()
        try:
            jail = self._start()
            while not self._stopping.is_set():
                self._fill(ahead, waiting, jail)
                if not ahead:
                    break
                number, source = ahead.popleft()
                outcome = self._receive(source, jail)
                if self._stopping.is_set():
                    break
                if not jail.is_alive:
                    self._end(jail)
                    jail = self._start()
                    for _, each in ahead:
                        jail.send(each)
                self._put((number, outcome))
                waiting.done(outcome.parts if isinstance(outcome, (Expanded, Walked)) else ())
        except BaseException as error:  # it is raised again where the results are read
            self._put(error)
        finally:
            if jail is not None:
                self._end(jail)
            self._put(None)

    def _receive(self, source: Source, jail: Jail) -> Outcome:
        """What became of a source; if that was the end of the process, its content is not tried again."""
        try:
            outcome: Outcome = jail.receive()
        except Refused as refused:
            digest = "" if self._stopping.is_set() else _digest(source)
            if digest and not jail.is_alive:
                self._poison.add(digest, refused)
            return unreadable(source, Answer(refused.answer), refused.reason, refused.sentence, digest)
        return outcome

    def _fill(self, ahead: deque[tuple[int, Source]], waiting: _Waiting, jail: Jail) -> None:
        """Hand sources over before their turn, so that a process never waits for this one."""
        while len(ahead) < NUM_AHEAD and (not ahead or len(ahead[-1][1].text) < MAX_TEXT_AHEAD):
            taken = waiting.take(is_patient=not ahead)
            if taken is None:
                return
            ahead.append(taken)
            jail.send(taken[1])

    def _start(self) -> Jail:
        jail = Jail(ENTRY, self._job, config=self._config.jail, poison=self._poison)
        self._jails.add(jail)
        return jail

    def _end(self, jail: Jail) -> None:
        self._jails.discard(jail)
        jail.stop()

    def _put(self, item: tuple[int, Outcome] | BaseException | None) -> None:
        while True:
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                if self._stopping.is_set():
                    return
            else:
                return


class _Waiting:
    """Sources that wait for a process: the given ones, and before them the batches of slides that were looked at."""

    def __init__(self, sources: Iterable[Source], stopping: threading.Event) -> None:
        self._sources = iter(sources)
        self._stopping = stopping
        self._batches: deque[Source] = deque()
        self._num_out = self._num_taken = 0
        self._changed = threading.Condition()

    def take(self, *, is_patient: bool) -> tuple[int, Source] | None:
        """The next source and its number; None when there is none, or, for the impatient, none yet.

        While a source is out, its batches may still come, so that the processes share the last slide of a run.
        """
        with self._changed:
            while not self._stopping.is_set():
                source = self._batches.popleft() if self._batches else next(self._sources, None)
                if source is not None:
                    self._num_out += 1
                    self._num_taken += 1
                    return self._num_taken - 1, source
                if not self._num_out or not is_patient:
                    return None
                self._changed.wait(POLL_S)
            return None

    def done(self, batches: Iterable[Source] = ()) -> None:
        """A source has its outcome."""
        with self._changed:
            self._batches.extend(batches)
            self._num_out -= 1
            self._changed.notify_all()


def _digest(source: Source) -> str:
    """The digest of a file on which a process was lost: its bytes are read here, but not looked at."""
    if source.tiles:
        return source.tiles.batch_id
    try:
        return digest_bytes(source.read_bytes())
    except Refused:
        return ""
