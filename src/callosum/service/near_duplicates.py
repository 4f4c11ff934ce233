"""Near-duplicates among files: thumbnails are made in the reading processes, and compared here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from callosum.data.neardup import SIDE, NearConfig, Thumbnail, near_pairs
from callosum.data.sources import Source
from callosum.service.outcome import Job, Readied, ReadingConfig
from callosum.service.workers import Workers, WorkersConfig


@dataclass(frozen=True, kw_only=True)
class NearPair:
    """Two files that are nearly the same picture; of equal bytes, the distance is 0 and the correlation 1."""

    first: str
    second: str
    distance: int
    correlation: float
    is_exact: bool


@dataclass(frozen=True, kw_only=True)
class NearReport:
    """What was compared, and what was found.

    Attributes:
        pairs: Nearest first. Of files of equal bytes, each is paired with the first of them only.
        groups: Names that hang together by pairs.
        num_read: Files that gave a picture.
        num_flat: Pictures without contrast: only their bytes were compared.
    """

    pairs: tuple[NearPair, ...]
    groups: tuple[tuple[str, ...], ...]
    num_read: int
    num_flat: int


def find_near_duplicates(
    sources: Iterable[Source],
    *,
    config: NearConfig | None = None,
    workers: WorkersConfig | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> NearReport:
    """Read every source once and compare what they show; of a file with several pictures, the middle one.

    Args:
        sources: Files; their names are unique.
        config: What counts as nearly the same.
        workers: How files are read.
        on_progress: Called with the number of files done.
    """
    job = Job(preprocess=Thumbnail(), known=np.empty(0, "S32"), key=b"", reading=ReadingConfig(max_pictures=1))
    first_of: dict[str, str] = {}
    exact: list[tuple[str, str]] = []
    names: list[str] = []
    thumbnails: list[np.ndarray] = []
    with Workers(job, workers) as pool:
        for done, outcome in enumerate(pool.results(sources), start=1):
            on_progress(done)
            if not isinstance(outcome, Readied) or not outcome.pictures:
                continue
            entry, pixels = outcome.pictures[0].entry, outcome.pictures[0].pixels
            first = first_of.setdefault(entry.source_digest, entry.source)
            if first != entry.source:
                exact.append((first, entry.source))
            elif pixels is not None:
                names.append(entry.source)
                thumbnails.append(pixels[..., 0])
    order = sorted(range(len(names)), key=names.__getitem__)  # the pool gives them in no fixed order
    names = [names[at] for at in order]
    stack = np.stack([thumbnails[at] for at in order]) if names else np.empty((0, SIDE, SIDE), np.uint8)
    found = near_pairs(stack, config)
    pairs = [NearPair(first=a, second=b, distance=0, correlation=1.0, is_exact=True) for a, b in sorted(exact)]
    for (a, b), distance, correlation in zip(found.rows, found.distance, found.correlation, strict=True):
        near = NearPair(
            first=names[a], second=names[b], distance=int(distance), correlation=float(correlation), is_exact=False
        )
        pairs.append(near)
    return NearReport(
        pairs=tuple(pairs),
        groups=_groups(found.groups(), names, exact),
        num_read=len(names) + len(exact),
        num_flat=found.num_flat,
    )


def _groups(near: list[list[int]], names: list[str], exact: list[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    """Groups of the pictures that were compared, each with the files that have equal bytes."""
    equal: dict[str, list[str]] = {}
    for first, other in exact:
        equal.setdefault(first, []).append(other)
    groups = [[name for at in rows for name in (names[at], *equal.pop(names[at], []))] for rows in near]
    groups += [[first, *others] for first, others in equal.items()]
    return tuple(tuple(sorted(group)) for group in sorted(groups))
