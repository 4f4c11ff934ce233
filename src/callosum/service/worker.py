"""The reading process: a `Source` comes in over a pipe, a picture ready for the encoder or an answer goes out.

It runs as `main` in a fresh interpreter: a program of its own, so that a decoder that crashes or hangs takes
nothing else with it, and so that it never sees the caller's main module, the model's weights or torch.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import numpy as np

from callosum.archive.entry import Entry, entry_from_image
from callosum.core.errors import Refused
from callosum.core.record import Answer, Attribute, Flag

if TYPE_CHECKING:
    from callosum.core.protocols import Preprocess
    from callosum.data.sources import Source


_PR_SET_PDEATHSIG = 1
READY = "ready"
"""What a process says once it has its job: from then on, its end is the fault of a file."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is told once: how to prepare pictures, and which files are known already.

    Attributes:
        preprocess: The checkpoint's way from a picture to its input; None when nothing will be encoded.
        known: Sorted leading characters of the digests of files not to be read again, `[N]` of type `S32`.
        key: Secret of the archive's pseudonyms.
    """

    preprocess: Preprocess | None
    known: np.ndarray
    key: bytes


@dataclass(frozen=True, kw_only=True)
class Readied:
    """A picture ready for the encoder: uint8 `[S, S, 3]`, and its entry."""

    entry: Entry
    flags: tuple[Flag, ...]
    pixels: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """A file whose content is known: in the archive, or refused by the run that is resumed."""

    source: str
    source_digest: str


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A file that was answered with METADATA_ONLY, QUARANTINE or REJECT."""

    source: str
    source_digest: str
    answer: Answer
    code: str
    sentence: str
    attributes: dict[str, Attribute]


Outcome = Readied | Unchanged | Unreadable


def read_source(source: Source, job: Job) -> Outcome:
    """Read, render and prepare one file; whatever is wrong with it becomes an answer."""
    from callosum.core.digest import digest_bytes
    from callosum.data.readers import read_bytes

    digest = ""
    try:
        data = source.read_bytes()
        digest = digest_bytes(data)
        if _is_known(digest, job.known):
            return Unchanged(source=source.name, source_digest=digest)
        image = read_bytes(data, digest=digest)
        display = image.display()
        entry = entry_from_image(
            image,
            source=source.name,
            display=display,
            record_id=source.record_id or "",
            text=source.text,
            modality=source.modality,
            body_part=source.body_part,
            split=source.split,
            attributes=dict(source.attributes),
        ).pseudonymous(job.key)
        entry = entry.with_ids(patient_id=source.patient_id, study_id=source.study_id)
        pixels = None if job.preprocess is None else job.preprocess(display)
    except Refused as refused:
        return Unreadable(
            source=source.name,
            source_digest=digest,
            answer=Answer(refused.answer),
            code=refused.reason,
            sentence=refused.sentence,
            attributes=refused.attributes,
        )
    except MemoryError:
        return unreadable(source, Answer.REJECT, "OUT_OF_MEMORY", "The file needs more memory than there is.", digest)
    except Exception as error:  # a fault of ours or of a library: say its kind, never its words, which may name someone
        sentence = f"Reading failed with an error that was not foreseen ({type(error).__name__})."
        return unreadable(source, Answer.QUARANTINE, "UNEXPECTED_ERROR", sentence, digest)
    return Readied(entry=entry, flags=image.flags, pixels=pixels)


def unreadable(source: Source, answer: Answer, code: str, sentence: str, digest: str = "") -> Unreadable:
    """An answer about a file of which nothing else is known."""
    return Unreadable(
        source=source.name, source_digest=digest, answer=answer, code=code, sentence=sentence, attributes={}
    )


def _is_known(digest: str, known: np.ndarray) -> bool:
    prefix = np.bytes_(digest[:32])
    at = int(np.searchsorted(known, prefix))
    return at < len(known) and known[at] == prefix


def main() -> None:
    """Serve one pipe until its other end closes."""
    _end_with_parent()
    pipe = Connection(int(sys.argv[1]))
    job: Job = pipe.recv()
    pipe.send(READY)
    while True:
        try:
            source = pipe.recv()
        except EOFError:
            return
        pipe.send(read_source(source, job))


def _end_with_parent() -> None:
    """Ask the system to end this process when the one that started it is killed, even while a decoder hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
