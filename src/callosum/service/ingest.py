"""Files to rows: reading and rendering in worker processes, encoding here, writing in batches.

A batch is acknowledged when it is on the disk, and only then counted. A second run over the same files adds nothing,
because the content's digest decides; that is also all that resuming needs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from callosum.archive.archive import Archive
from callosum.archive.entry import Stored
from callosum.core.protocols import Encoder, Preprocess
from callosum.core.record import Answer, Flag
from callosum.core.result import IngestReport, Problem
from callosum.data.sources import Source
from callosum.service.outcome import (
    Expanded,
    Job,
    Outcome,
    Readied,
    ReadingConfig,
    ReadReport,
    Unchanged,
    Unreadable,
    Walked,
)
from callosum.service.report_table import read_report_table
from callosum.service.slides import Slides
from callosum.service.workers import Workers, WorkersConfig
from callosum.service.writer import Destination, Sorter, Writer, Written, flagged, problem_of

_DUPLICATE_CONTENT = Flag(
    code="DUPLICATE_CONTENT", sentence="It has the same content as another file of this run; one of them is indexed."
)
_CONFLICTS = {
    Stored.CONFLICT: Flag(
        code="ID_CONFLICT", sentence="Another content has this record id; give this file an id of its own."
    ),
    Stored.UID_CONFLICT: Flag(
        code="UID_CONFLICT",
        sentence="Another picture has the same SOP Instance UID; one of the two is not what it says.",
    ),
    Stored.HIERARCHY_CONFLICT: Flag(
        code="HIERARCHY_CONFLICT",
        sentence="Its series is in another study here, or its study belongs to another patient.",
    ),
}
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
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    workers: WorkersConfig = field(default_factory=WorkersConfig)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What has been acknowledged so far."""

    num_files: int
    num_images: int
    num_found: int
    """Files found in archives so far, beyond the archives themselves."""
    problems: tuple[Problem, ...]
    """Those of this batch."""


def ingest(
    archive: Archive,
    sources: Iterable[Source],
    encoder: Encoder,
    *,
    reports: Path | None = None,
    config: IngestConfig | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """Index files.

    Args:
        archive: Where the rows go; it must be new or of the encoder's space.
        sources: Files.
        encoder: Turns pictures and texts into vectors.
        reports: A table of reports, to be joined to the studies that are there or will come.
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
        with closing(Writer(archive, encoder)) as writer:
            run = _Run(writer, config or IngestConfig(), on_progress, archive=archive)
            run.read(sources, run.job(preprocess=encoder.preprocess, key=archive.key), reports=reports)
        archive.refresh_groups()
        archive.compact()
    return run.report()


def inspect(
    sources: Iterable[Source],
    *,
    archive: Archive | None = None,
    preprocess: Preprocess | None = None,
    reports: Path | None = None,
    config: IngestConfig | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """What `ingest` would answer, without encoding or writing anything; see `ingest`."""
    run = _Run(Sorter(archive), config or IngestConfig(), on_progress, archive=archive)
    run.read(sources, run.job(preprocess=preprocess, key=archive.key if archive else b""), reports=reports)
    return run.report()


class _Run:
    """The state of one run: what waits for the encoder and for the disk, and the counts."""

    def __init__(
        self,
        destination: Destination,
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
        self._num_commits = self._num_gathered = self._num_images = self._num_found = 0
        self._reports: list[ReadReport] = []
        self._slides = Slides()
        self._start = self._last_commit = time.monotonic()

    def job(self, *, preprocess: Preprocess | None, key: bytes) -> Job:
        """What the reading processes are told; files indexed or refused before need not be read."""
        refused = np.array([digest[:32] for digest in self._refusals], dtype="S32")
        known = np.sort(np.concatenate([self._indexed, refused]))
        return Job(preprocess=preprocess, known=known, key=key, reading=self._config.reading)

    def read(self, sources: Iterable[Source], job: Job, *, reports: Path | None) -> None:
        """Read every source and report, and carry it to its destination."""
        with Workers(job, self._config.workers) as workers:
            for outcome in workers.results(sources):
                self._take(outcome)
        for report in read_report_table(reports, key=job.key) if reports else ():
            self._take(report)
        self._encode()
        self._destination.finish()
        self._commit()

    def report(self) -> IngestReport:
        """The counts of the whole run."""
        seconds = time.monotonic() - self._start
        return IngestReport(
            **{name: self._counts[name] for name in ("accepted", "flagged", "unchanged")},
            **{name: self._counts[name] for name in ("reports", "metadata_only", "quarantined", "rejected")},
            seconds=round(seconds, 3),
            images=self._num_images,
            images_per_s=round(self._num_images / seconds, 2) if seconds else 0.0,
            problems=tuple(self._all_problems),
        )

    def _earlier_refusals(self) -> dict[str, Problem]:
        """What an earlier run refused, but for what has been indexed since."""
        assert self._archive is not None
        indexed = set(self._indexed.tolist())
        return {d: problem for d, problem in self._archive.refusals().items() if d[:32].encode() not in indexed}

    def _take(self, outcome: Outcome) -> None:
        """Sort one outcome in; encode and commit when enough has gathered."""
        match outcome:
            case Expanded():
                self._slides.begin(outcome)
            case Walked():
                self._num_found += len(outcome.parts) - 1
            case Unchanged():
                self._take_unchanged(outcome)
            case Unreadable():
                self._refuse(outcome)
            case ReadReport():
                self._reports.append(outcome)
            case Readied(pictures=()):
                self._slide_done(outcome.slide, num_lost=outcome.num_lost)
            case Readied():
                self._to_encode.append(outcome)
                self._num_gathered += len(outcome.pictures)
        if self._num_gathered >= self._config.batch_size:
            self._encode()
        is_due = time.monotonic() - self._last_commit > self._config.commit_s
        if is_due or self._destination.num_ready + len(self._reports) >= self._config.commit_size:
            self._commit()

    def _encode(self) -> None:
        if self._to_encode:
            self._destination.encode(self._to_encode)
            self._to_encode, self._num_gathered = [], 0

    def _commit(self) -> None:
        """Write what waits for the disk; what this returns from is acknowledged."""
        reports, self._reports = self._reports, []
        for readied, pictures in self._destination.commit(self._refused):
            self._count_written(readied, pictures)
        for report, stored in zip(reports, self._destination.attach(reports), strict=True):
            self._count_report(report, stored)
        self._refused = []
        self._num_commits += 1
        if self._archive and self._num_commits % self._config.commits_per_merge == 0:
            self._archive.compact()
        self._last_commit = time.monotonic()
        problems, self._problems = tuple(self._problems), []
        self._all_problems.extend(problems)
        self._on_progress(
            Progress(
                num_files=self._counts.total(),
                num_images=self._num_images,
                num_found=self._num_found,
                problems=problems,
            )
        )

    def _take_unchanged(self, outcome: Unchanged) -> None:
        problem = self._refusals.get(outcome.source_digest)
        if outcome.slide:
            num_lost = outcome.num_tiles if problem else 0
            self._slide_done(outcome.slide, num_same=outcome.num_tiles - num_lost, num_lost=num_lost)
        elif problem is None:
            self._counts["unchanged"] += 1
        else:
            self._counts[_COUNTS[problem.answer]] += 1
            self._problems.append(replace(problem, source=outcome.source))

    def _count_written(self, readied: Readied, pictures: Sequence[Written]) -> None:
        """Count one file by what became of its pictures: it is new when one of them is."""
        first = pictures[0].entry
        new = [each for each in pictures if each.stored is Stored.NEW]
        conflict = next((each.stored for each in pictures if each.stored in _CONFLICTS), None)
        flags = [flag for each in new for flag in each.flags]
        self._num_images += len(new)
        if readied.slide:
            same = len(pictures) - len(new)
            self._slide_done(
                readied.slide,
                num_new=len(new),
                num_same=same,
                num_lost=readied.num_lost,
                flags=flags,
                conflict=conflict,
            )
        elif new:
            self._accept(first.source, first.source_digest, flags)
        elif conflict:
            self._count_refused(_conflict(first.source, first.source_digest, conflict))
        else:
            self._take_duplicate(first.source, first.source_digest)

    def _take_duplicate(self, source: str, digest: str) -> None:
        self._counts["unchanged"] += 1
        self._problems.append(flagged(source, digest, [_DUPLICATE_CONTENT]))

    def _slide_done(self, slide: str, **batch: Any) -> None:
        """Count one batch, as `Slides.done` takes it; with the last one, the slide."""
        done = self._slides.done(slide, **batch)
        if done is None:
            return
        if done.refused:
            self._refuse(done.refused)
        elif done.num_new:
            doubts = (_CONFLICTS[done.conflict],) if done.conflict else ()
            self._accept(done.slide.source, done.slide.source_digest, (*done.flags, *doubts))
        elif done.conflict:
            self._count_refused(_conflict(done.slide.source, done.slide.source_digest, done.conflict))
        else:
            self._counts["unchanged"] += 1
        for copy in done.copies:
            if done.refused:
                self._count_refused(replace(done.refused, source=copy.source))
            else:
                self._take_duplicate(copy.source, copy.source_digest)

    def _accept(self, source: str, digest: str, flags: Sequence[Flag]) -> None:
        self._counts["flagged" if flags else "accepted"] += 1
        if flags:
            self._problems.append(flagged(source, digest, flags))

    def _count_report(self, report: ReadReport, stored: Stored) -> None:
        if stored in _CONFLICTS:
            self._count_refused(_conflict(report.source, report.source_digest, stored))
            return
        self._counts["unchanged" if stored is Stored.SAME else "reports"] += 1
        if report.flags and stored is Stored.NEW:
            self._problems.append(flagged(report.source, report.source_digest, report.flags))

    def _refuse(self, outcome: Unreadable) -> None:
        self._refused.append(outcome)
        if outcome.slide:
            self._slide_done(outcome.slide, num_lost=outcome.num_tiles)
        else:
            self._count_refused(outcome)

    def _count_refused(self, outcome: Unreadable) -> None:
        self._counts[_COUNTS[outcome.answer]] += 1
        self._problems.append(problem_of(outcome))


def _conflict(source: str, digest: str, stored: Stored) -> Unreadable:
    """The answer about a file that contradicts the archive: the caller can mend it, so it is not remembered."""
    return Unreadable(
        source=source,
        source_digest=digest,
        answer=Answer.QUARANTINE,
        code=_CONFLICTS[stored].code,
        sentence=_CONFLICTS[stored].sentence,
    )
