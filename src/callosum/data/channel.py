"""Values between this process and a jailed one, over a socket. What comes from there is data and is built as data."""

from __future__ import annotations

import io
import pickle
import socket
import struct
import time
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from callosum.core.errors import CallosumError, Refused

MAX_BUFFERS = 1 << 16
_PROTOCOL = 5
_PLAIN = {
    "numpy": ("dtype", "ndarray"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.numeric": ("_frombuffer",),
    "pathlib": ("Path", "PosixPath"),
    "datetime": ("date", "datetime"),
}
"""Names that pickled arrays, paths and dates hold."""


class NotData(OSError):
    """The other end sent something that is no value of this package."""


class Channel:
    """One end of a socket. Arrays travel as they lie in memory, beside the message that names them.

    Args:
        end: Connected.
        max_bytes: Longest message that is received.
        is_trusted: True where the other end may name anything: towards the jail, never from it.
    """

    def __init__(self, end: socket.socket, *, max_bytes: int, is_trusted: bool) -> None:
        self._socket = end
        self._max_bytes = max_bytes
        self._load = pickle.Unpickler if is_trusted else _Values

    def send(self, value: object) -> None:
        """Send a value.

        Raises:
            OSError: the other end is gone.
        """
        arrays: list[pickle.PickleBuffer] = []
        message = pickle.dumps(value, protocol=_PROTOCOL, buffer_callback=arrays.append)
        parts = [memoryview(message), *(array.raw() for array in arrays)]
        sizes = struct.pack(f"={len(parts) + 1}Q", len(parts), *(part.nbytes for part in parts))
        self._socket.settimeout(None)
        self._socket.sendall(sizes)
        for part in parts:
            self._socket.sendall(part)

    def receive(self, timeout_s: float | None = None) -> Any:
        """The next value.

        Raises:
            TimeoutError: it did not come in time.
            EOFError: the other end is gone.
            OSError: likewise; or what came is not data (`NotData`).
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        (count,) = struct.unpack("=Q", self._take(8, deadline))
        if not 1 <= count <= MAX_BUFFERS:
            raise NotData
        sizes = struct.unpack(f"={count}Q", self._take(8 * count, deadline))
        if sum(sizes) > self._max_bytes:
            raise NotData
        message, *arrays = (self._take(size, deadline) for size in sizes)
        try:
            return self._load(io.BytesIO(message), buffers=arrays).load()
        except (NotData, MemoryError):
            raise
        except Exception as error:
            raise NotData from error

    def _take(self, num_bytes: int, deadline: float | None) -> bytearray:
        taken = bytearray(num_bytes)
        rest = memoryview(taken)
        while rest:
            if deadline is not None:
                self._socket.settimeout(max(1e-3, deadline - time.monotonic()))
            got = self._socket.recv_into(rest)
            if not got:
                raise EOFError
            rest = rest[got:]
        return taken

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


class _Values(pickle.Unpickler):
    """Builds arrays, dataclasses, choices and errors of this package, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        if module.partition(".")[0] == "callosum":
            found = super().find_class(module, name)
            is_value = isinstance(found, type) and (is_dataclass(found) or issubclass(found, (Enum, CallosumError)))
            if is_value or (module == Refused.__module__ and name == "_refused"):
                return found
        raise NotData
