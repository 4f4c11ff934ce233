"""Values between this process and a jailed one, over a socket. What comes from there is data and is built as data."""

from __future__ import annotations

import io
import pickle
import socket
import struct
import time
from typing import Any

import numpy as np

from callosum.data.plain import NotData, from_plain, to_plain

MAX_BUFFERS = 1 << 16
_PROTOCOL = 5


class Channel:
    """One end of a socket. Arrays travel as they lie in memory, beside the message that names them.

    Args:
        end: Connected.
        max_bytes: Longest message that is received.
        is_trusted: True inside the jail: what comes may name anything, what is sent is made plain (`plain`).
    """

    def __init__(self, end: socket.socket, *, max_bytes: int, is_trusted: bool) -> None:
        self._socket = end
        self._max_bytes = max_bytes
        self._is_trusted = is_trusted

    def send(self, value: object) -> None:
        """Send a value.

        Raises:
            OSError: the other end is gone; or the value is not data (`NotData`).
        """
        if self._is_trusted:
            arrays: list[np.ndarray] = []
            message = pickle.dumps(to_plain(value, arrays), protocol=_PROTOCOL)
            parts = [memoryview(message), *(array.data for array in arrays)]
        else:
            buffers: list[pickle.PickleBuffer] = []
            message = pickle.dumps(value, protocol=_PROTOCOL, buffer_callback=buffers.append)
            parts = [memoryview(message), *(buffer.raw() for buffer in buffers)]
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
            if self._is_trusted:
                return pickle.loads(message, buffers=arrays)
            return from_plain(_NoNames(io.BytesIO(message)).load(), arrays)
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


def num_bytes(value: object) -> int:
    """Length of the message that a value is to a jail."""
    return len(pickle.dumps(value, protocol=_PROTOCOL))


class _NoNames(pickle.Unpickler):
    """Builds atoms and lists, and nothing that has a name."""

    def find_class(self, module: str, name: str) -> Any:
        raise NotData
