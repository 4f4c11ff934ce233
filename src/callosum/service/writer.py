"""Where the pictures of a run go: encoded and written to an archive, or only sorted out for a dry run."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from callosum.archive import reports
from callosum.archive.archive import Archive
from callosum.archive.entry import Added, Entry, Stored
from callosum.archive.identity import Known, sort_out
from callosum.archive.schema import ATTRIBUTE_TYPE
from callosum.core.embedding import Embedding
from callosum.core.protocols import Encoder
from callosum.core.record import Answer, Flag
from callosum.core.result import Problem
from callosum.service.outcome import Readied, ReadReport, Ready, Unreadable

_ATTRIBUTE_TYPE = Flag(
    code=ATTRIBUTE_TYPE, sentence="An attribute is of another kind in this archive; it was left out."
)
SLICE = 32
"""Pictures of a batch between two looks at whether the run has ended."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of one picture."""

    entry: Entry
    flags: tuple[Flag, ...]
    stored: Stored


class Destination(Protocol):
    """Where pictures that were read go, and what becomes of them there."""

    @property
    def num_ready(self) -> int:
        """Pictures that a commit would write."""
        ...

    @property
    def num_files_left(self) -> int:
        """Files that a commit would leave for the next one."""
        ...

    def encode(self, readied: Sequence[Readied]) -> None:
        """Take a batch."""
        ...

    def finish(self) -> None:
        """Wait for the batch that is being encoded."""
        ...

    def commit(self, refused: Sequence[Unreadable]) -> list[tuple[Readied, list[Written]]]:
        """Write what is encoded, and remember what was refused: for each file, what became of its pictures."""
        ...

    def attach(self, reports: Sequence[ReadReport]) -> list[Stored]:
        """Join reports to their studies: what became of each."""
        ...


class Writer:
    """Encodes pictures, and writes them and the refusals to an archive.

    One batch is being encoded on a thread of its own while the next one is gathered and earlier ones are written. The
    thread takes a slice at a time, so that an interrupted run need not wait for the whole batch.
    """

    def __init__(self, archive: Archive, encoder: Encoder) -> None:
        self._archive = archive
        self._encoder = encoder
        self._waiting: list[tuple[Readied, np.ndarray]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest-encode")
        self._encoding: tuple[Sequence[Readied], Future[np.ndarray]] | None = None
        self._is_closed = threading.Event()

    @property
    def num_ready(self) -> int:
        """Pictures that are encoded and not yet written."""
        return sum(len(rows) for _, rows in self._waiting)

    @property
    def num_files_left(self) -> int:
        """Files in the batch that is being encoded."""
        return len(self._encoding[0]) if self._encoding else 0

    def encode(self, readied: Sequence[Readied]) -> None:
        """Begin to encode a batch, once the one before is done."""
        self.finish()
        pixels_NSSC = np.stack([each.pixels for each in _pictures(readied) if each.pixels is not None])
        self._encoding = [_without_pixels(each) for each in readied], self._thread.submit(self._rows, pixels_NSSC)

    def _rows(self, pixels_NSSC: np.ndarray) -> np.ndarray:
        starts = range(0, len(pixels_NSSC), SLICE)
        parts = (pixels_NSSC[n : n + SLICE] for n in starts if not self._is_closed.is_set())
        return np.concatenate([self._encoder.encode_pixels(part).matrix for part in parts])

    def close(self) -> None:
        """Give up what is not yet encoded."""
        self._is_closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def finish(self) -> None:
        """Wait for the batch that is being encoded."""
        if self._encoding:
            readied, future = self._encoding
            rows, self._encoding = future.result(), None
            ends = np.cumsum([len(each.pictures) for each in readied])[:-1]
            self._waiting += list(zip(readied, np.split(rows, ends), strict=True))

    def commit(self, refused: Sequence[Unreadable]) -> list[tuple[Readied, list[Written]]]:
        """Write what is encoded, and remember what was refused."""
        if self._encoding and self._encoding[1].done():
            self.finish()
        written = self._write() if self._waiting else []
        kept = [each for each in refused if each.source_digest]
        self._archive.refuse([problem_of(each) for each in kept], attributes=[dict(each.attributes) for each in kept])
        return written

    def attach(self, reports: Sequence[ReadReport]) -> list[Stored]:
        """Join reports to their studies, in the archive or to come."""
        if not reports:
            return []
        searchable = [each.report.searchable for each in reports if each.report.searchable]
        texts = self._encoded(searchable)
        return self._archive.attach([each.report for each in reports], texts)

    def _encoded(self, texts: Sequence[str]) -> Embedding | None:
        """The vectors of texts; a text that comes often, as that of a normal finding does, is encoded once."""
        if not texts:
            return None
        places = {text: n for n, text in enumerate(dict.fromkeys(texts))}
        once = self._encoder.encode_text(list(places))
        return Embedding(matrix=once.matrix[[places[text] for text in texts]], space=once.space)

    def _write(self) -> list[tuple[Readied, list[Written]]]:
        waiting, self._waiting = self._waiting, []
        pictures = _pictures([readied for readied, _ in waiting])
        entries = [each.entry.computed_by(self._encoder.runtime) for each in pictures]
        rows = Embedding(matrix=np.concatenate([rows for _, rows in waiting]), space=self._encoder.space)
        captions = [entry.text for entry in entries if entry.text]
        texts = self._encoded(captions)
        added = iter(self._archive.add(entries, rows, texts=texts))
        return [(each, [_written(picture, next(added)) for picture in each.pictures]) for each, _ in waiting]


class Sorter:
    """Says what would become of pictures, and writes nothing."""

    def __init__(self, archive: Archive | None) -> None:
        self._archive = archive
        self._known = Known()
        self._reports = reports.Known()
        self._waiting: list[Readied] = []
        self.num_files_left = 0

    @property
    def num_ready(self) -> int:
        """Pictures that a commit would sort out."""
        return len(_pictures(self._waiting))

    def encode(self, readied: Sequence[Readied]) -> None:
        """Take a batch."""
        self._waiting += readied

    def finish(self) -> None:
        """Nothing is encoded, so nothing is under way."""

    def commit(self, refused: Sequence[Unreadable]) -> list[tuple[Readied, list[Written]]]:
        """Sort out what was taken."""
        waiting, self._waiting = self._waiting, []
        entries = [each.entry for each in _pictures(waiting)]
        if self._archive:
            stored = iter(self._archive.sort_out(entries, beside=self._known))
        else:
            stored = iter(sort_out(None, entries, beside=self._known))
        written = [
            (each, [Written(entry=one.entry, flags=one.flags, stored=next(stored)) for one in each.pictures])
            for each in waiting
        ]
        new = (one.entry for _, pictures in written for one in pictures if one.stored is Stored.NEW)
        self._reports.take_pictures(new)
        return written

    def attach(self, reports: Sequence[ReadReport]) -> list[Stored]:
        """Say what would become of each."""
        entries = [each.report for each in reports]
        if self._archive:
            return self._archive.sort_out_reports(entries, beside=self._reports)
        return self._reports.sort_out(entries)


def _written(picture: Ready, added: Added) -> Written:
    flags = picture.flags if added.is_fitted else (*picture.flags, _ATTRIBUTE_TYPE)
    return Written(entry=picture.entry, flags=flags, stored=added.stored)


def problem_of(outcome: Unreadable) -> Problem:
    """The line about a file that was not indexed."""
    return Problem(
        source=outcome.source,
        source_digest=outcome.source_digest,
        answer=outcome.answer,
        code=outcome.code,
        sentence=outcome.sentence,
    )


def flagged(source: str, digest: str, flags: Sequence[Flag]) -> Problem:
    """The line about a file that was accepted with doubts, each named once."""
    once = {flag.code: flag.sentence for flag in flags}
    return Problem(
        source=source,
        source_digest=digest,
        answer=Answer.FLAG,
        code=",".join(once),
        sentence=" ".join(once.values()),
    )


def _without_pixels(readied: Readied) -> Readied:
    return replace(readied, pictures=tuple(replace(picture, pixels=None) for picture in readied.pictures))


def _pictures(readied: Sequence[Readied]) -> list[Ready]:
    return [picture for each in readied for picture in each.pictures]
