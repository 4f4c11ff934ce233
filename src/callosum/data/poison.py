"""Contents on which a reading process was lost, so that each is tried once in a run, under whatever name it comes."""

from __future__ import annotations

import json
import os
import tempfile
import threading

from callosum.core.errors import Refused


class PoisonList:
    """A file without a name: one process adds to it, and all that were given its descriptor see it at once."""

    def __init__(self) -> None:
        with tempfile.TemporaryFile() as stream:
            self._open(os.dup(stream.fileno()))

    @classmethod
    def opened(cls, descriptor: int | None = None) -> PoisonList:
        """The list that another process shares; an empty one of this process when none is."""
        if descriptor is None:
            return cls()
        shared = cls.__new__(cls)
        shared._open(descriptor)
        return shared

    def _open(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._num_bytes = 0
        self._found: dict[str, Refused] = {}

    def __del__(self) -> None:
        os.close(self._descriptor)

    def fileno(self) -> int:
        """For `pass_fds`."""
        return self._descriptor

    def add(self, digest: str, refused: Refused) -> None:
        """Remember how the content with this SHA-256 was answered."""
        line = json.dumps([digest, refused.answer, refused.reason, refused.sentence]).encode() + b"\n"
        with self._lock:
            os.pwrite(self._descriptor, line, os.fstat(self._descriptor).st_size)

    def check(self, digest: str) -> None:
        """Repeat the answer of a content on which a process was lost.

        Raises:
            Refused: this content is on the list.
        """
        size = os.fstat(self._descriptor).st_size
        if size > self._num_bytes:
            lines = os.pread(self._descriptor, size - self._num_bytes, self._num_bytes)
            self._num_bytes += lines.rfind(b"\n") + 1
            for line in lines[: lines.rfind(b"\n") + 1].splitlines():
                known, *parts = json.loads(line)
                self._found[known] = Refused(*parts)
        if digest in self._found:
            raise self._found[digest]
