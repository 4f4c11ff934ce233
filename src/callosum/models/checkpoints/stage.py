"""A folder that is there whole or not at all: built hidden beside its place, flushed, then renamed.

A process that is killed leaves a hidden folder, which no name leads to and the next import removes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from callosum.core.errors import ArchiveBusy, UsageError

PREFIX = ".staging-"
LOCK = ".lock"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the only process that writes below `folder`, and remove what killed ones left.

    Raises:
        ArchiveBusy: another process is writing there.
        UsageError: the folder cannot be written to.
    """
    import filelock

    lock = filelock.FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        message = "Another process is importing a model."
        raise ArchiveBusy(message, hint="Wait for it to finish.") from error
    except OSError as error:
        message = f"The folder of models cannot be written to ({error.strerror or type(error).__name__})."
        raise UsageError(message, hint="Name another with CALLOSUM_HOME.") from error
    try:
        for left in folder.glob(f"{PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        lock.release()


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """A new hidden folder below `parent`, removed at the end unless it was published."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        message = f"The folder to write to cannot be written to ({error.strerror or type(error).__name__})."
        raise UsageError(message, hint="Name another.") from error
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def require_free(place: Path) -> None:
    """Check that nothing would be lost by writing to `place`.

    Raises:
        UsageError: there is something already; an empty folder is nothing.
    """
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        message = "There is something at the place to write to already."
        raise UsageError(message, hint="Remove it, or name a place that does not exist yet.")


def publish(hidden: Path, place: Path, *, replaces: bool = False) -> None:
    """Flush a folder to the disk and give it its name; `place` is in the same folder as `hidden`.

    Raises:
        UsageError: there is something at `place` already that is not to be replaced.
    """
    hidden.chmod(0o755)
    for path in hidden.iterdir():
        _flush(path)
    _flush(hidden)
    if replaces and place.exists():
        place.rename(place.with_name(f"{PREFIX}old-{place.name}"))
    require_free(place)
    if place.is_dir():
        place.rmdir()  # empty; Windows does not rename onto it
    hidden.rename(place)
    _flush(place.parent)
    shutil.rmtree(place.with_name(f"{PREFIX}old-{place.name}"), ignore_errors=True)


def publish_file(hidden: Path, place: Path) -> None:
    """Flush a file to the disk and give it its name."""
    _flush(hidden)
    hidden.rename(place)
    _flush(place.parent)


def _flush(path: Path) -> None:
    """Wait until a file or the names in a folder are on the disk; Windows has no such call for folders."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
