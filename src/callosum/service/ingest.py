"""Files to rows: reading and rendering in worker processes, encoding here, writing in batches.

A batch is acknowledged when it is on the disk, and only then counted. A second run over the same files adds nothing,
because the content's digest decides; that is also all that resuming needs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from callosum.archive.archive import Archive, Stored
from callosum.core.embedding import Embedding
from callosum.core.protocols import Encoder
from callosum.core.record import Answer
from callosum.core.result import IngestReport, Problem
from callosum.data.sources import Source
from callosum.service.worker import Job, Outcome, Readied, Unchanged, Unreadable
from callosum.service.workers import Workers, WorkersConfig

_COUNTS = {Answer.METADATA_ONLY: "metadata_only", Answer.QUARANTINE: "quarantined", Answer.REJECT: "rejected"}


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """How files become rows."""

    batch_size: int = 32
    """Pictures encoded at once."""
    commit_size: int = 256
    """Pictures written at once."""
    commit_s: float = 5.0
    """Longest time between two commits."""
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
    """
    archive.require_space(encoder.space)
    run = _Run(archive, encoder, config or IngestConfig(), on_progress)
    known = np.sort(np.concatenate([archive.digests(), run.refused_digests()]))
    job = Job(preprocess=encoder.preprocess, known=known, key=archive.key)
    with Workers(job, run.config.workers) as workers:
        for outcome in workers.results(sources):
            run.take(outcome)
    run.encode()
    run.commit()
    archive.compact()
    return run.report()


def inspect(
    sources: Iterable[Source],
    *,
    config: IngestConfig | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """What `ingest` would answer, without encoding or writing anything."""
    run = _Run(None, None, config or IngestConfig(), on_progress)
    job = Job(preprocess=None, known=np.empty(0, dtype="S32"), key=b"")
    with Workers(job, run.config.workers) as workers:
        for outcome in workers.results(sources):
            run.take(outcome)
    run.commit()
    return run.report()


class _Run:
    """The state of one run: what waits for the encoder, what waits for the disk, and the counts."""

    def __init__(
        self,
        archive: Archive | None,
        encoder: Encoder | None,
        config: IngestConfig,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self.config = config
        self._archive = archive
        self._encoder = encoder
        self._on_progress = on_progress
        self._refusals = archive.refusals() if archive is not None and config.is_resumed else {}
        self._to_encode: list[Readied] = []
        self._to_write: list[tuple[Readied, np.ndarray]] = []
        self._refused: list[tuple[Problem, dict[str, Any]]] = []
        self._problems: list[Problem] = []
        self._all_problems: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._num_files = 0
        self._start = self._last_commit = time.monotonic()

    def take(self, outcome: Outcome) -> None:
        """Sort one outcome in; encode and commit when enough has gathered."""
        self._num_files += 1
        if isinstance(outcome, Unchanged):
            self._take_unchanged(outcome)
        elif isinstance(outcome, Unreadable):
            self._refuse(outcome)
        elif self._encoder is None:
            self._accept(outcome)
        else:
            self._to_encode.append(outcome)
            if len(self._to_encode) >= self.config.batch_size:
                self.encode()
        is_due = time.monotonic() - self._last_commit > self.config.commit_s
        if is_due or len(self._to_write) >= self.config.commit_size:
            self.commit()

    def refused_digests(self) -> np.ndarray:
        """Leading characters of the digests that the resumed run refused: `[N]` of type `S32`."""
        return np.array([digest[:32] for digest in self._refusals if digest], dtype="S32")

    def encode(self) -> None:
        """Encode what waits for the encoder."""
        if not self._to_encode or self._encoder is None:
            return
        pixels_NSSC = np.stack([readied.pixels for readied in self._to_encode if readied.pixels is not None])
        rows = self._encoder.encode_pixels(pixels_NSSC).matrix
        self._to_write.extend(zip(self._to_encode, rows, strict=True))
        self._to_encode = []

    def commit(self) -> None:
        """Write what waits for the disk; what this returns from is acknowledged."""
        if self._archive is not None and self._encoder is not None:
            if self._to_write:
                self._write(self._archive, self._encoder)
            self._archive.refuse([p for p, _ in self._refused], attributes=[a for _, a in self._refused])
        self._to_write, self._refused = [], []
        self._last_commit = time.monotonic()
        problems, self._problems = tuple(self._problems), []
        self._all_problems.extend(problems)
        num_images = self._counts["accepted"] + self._counts["flagged"]
        waiting = len(self._to_encode)
        self._on_progress(Progress(num_files=self._num_files - waiting, num_images=num_images, problems=problems))

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

    def _write(self, archive: Archive, encoder: Encoder) -> None:
        entries = [readied.entry for readied, _ in self._to_write]
        rows = Embedding(matrix=np.stack([row for _, row in self._to_write]), space=encoder.space)
        captioned = [entry for entry in entries if entry.text]
        texts = None
        if captioned:
            encoded = encoder.encode_text([entry.text or "" for entry in captioned])
            texts = replace(encoded, ids=tuple(entry.record_id for entry in captioned))
        for (readied, _), stored in zip(self._to_write, archive.add(entries, rows, texts=texts), strict=True):
            if stored is Stored.NEW:
                self._accept(readied)
            elif stored is Stored.SAME:
                self._counts["unchanged"] += 1
            else:
                self._refuse(_id_conflict(readied))

    def _accept(self, readied: Readied) -> None:
        self._counts["flagged" if readied.flags else "accepted"] += 1
        if readied.flags:
            self._problems.append(
                Problem(
                    source=readied.entry.source,
                    source_digest=readied.entry.source_digest,
                    answer=Answer.FLAG,
                    code=",".join(flag.code for flag in readied.flags),
                    sentence=" ".join(flag.sentence for flag in readied.flags),
                )
            )

    def _take_unchanged(self, outcome: Unchanged) -> None:
        if (problem := self._refusals.get(outcome.source_digest)) is None:
            self._counts["unchanged"] += 1
        else:
            self._counts[_COUNTS[problem.answer]] += 1
            self._problems.append(replace(problem, source=outcome.source))

    def _refuse(self, outcome: Unreadable) -> None:
        self._counts[_COUNTS[outcome.answer]] += 1
        problem = Problem(
            source=outcome.source,
            source_digest=outcome.source_digest,
            answer=outcome.answer,
            code=outcome.code,
            sentence=outcome.sentence,
        )
        self._problems.append(problem)
        if outcome.source_digest:
            self._refused.append((problem, dict(outcome.attributes)))


def _id_conflict(readied: Readied) -> Unreadable:
    return Unreadable(
        source=readied.entry.source,
        source_digest=readied.entry.source_digest,
        answer=Answer.QUARANTINE,
        code="ID_CONFLICT",
        sentence="Another content has this record id; give this file an id of its own.",
        attributes={},
    )
