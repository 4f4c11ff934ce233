"""A disposable process for code that may crash, hang or eat the machine: decoders of files from anywhere.

The process is a fresh interpreter behind a socket pair. Before it imports anything it gives up the network, core dumps
and its standard streams; once it is ready it may take a stated amount of memory and processor time more, and no more.
What it sends back is data: only arrays and this package's own values are built from it, so that a decoder that was
taken over cannot make this process run anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from callosum.core.errors import CallosumError, MissingDependency, Refused
from callosum.data.channel import Channel
from callosum.data.plain import NotData
from callosum.data.poison import PoisonList
from callosum.data.readers.refusal import Reason, quarantine, reject

START_TIMEOUT_S = 120.0
PROGRAM = "import sys; sys.path[:] = {path!r}; from callosum.data.jail import main; main()"
"""Modules are looked for where the caller looks, but never in the current folder, which may hold anybody's files."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""numpy would start threads otherwise, and a process with threads cannot leave the network without a right to."""


@dataclass(frozen=True, kw_only=True)
class JailConfig:
    """What a jailed process may take."""

    timeout_s: float = 60.0
    """For one question, by the clock, before the process is replaced."""
    cpu_s: float = 120.0
    """For one question, of all its threads together: it ends itself then, should nobody be there to do it."""
    memory_bytes: int = 4 << 30
    """Address space beyond what it has when it is ready."""
    written_bytes: int = 64 << 20
    """Largest file that it may write."""
    num_open_files: int = 256


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One thing that a jailed process cannot do, or could not be kept from doing on this system."""

    name: str
    is_applied: bool
    detail: str


class Jail:
    """One disposable process that answers questions, in their order.

    Args:
        entry: `module:function`; the function gets `argument` and the poison list, and returns what answers questions.
        argument: Sent once.
        config: Limits.
        poison: Contents that are not to be tried again, shared by several jails.

    Raises:
        MissingDependency: the process could not start.
    """

    def __init__(
        self,
        entry: str,
        argument: object = None,
        *,
        config: JailConfig | None = None,
        poison: PoisonList | None = None,
    ) -> None:
        self.config = config or JailConfig()
        self._is_condemned = False
        here, there = socket.socketpair()
        path = [*filter(None, sys.path), str(Path(__file__).parents[2])]
        given = [there.fileno(), *([poison.fileno()] if poison else [])]
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM.format(path=path), *map(str, given)],
                pass_fds=given,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders in C write headers, and so names, to it
                env=os.environ | _ONE_THREAD,
            )
        self._channel = Channel(here, max_bytes=self.config.memory_bytes, is_trusted=False)
        try:
            self._channel.send((entry, self.config))
            self._channel.send(argument)
            self.measures: tuple[Measure, ...] = self._channel.receive(START_TIMEOUT_S)
        except (EOFError, OSError) as error:
            self.stop()
            message = "The process that reads files could not start."
            raise MissingDependency(message, hint="Run: callosum doctor.") from error
        except BaseException:
            self.stop()
            raise

    def send(self, question: object) -> None:
        """Ask; the answer is fetched with `receive`."""
        with contextlib.suppress(OSError):  # a process that is gone shows when its answer is asked for
            self._channel.send(question)

    def receive(self) -> Any:
        """The answer to the oldest question.

        Raises:
            CallosumError: what answering it raised.
            Refused: `TIMEOUT` or `DECODER_CRASHED`: the process is lost; `is_alive` is False from then on.
        """
        try:
            answer = self._channel.receive(self.config.timeout_s)
        except TimeoutError as error:
            self._is_condemned = True
            self.kill()
            raise _too_slow(self.config.timeout_s) from error
        except (EOFError, OSError) as error:
            self._is_condemned = isinstance(error, NotData)
            self.kill()
            if self._process.returncode == -signal.SIGXCPU:
                raise _too_slow(self.config.cpu_s) from error
            raise quarantine(Reason.DECODER_CRASHED, "The decoder crashed on this file.") from error
        if isinstance(answer, CallosumError):
            raise answer
        return answer

    def call(self, question: object) -> Any:
        """Ask and wait; see `receive`. A call that is interrupted ends the process: its answer would come too late."""
        try:
            self.send(question)
            return self.receive()
        except CallosumError:
            raise
        except BaseException:
            self.kill()
            raise

    @property
    def is_alive(self) -> bool:
        """False once the process is gone."""
        return self._process.poll() is None

    @property
    def was_killed(self) -> bool:
        """True when something else than this object or its own fault ended the process."""
        return self._process.poll() == -signal.SIGKILL and not self._is_condemned

    def kill(self) -> None:
        """End the process, whatever it is doing; safe from any thread."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End the process and let go of it."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _too_slow(seconds: float) -> Refused:
    return quarantine(Reason.TIMEOUT, f"Reading took longer than {seconds:g} seconds and was stopped.")


def confinement(config: JailConfig | None = None) -> tuple[Measure, ...]:
    """What a jail keeps a process from on this system; a jail is started to find out."""
    jail = Jail("callosum.data.jail:_nothing", config=config)
    try:
        return jail.measures
    finally:
        jail.stop()


def _nothing(_: object, __: PoisonList) -> Callable[[object], None]:
    return lambda _: None


def main() -> None:
    """Answer one socket until its other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the other end ends this process too
    end, poison = socket.socket(fileno=int(sys.argv[1])), PoisonList.opened(*map(int, sys.argv[2:]))
    channel = Channel(end, max_bytes=sys.maxsize, is_trusted=True)
    entry, config = channel.receive()
    before = _give_up()
    module, _, function = entry.partition(":")
    answer = getattr(import_module(module), function)(channel.receive(), poison)
    channel.send((*before, *_limit(config)))
    while True:
        try:
            question = channel.receive()
        except EOFError:
            return
        _limit_cpu(config)
        channel.send(_answered(answer, question))


def _answered(answer: Callable[[Any], object], question: object) -> object:
    """The answer, or the error to raise on the other side. Rust plugins panic with a `BaseException`."""
    try:
        return answer(question)
    except CallosumError as error:
        return error
    except MemoryError:
        return reject(Reason.OUT_OF_MEMORY, "Reading it needs more memory than there is.")
    except BaseException as error:  # its words may name someone
        sentence = f"Reading failed with an error that was not foreseen ({type(error).__name__})."
        return quarantine(Reason.UNEXPECTED_ERROR, sentence)


def _give_up() -> list[Measure]:
    """Leave the network and tie this process to its parent, before threads make the first impossible."""
    if sys.platform != "linux":
        return [Measure(name="network", is_applied=False, detail="only Linux can take it away")]
    libc = ctypes.CDLL(None, use_errno=True)
    # the plain way keeps an administrator's right to read every file, the other one needs no right
    has_left = not libc.unshare(_CLONE_NEWNET) or not libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    error = "" if has_left else os.strerror(ctypes.get_errno())
    has_no_privileges = not libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    is_tied = not libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after unshare, which clears it
    detail = "a network of its own, without an interface" if has_left else f"could not be taken away: {error}"
    return [
        Measure(name="network", is_applied=has_left, detail=detail),
        Measure(name="privileges", is_applied=has_no_privileges, detail="cannot gain any"),
        Measure(name="parent", is_applied=is_tied, detail="ends with the thread that started it"),
    ]


def _limit(config: JailConfig) -> list[Measure]:
    """Bound what this process may take from now on."""
    import resource

    limits = {
        "memory": (resource.RLIMIT_AS, _address_space() + config.memory_bytes, f"{config.memory_bytes >> 20} MiB more"),
        "core dumps": (resource.RLIMIT_CORE, 0, "none"),
        "files written": (resource.RLIMIT_FSIZE, config.written_bytes, f"{config.written_bytes >> 20} MiB each"),
        "open files": (resource.RLIMIT_NOFILE, config.num_open_files, f"{config.num_open_files}"),
    }
    measures = []
    for name, (which, limit, detail) in limits.items():
        try:
            highest = resource.getrlimit(which)[1]
            limit = limit if highest == resource.RLIM_INFINITY else min(limit, highest)
            resource.setrlimit(which, (limit, limit))
        except (OSError, ValueError) as error:
            measures.append(Measure(name=name, is_applied=False, detail=f"not limited ({type(error).__name__})"))
        else:
            measures.append(Measure(name=name, is_applied=True, detail=detail))
    detail = f"{config.cpu_s:g} s of processor, {config.timeout_s:g} s by the clock, for one file"
    return [*measures, Measure(name="time", is_applied=True, detail=detail)]


def _address_space() -> int:
    """Bytes of address space in use."""
    try:
        with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123
            return int(stream.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 1 << 30


def _limit_cpu(config: JailConfig) -> None:
    """Give this process `cpu_s` more; the system ends it when they are used up."""
    import resource

    highest = resource.getrlimit(resource.RLIMIT_CPU)[1]
    wanted = int(time.process_time() + config.cpu_s) + 1
    limit = wanted if highest == resource.RLIM_INFINITY else min(wanted, highest)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, highest))
