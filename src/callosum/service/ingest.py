"""Files to rows: reading and rendering in worker processes, encoding here, writing in batches.

A batch is acknowledged when it is on the disk, and only then counted. A second run over the same files adds nothing,
because the content's digest decides; that is also all that resuming needs.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from callosum.archive.archive import Archive
from callosum.archive.entry import Entry, Stored
from callosum.archive.schema import ATTRIBUTE_TYPE
from callosum.core.embedding import Embedding
from callosum.core.protocols import Encoder
from callosum.core.record import Answer, Flag
from callosum.core.result import IngestReport, Problem
from callosum.data.sources import Source
from callosum.service.worker import Job, Outcome, Readied, Unchanged, Unreadable
from callosum.service.workers import Workers, WorkersConfig

_ATTRIBUTE_TYPE = Flag(
    code=ATTRIBUTE_TYPE, sentence="An attribute is of another kind in this archive; it was left out."
)
_DUPLICATE_CONTENT = Flag(
    code="DUPLICATE_CONTENT", sentence="It has the same content as another file of this run; one of them is indexed."
)
SLICE = 32
"""Pictures of a batch between two looks at whether the run has ended."""
_COUNTS = {Answer.METADATA_ONLY: "metadata_only", Answer.QUARANTINE: "quarantined", Answer.REJECT: "rejected"}


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """How files become rows."""

    batch_size: int = 64
    """Pictures encoded at once."""
    commit_size: int = 1024
    """Pictures written at once."""
    commit_s: float = 3.0
    """Longest time between two commits."""
    commits_per_merge: int = 256
    """Commits after which the small files of the archive are merged."""
    is_resumed: bool = False
    """Files that an earlier run refused are not tried again; their answer is repeated."""
    workers: WorkersConfig = field(default_factory=WorkersConfig)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What has been acknowledged so far."""

    num_files: int
    num_images: int
    problems: tuple[Problem, ...]
    """Those of this batch."""


def ingest(
    archive: Archive,
    sources: Iterable[Source],
    encoder: Encoder,
    *,
    config: IngestConfig | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """Index files.

    Args:
        archive: Where the rows go; it must be new or of the encoder's space.
        sources: Files.
        encoder: Turns pictures and texts into vectors.
        config: Sizes and limits.
        on_progress: Called after each commit.

    Returns:
        What became of every file.

    Raises:
        SpaceMismatch: the archive holds vectors of another space.
        ArchiveBusy: another process is writing to the archive.
    """
    archive.require_space(encoder.space)
    with archive.writing():
        with closing(_Writer(archive, encoder)) as writer:
            run = _Run(writer, config or IngestConfig(), on_progress, archive=archive)
            run.read(sources, Job(preprocess=encoder.preprocess, known=run.known(), key=archive.key))
        archive.compact()
    return run.report()


def inspect(
    sources: Iterable[Source],
    *,
    archive: Archive | None = None,
    config: IngestConfig | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """What `ingest` would answer, without encoding or writing anything; see `ingest`."""
    run = _Run(_Sorter(archive), config or IngestConfig(), on_progress, archive=archive)
    run.read(sources, Job(preprocess=None, known=run.known(), key=b""))
    return run.report()


class _Destination(Protocol):
    """Where pictures that were read go, and what becomes of them there."""

    @property
    def num_encoding(self) -> int:
        """Pictures that a commit would leave for the next one."""
        ...

    def encode(self, readied: Sequence[Readied]) -> None: ...

    def finish(self) -> None: ...

    def commit(self, refused: Sequence[Unreadable]) -> list[tuple[Entry, tuple[Flag, ...], Stored]]: ...


class _Writer:
    """Encodes pictures, and writes them and the refusals to an archive.

    One batch is being encoded on a thread of its own while the next one is gathered and earlier ones are written. The
    thread takes a slice at a time, so that an interrupted run need not wait for the whole batch.
    """

    def __init__(self, archive: Archive, encoder: Encoder) -> None:
        self._archive = archive
        self._encoder = encoder
        self._waiting: list[tuple[Entry, tuple[Flag, ...], np.ndarray]] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ingest-encode")
        self._encoding: tuple[Sequence[Readied], Future[np.ndarray]] | None = None
        self._is_closed = threading.Event()

    @property
    def num_encoding(self) -> int:
        return len(self._encoding[0]) if self._encoding else 0

    def encode(self, readied: Sequence[Readied]) -> None:
        self.finish()
        pixels_NSSC = np.stack([each.pixels for each in readied if each.pixels is not None])
        self._encoding = readied, self._thread.submit(self._rows, pixels_NSSC)

    def _rows(self, pixels_NSSC: np.ndarray) -> np.ndarray:
        starts = range(0, len(pixels_NSSC), SLICE)
        parts = (pixels_NSSC[n : n + SLICE] for n in starts if not self._is_closed.is_set())
        return np.concatenate([self._encoder.encode_pixels(part).matrix for part in parts])

    def close(self) -> None:
        self._is_closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def finish(self) -> None:
        if self._encoding:
            readied, future = self._encoding
            rows, self._encoding = future.result(), None
            self._waiting += [(each.entry, each.flags, row) for each, row in zip(readied, rows, strict=True)]

    def commit(self, refused: Sequence[Unreadable]) -> list[tuple[Entry, tuple[Flag, ...], Stored]]:
        if self._encoding and self._encoding[1].done():
            self.finish()
        written = self._write() if self._waiting else []
        kept = [each for each in refused if each.source_digest]
        self._archive.refuse([_problem(each) for each in kept], attributes=[dict(each.attributes) for each in kept])
        return written

    def _write(self) -> list[tuple[Entry, tuple[Flag, ...], Stored]]:
        waiting, self._waiting = self._waiting, []
        entries = [entry.computed_by(self._encoder.runtime) for entry, _, _ in waiting]
        rows = Embedding(matrix=np.stack([row for _, _, row in waiting]), space=self._encoder.space)
        captions = [entry.text for entry in entries if entry.text]
        texts = self._encoder.encode_text(captions) if captions else None
        written = []
        for (entry, flags, _), added in zip(waiting, self._archive.add(entries, rows, texts=texts), strict=True):
            written.append((entry, flags if added.is_fitted else (*flags, _ATTRIBUTE_TYPE), added.stored))
        return written


class _Sorter:
    """Says what would become of pictures, and writes nothing."""

    def __init__(self, archive: Archive | None) -> None:
        self._archive = archive
        self._waiting: list[tuple[Entry, tuple[Flag, ...]]] = []
        self._seen: set[str] = set()
        self.num_encoding = 0

    def encode(self, readied: Sequence[Readied]) -> None:
        self._waiting += [(each.entry, each.flags) for each in readied]

    def finish(self) -> None:
        """Nothing is encoded, so nothing is under way."""

    def commit(self, refused: Sequence[Unreadable]) -> list[tuple[Entry, tuple[Flag, ...], Stored]]:
        waiting, self._waiting = self._waiting, []
        entries = [entry for entry, _ in waiting]
        stored = self._archive.sort_out(entries) if self._archive else [Stored.NEW] * len(entries)
        sorted_out = []
        for (entry, flags), answer in zip(waiting, stored, strict=True):
            if answer is Stored.NEW and entry.source_digest in self._seen:
                answer = Stored.SAME
            elif answer is Stored.NEW and entry.record_id in self._seen:
                answer = Stored.CONFLICT
            self._seen |= {entry.source_digest, entry.record_id}
            sorted_out.append((entry, flags, answer))
        return sorted_out


class _Run:
    """The state of one run: what waits for the encoder and for the disk, and the counts."""

    def __init__(
        self,
        destination: _Destination,
        config: IngestConfig,
        on_progress: Callable[[Progress], None],
        *,
        archive: Archive | None,
    ) -> None:
        self._destination = destination
        self._config = config
        self._on_progress = on_progress
        self._archive = archive
        self._indexed = archive.digests() if archive else np.empty(0, dtype="S32")
        self._refusals = self._earlier_refusals() if archive and config.is_resumed else {}
        self._to_encode: list[Readied] = []
        self._refused: list[Unreadable] = []
        self._problems: list[Problem] = []
        self._all_problems: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._num_files = self._num_commits = self._num_waiting = 0
        self._start = self._last_commit = time.monotonic()

    def known(self) -> np.ndarray:
        """Leading characters of the digests of files that need not be read, sorted: `[N]` of type `S32`."""
        refused = np.array([digest[:32] for digest in self._refusals], dtype="S32")
        return np.sort(np.concatenate([self._indexed, refused]))

    def read(self, sources: Iterable[Source], job: Job) -> None:
        """Read every source and carry it to its destination."""
        with Workers(job, self._config.workers) as workers:
            for outcome in workers.results(sources):
                self._take(outcome)
        self._encode()
        self._destination.finish()
        self._commit()

    def report(self) -> IngestReport:
        """The counts of the whole run."""
        seconds = time.monotonic() - self._start
        num_images = self._counts["accepted"] + self._counts["flagged"]
        return IngestReport(
            **{name: self._counts[name] for name in ("accepted", "flagged", "unchanged")},
            **{name: self._counts[name] for name in ("metadata_only", "quarantined", "rejected")},
            seconds=round(seconds, 3),
            images_per_s=round(num_images / seconds, 2) if seconds else 0.0,
            problems=tuple(self._all_problems),
        )

    def _earlier_refusals(self) -> dict[str, Problem]:
        """What an earlier run refused, but for what has been indexed since."""
        assert self._archive is not None
        indexed = set(self._indexed.tolist())
        return {d: problem for d, problem in self._archive.refusals().items() if d[:32].encode() not in indexed}

    def _take(self, outcome: Outcome) -> None:
        """Sort one outcome in; encode and commit when enough has gathered."""
        self._num_files += 1
        if isinstance(outcome, Unchanged):
            self._take_unchanged(outcome)
        elif isinstance(outcome, Unreadable):
            self._refuse(outcome)
        else:
            self._to_encode.append(outcome)
            self._num_waiting += 1
            if len(self._to_encode) >= self._config.batch_size:
                self._encode()
        is_due = time.monotonic() - self._last_commit > self._config.commit_s
        num_ready = self._num_waiting - len(self._to_encode) - self._destination.num_encoding
        if is_due or num_ready >= self._config.commit_size:
            self._commit()

    def _encode(self) -> None:
        if self._to_encode:
            self._destination.encode(self._to_encode)
            self._to_encode = []

    def _commit(self) -> None:
        """Write what waits for the disk; what this returns from is acknowledged."""
        for entry, flags, stored in self._destination.commit(self._refused):
            if stored is Stored.NEW:
                self._accept(entry, flags)
            elif stored is Stored.SAME:
                self._counts["unchanged"] += 1
                self._problems.append(_flagged(entry, (_DUPLICATE_CONTENT,)))
            else:
                self._count_refused(_id_conflict(entry))
        self._refused = []
        self._num_waiting = len(self._to_encode) + self._destination.num_encoding
        self._num_commits += 1
        if self._archive and self._num_commits % self._config.commits_per_merge == 0:
            self._archive.compact()
        self._last_commit = time.monotonic()
        problems, self._problems = tuple(self._problems), []
        self._all_problems.extend(problems)
        num_images = self._counts["accepted"] + self._counts["flagged"]
        done = self._num_files - self._num_waiting
        self._on_progress(Progress(num_files=done, num_images=num_images, problems=problems))

    def _take_unchanged(self, outcome: Unchanged) -> None:
        if (problem := self._refusals.get(outcome.source_digest)) is None:
            self._counts["unchanged"] += 1
        else:
            self._counts[_COUNTS[problem.answer]] += 1
            self._problems.append(replace(problem, source=outcome.source))

    def _accept(self, entry: Entry, flags: tuple[Flag, ...]) -> None:
        self._counts["flagged" if flags else "accepted"] += 1
        if flags:
            self._problems.append(_flagged(entry, flags))

    def _refuse(self, outcome: Unreadable) -> None:
        self._count_refused(outcome)
        self._refused.append(outcome)

    def _count_refused(self, outcome: Unreadable) -> None:
        self._counts[_COUNTS[outcome.answer]] += 1
        self._problems.append(_problem(outcome))


def _flagged(entry: Entry, flags: tuple[Flag, ...]) -> Problem:
    return Problem(
        source=entry.source,
        source_digest=entry.source_digest,
        answer=Answer.FLAG,
        code=",".join(flag.code for flag in flags),
        sentence=" ".join(flag.sentence for flag in flags),
    )


def _problem(outcome: Unreadable) -> Problem:
    return Problem(
        source=outcome.source,
        source_digest=outcome.source_digest,
        answer=outcome.answer,
        code=outcome.code,
        sentence=outcome.sentence,
    )


def _id_conflict(entry: Entry) -> Unreadable:
    """The answer about a file whose id is taken: the caller can mend it, so it is not remembered."""
    return Unreadable(
        source=entry.source,
        source_digest=entry.source_digest,
        answer=Answer.QUARANTINE,
        code="ID_CONFLICT",
        sentence="Another content has this record id; give this file an id of its own.",
        attributes={},
    )
