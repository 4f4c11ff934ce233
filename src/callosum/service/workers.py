"""The pool of reading processes.

One thread here for each process there: it hands over a source, waits as long as one file may take, and replaces a
process that died or hung, so that such a file gets an answer and the run goes on. Results wait in a short queue; when
it is full, reading waits for the encoder, which is why memory does not grow with the number of files.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection

from callosum.core.cores import num_cores
from callosum.core.digest import digest_bytes
from callosum.core.errors import MissingDependency, Refused
from callosum.core.record import Answer
from callosum.data.sources import Source
from callosum.service.worker import READY, Job, Outcome, unreadable

QUEUE_LENGTH = 128
NUM_AHEAD = 4
MAX_TEXT_AHEAD = 1 << 13
"""A longer text waits for its turn: both ends would block if sources and results outgrew the socket's buffer."""
START_TIMEOUT_S = 120.0
PROGRAM = "from callosum.service.worker import main; main()"


@dataclass(frozen=True, kw_only=True)
class WorkersConfig:
    """How files are read."""

    num_workers: int = num_cores()
    """Processes; while the encoder computes they wait for room in the queue, so they take no core from it for long."""
    timeout_s: float = 60.0
    """What reading one file may take before its process is replaced."""


class Workers:
    """Reads sources in other processes. Use as a context manager, and iterate `results`."""

    def __init__(self, job: Job, config: WorkersConfig | None = None) -> None:
        self._job = job
        self._config = config or WorkersConfig()
        self._queue: queue.Queue[Outcome | BaseException | None] = queue.Queue(QUEUE_LENGTH)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._processes: set[_Process] = set()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        for process in list(self._processes):
            process.kill()
        while any(thread.is_alive() for thread in self._threads):
            with contextlib.suppress(queue.Empty):
                self._queue.get(timeout=0.05)

    def results(self, sources: Iterable[Source]) -> Iterator[Outcome]:
        """What became of each source, in the order in which they are done."""
        waiting = iter(sources)
        self._threads = [
            threading.Thread(target=self._run, args=(waiting,), daemon=True) for _ in range(self._config.num_workers)
        ]
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running:
            outcome = self._queue.get()
            if outcome is None:
                running -= 1
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                yield outcome

    def _run(self, waiting: Iterator[Source]) -> None:
        process = None
        ahead: deque[Source] = deque()
        try:
            process = self._start()
            while not self._stopping.is_set():
                self._fill(ahead, waiting, process)
                if not ahead:
                    break
                outcome = process.receive(self._config.timeout_s)
                source = ahead.popleft()
                if self._stopping.is_set():
                    break
                if isinstance(outcome, _Lost):
                    self._end(process)
                    process = self._start()
                    for each in ahead:
                        process.send(each)
                    outcome = unreadable(source, Answer.QUARANTINE, outcome.code, outcome.sentence, _digest(source))
                self._put(outcome)
        except BaseException as error:  # it is raised again where the results are read
            self._put(error)
        finally:
            if process is not None:
                self._end(process)
            self._put(None)

    def _fill(self, ahead: deque[Source], waiting: Iterator[Source], process: _Process) -> None:
        """Hand sources over before their turn, so that a process never waits for this one."""
        while len(ahead) < NUM_AHEAD and (not ahead or len(ahead[-1].text) < MAX_TEXT_AHEAD):
            with self._lock:
                source = next(waiting, None)
            if source is None:
                return
            ahead.append(source)
            process.send(source)

    def _start(self) -> _Process:
        process = _Process(self._job)
        self._processes.add(process)
        return process

    def _end(self, process: _Process) -> None:
        self._processes.discard(process)
        process.stop()

    def _put(self, item: Outcome | BaseException | None) -> None:
        while True:
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                if self._stopping.is_set():
                    return
            else:
                return


def _digest(source: Source) -> str:
    """The digest of a file on which a process was lost: its bytes are read here, but not looked at."""
    try:
        return digest_bytes(source.read_bytes())
    except Refused:
        return ""


@dataclass(frozen=True)
class _Lost:
    """A process gave no result."""

    code: str
    sentence: str


class _Process:
    def __init__(self, job: Job) -> None:
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(there.fileno())],
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders in C write headers, and so names, to it
            )
        self._pipe = Connection(here.detach())
        try:
            self._pipe.send(job)
            is_ready = self._pipe.poll(START_TIMEOUT_S) and self._pipe.recv() == READY
        except (EOFError, OSError):
            is_ready = False
        if not is_ready:
            self.stop()
            message = "The process that reads files could not start."
            raise MissingDependency(message, hint="Run: callosum doctor.")

    def send(self, source: Source) -> None:
        with contextlib.suppress(OSError):  # a process that is gone shows when its result is asked for
            self._pipe.send(source)

    def receive(self, timeout_s: float) -> Outcome | _Lost:
        """The result of the oldest source that was sent."""
        try:
            if not self._pipe.poll(timeout_s):
                return _Lost("TIMEOUT", f"Reading took longer than {timeout_s:g} seconds and was stopped.")
            outcome: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            return _Lost("DECODER_CRASHED", "The decoder crashed on this file.")
        return outcome

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.wait()
