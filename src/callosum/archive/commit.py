"""What is acknowledged survives a power cut.

LanceDB commits atomically by renaming, but never calls fsync: a killed process loses nothing, a lost power supply may
lose everything since the last write-back. So after each commit we flush the files it wrote and the folders that name
them, and only then tell the caller.
"""

from __future__ import annotations

import os
from pathlib import Path


class Synced:
    """Flushes each file below a folder once; files of Lance tables are never rewritten under the same name.

    The first flush takes what is there already too: an earlier process may have been killed between writing and
    flushing, and its rows count as indexed from then on.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: set[str] = set()

    def flush(self) -> int:
        """Fsync every file that appeared since the last call, then the folders; returns how many files."""
        folders: set[str] = set()
        num_files = 0
        for path in self._new_files():
            _fsync(path)
            folder = os.path.dirname(path)  # noqa: PTH120 - string paths, one call per file of a large archive
            while folder not in folders and len(folder) >= len(str(self._root)):
                folders.add(folder)
                folder = os.path.dirname(folder)  # noqa: PTH120
            num_files += 1
        for folder in sorted(folders, key=len, reverse=True):
            _fsync(folder)
        return num_files

    def _new_files(self) -> list[str]:
        found = []
        pending = [str(self._root)]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.path not in self._seen or entry.name == "latest_version_hint.json":
                        self._seen.add(entry.path)
                        found.append(entry.path)
        return found


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    _fsync(str(path.parent))


def make_folder(path: Path) -> None:
    """Make a folder and those above it, and flush the folders that name them."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _fsync(str(folder.absolute().parent))


def _fsync(path: str) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # removed by a compaction between listing and opening
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
