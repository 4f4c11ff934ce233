"""What runs in a jailed process that fills the pixel cache: a `Source` comes in, its square or an answer goes out.

It needs neither torch nor weights, and never sees who a picture belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from callosum.core.digest import digest_bytes
from callosum.core.errors import MissingDependency, Refused
from callosum.core.record import Answer
from callosum.data.poison import PoisonList
from callosum.data.readers import read_bytes
from callosum.data.sources import Source
from callosum.models.preprocess import Preprocess

ENTRY = "callosum.train.cache_worker:answer_sources"
GREY = 1


@dataclass(frozen=True, kw_only=True)
class SquareJob:
    """What a process is told once.

    Attributes:
        preprocess: A picture to its square.
        num_channels: 1 keeps the luminance only, 3 red, green and blue.
        known: Sorted digests of contents that need not be decoded again, `[N]` of type `S64`.
    """

    preprocess: Preprocess
    num_channels: int
    known: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Square:
    """What became of a source.

    Attributes:
        digest: SHA-256 of its bytes; empty when they could not be read.
        pixels: `[S, S, C]`; None when its content was known, or was refused.
        refusal: Answer, code and sentence; empty when it was not refused.
    """

    digest: str
    pixels: UInt8[np.ndarray, "S S C"] | None = None
    refusal: tuple[str, str, str] | tuple[()] = ()


def answer_sources(job: SquareJob, poison: PoisonList) -> Callable[[Source], Square]:
    """What a `Jail` asks for each source."""
    return lambda source: make_square(source, job, poison)


def make_square(source: Source, job: SquareJob, poison: PoisonList) -> Square:
    """Read one source; of several frames the middle one."""
    digest = ""
    try:
        data = source.read_bytes()
        digest = digest_bytes(data)
        if _is_known(digest, job.known):
            return Square(digest=digest)
        poison.check(digest)
        pixels = job.preprocess(read_bytes(data, digest=digest).display())
    except Refused as refused:
        return Square(digest=digest, refusal=(refused.answer, refused.reason, refused.sentence))
    except MissingDependency as missing:
        return Square(digest=digest, refusal=(Answer.QUARANTINE, "READER_MISSING", str(missing)))
    return Square(digest=digest, pixels=_luminance(pixels) if job.num_channels == GREY else pixels)


def _luminance(pixels: UInt8[np.ndarray, "S S 3"]) -> UInt8[np.ndarray, "S S 1"]:
    """ITU-R BT.601, as Pillow weighs colours; a grey picture keeps its values."""
    weighed = pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
    return ((weighed + (1 << 15)) >> 16).astype(np.uint8)[:, :, None]


def _is_known(digest: str, known: np.ndarray) -> bool:
    name = np.bytes_(digest)
    at = int(np.searchsorted(known, name))
    return at < len(known) and bool(known[at] == name)
