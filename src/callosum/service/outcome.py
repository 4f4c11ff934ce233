"""What a reading process is told, and what it says about one source. Small picklable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from callosum.archive.entry import Entry
from callosum.archive.reports import ReportEntry
from callosum.core.record import Answer, Attribute, Flag
from callosum.core.windowing import Windowing
from callosum.data.slides.plan import SlideConfig
from callosum.data.sources import Source

if TYPE_CHECKING:
    from callosum.core.protocols import Preprocess


@dataclass(frozen=True, kw_only=True)
class ReadingConfig:
    """What is taken from a file.

    Attributes:
        max_pictures: Frames of a multi-frame file, or slices of a volume, that are kept: the centres of as many
            equal parts.
        slides: How whole slides are cut into tiles.
        windowing: The window in which samples are shown; None for the file's own.
    """

    max_pictures: int = 8
    windowing: Windowing | None = None
    slides: SlideConfig = field(default_factory=SlideConfig)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is told once: how to read and prepare pictures, and which files are known already.

    Attributes:
        preprocess: The checkpoint's way from a picture to its input; None when nothing will be encoded.
        known: Sorted leading characters of the digests of files not to be read again, `[N]` of type `S32`.
        key: Secret of the archive's pseudonyms.
        reading: What is taken from a file.
    """

    preprocess: Preprocess | None
    known: np.ndarray
    key: bytes
    reading: ReadingConfig = field(default_factory=ReadingConfig)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """One picture of a file: uint8 `[S, S, 3]` for the encoder, and its entry."""

    entry: Entry
    flags: tuple[Flag, ...]
    pixels: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Readied:
    """The pictures of a file, or of a batch of a slide's tiles, which are written together or not at all.

    Attributes:
        pictures: At least one, but for a batch of which every tile was lost.
        slide: Digest of the slide that this is a batch of; empty for a file of its own.
        num_lost: Tiles of the batch that could not be read.
    """

    pictures: tuple[Ready, ...]
    slide: str = ""
    num_lost: int = 0


@dataclass(frozen=True, kw_only=True)
class Expanded:
    """A slide, whose tiles come as sources of their own, a batch each."""

    source: str
    source_digest: str
    parts: tuple[Source, ...]
    flags: tuple[Flag, ...]


@dataclass(frozen=True, kw_only=True)
class Walked:
    """An archive of files, whose members come as sources of their own."""

    parts: tuple[Source, ...]


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """A file that is a report and names its study."""

    source: str
    source_digest: str
    report: ReportEntry
    flags: tuple[Flag, ...]


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """A file, or a batch of a slide, whose content is known: in the archive, or refused by the run that is resumed."""

    source: str
    source_digest: str
    slide: str = ""
    num_tiles: int = 0


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A file, or a batch of a slide, that was answered with METADATA_ONLY, QUARANTINE or REJECT."""

    source: str
    source_digest: str
    answer: Answer
    code: str
    sentence: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    slide: str = ""
    num_tiles: int = 0


Outcome = Readied | Expanded | Walked | ReadReport | Unchanged | Unreadable


def unreadable(source: Source, answer: Answer, code: str, sentence: str, digest: str = "") -> Unreadable:
    """An answer about a source of which nothing else is known."""
    slide, num_tiles = (source.tiles.source_digest, len(source.tiles.positions)) if source.tiles else ("", 0)
    return Unreadable(
        source=source.name,
        source_digest=digest,
        answer=answer,
        code=code,
        sentence=sentence,
        slide=slide,
        num_tiles=num_tiles,
    )
