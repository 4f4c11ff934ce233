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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from callosum.core.cores import num_cores
from callosum.core.digest import digest_bytes
from callosum.core.errors import Refused
from callosum.core.record import Answer
from callosum.data.channel import num_bytes
from callosum.data.jail import Jail, JailConfig
from callosum.data.poison import PoisonList
from callosum.data.sources import Source
from callosum.service.outcome import Expanded, Job, Outcome, Readied, Walked, unreadable
from callosum.service.worker import ENTRY

MAX_WAITING = 256
"""Pictures that wait for the encoder: some 40 MB; one file may have more, and then waits alone."""
Place = tuple[int, int]
"""Where an outcome stands: the number of its source, and 0 for the source itself or the number of its part."""
NUM_AHEAD = 4
MAX_BYTES_AHEAD = 1 << 13
"""A larger source waits for its turn: both ends would block if sources and results outgrew the socket's buffer."""
POLL_S = 0.2
MAX_OUT_OF_ORDER = 64
"""Outcomes that wait for an earlier one."""
MAX_PICTURES_OUT_OF_ORDER = 1024
"""Their pictures: some 160 MB."""


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
        self._queue = _Pictures(MAX_WAITING)
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

        A source that takes long does not hold up more than `MAX_OUT_OF_ORDER` others, or as many as have
        `MAX_PICTURES_OUT_OF_ORDER` pictures.
        """
        waiting = _Waiting(sources, self._stopping)
        self._threads = [
            threading.Thread(target=self._run, args=(waiting,), daemon=True) for _ in range(self._config.num_workers)
        ]
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        early: list[tuple[Place, Outcome]] = []
        num_parts: dict[int, int] = {}
        due, num_pictures = (0, 0), 0
        while running:
            item = self._queue.get()
            if item is None:
                running -= 1
                continue
            if isinstance(item, BaseException):
                raise item
            heapq.heappush(early, item)
            num_pictures += _weight(item[1])
            while early and (
                early[0][0] <= due or len(early) > MAX_OUT_OF_ORDER or num_pictures > MAX_PICTURES_OUT_OF_ORDER
            ):
                place, outcome = heapq.heappop(early)
                num_pictures -= _weight(outcome)
                number, part = place
                if part == 0 and (parts := _parts(outcome)):
                    num_parts[number] = len(parts)
                due = max(due, (number, part + 1) if part < num_parts.get(number, 0) else (number + 1, 0))
                yield outcome
        yield from (outcome for _, outcome in sorted(early, key=lambda each: each[0]))

    def _run(self, waiting: _Waiting) -> None:
        jail = None
        ahead: deque[tuple[Place, Source]] = deque()
        try:
            jail = self._start()
            while not self._stopping.is_set():
                self._fill(ahead, waiting, jail)
                if not ahead:
                    break
                place, source = ahead.popleft()
                if _is_large(source):
                    jail.send(source)
                outcome = self._receive(source, jail)
                if self._stopping.is_set():
                    break
                if not jail.is_alive:
                    self._end(jail)
                    jail = self._start()
                    for _, each in ahead:
                        if not _is_large(each):
                            jail.send(each)
                self._put((place, outcome))
                waiting.done(place, _parts(outcome))
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

    def _fill(self, ahead: deque[tuple[Place, Source]], waiting: _Waiting, jail: Jail) -> None:
        """Hand sources over before their turn, so that a process never waits for this one; a large one waits."""
        while len(ahead) < NUM_AHEAD and not (ahead and _is_large(ahead[-1][1])):
            taken = waiting.take(is_patient=not ahead)
            if taken is None:
                return
            ahead.append(taken)
            if not _is_large(taken[1]):
                jail.send(taken[1])

    def _start(self) -> Jail:
        jail = Jail(ENTRY, self._job, config=self._config.jail, poison=self._poison)
        self._jails.add(jail)
        return jail

    def _end(self, jail: Jail) -> None:
        self._jails.discard(jail)
        jail.stop()

    def _put(self, item: tuple[Place, Outcome] | BaseException | None) -> None:
        while True:
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                if self._stopping.is_set():
                    return
            else:
                return


class _Pictures(queue.Queue[Any]):
    """A queue that is full when it holds so many pictures, however few files they are from."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._weight = 0

    def _qsize(self) -> int:
        return self._weight

    def _put(self, item: Any) -> None:
        super()._put(item)
        self._weight += _weight(item[1] if isinstance(item, tuple) else item)

    def _get(self) -> Any:
        item = super()._get()
        self._weight -= _weight(item[1] if isinstance(item, tuple) else item)
        return item


def _parts(outcome: Outcome) -> Sequence[Source]:
    return outcome.parts if isinstance(outcome, (Expanded, Walked)) else ()


def _weight(outcome: object) -> int:
    """Pictures of an outcome; one for what has none, so that a queue is empty when it weighs nothing."""
    return max(1, len(outcome.pictures)) if isinstance(outcome, Readied) else 1


def _is_large(source: Source) -> bool:
    """True for a source with much text, which is sent only when nothing is to come back."""
    return num_bytes(source) > MAX_BYTES_AHEAD


class _Waiting:
    """Sources that wait for a process: the given ones, and before them parts of those that were looked at."""

    def __init__(self, sources: Iterable[Source], stopping: threading.Event) -> None:
        self._sources = iter(sources)
        self._stopping = stopping
        self._parts: list[tuple[Place, Source]] = []
        self._num_out = self._num_taken = 0
        self._changed = threading.Condition()

    def take(self, *, is_patient: bool) -> tuple[Place, Source] | None:
        """The next source and its place; None when there is none, or, for the impatient, none yet.

        While a source is out, its parts may still come, so that the processes share the last slide of a run.
        """
        with self._changed:
            while not self._stopping.is_set():
                taken = heapq.heappop(self._parts) if self._parts else self._next()
                if taken is not None:
                    self._num_out += 1
                    return taken
                if not self._num_out or not is_patient:
                    return None
                self._changed.wait(POLL_S)
            return None

    def _next(self) -> tuple[Place, Source] | None:
        source = next(self._sources, None)
        if source is None:
            return None
        self._num_taken += 1
        return (self._num_taken - 1, 0), source

    def done(self, place: Place, parts: Sequence[Source]) -> None:
        """A source has its outcome, and perhaps parts."""
        with self._changed:
            for n, part in enumerate(parts, start=1):
                heapq.heappush(self._parts, ((place[0], n), part))
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
