"""Splits that keep a patient on one side, that can be repeated anywhere, and that can be checked later.

A group (a patient; a study or article where no patient is known; else a record) is placed by a keyed hash of its name.
Without a stratum, its place depends on nothing else: it stays where it is when the dataset grows. With one, groups of
equal stratum are dealt out evenly, and a place depends on the other groups.

A split is written as a folder: `manifest.csv` with the new column `split` (what was published stays as
`published_split`), and `split.json`, which says how it was made and holds the digests that `verify_split` compares.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from callosum.core.config import config_from
from callosum.core.digest import digest_file, digest_json
from callosum.core.errors import DigestMismatch, InputError, IntegrityError, UsageError
from callosum.core.finding import Presence
from callosum.data.datasets.census import Census
from callosum.data.datasets.dataset import Dataset, Example, Row
from callosum.data.datasets.write import write_manifest
from callosum.data.manifest import read_manifest
from callosum.data.sources import Source

SCHEMA = "callosum.split/1"
HEADER, MANIFEST = "split.json", "manifest.csv"
_WEIGHT = {Presence.UNMENTIONED: 1, Presence.ABSENT: 2, Presence.UNCERTAIN: 3, Presence.PRESENT: 4}
"""A group has the strongest presence of its pictures; 0 when none of them was looked at."""


class GroupBy(StrEnum):
    """What is kept together. Where it is not known, the next one takes its place."""

    PATIENT = "patient"
    STUDY = "study"
    RECORD = "record"


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How a dataset is split."""

    names: tuple[str, ...] = ("train", "validation", "test")
    """The sides."""
    ratios: tuple[float, ...] = (0.7, 0.1, 0.2)
    """Share of the groups that each is to have; they sum to 1."""
    by: GroupBy = GroupBy.PATIENT
    """What is kept together."""
    seed: int = 0
    """Key of the hash."""
    stratify: str = ""
    """Concept whose presence is to be as frequent on every side; empty for none."""

    def __post_init__(self) -> None:
        is_whole = len(self.names) == len(self.ratios) and abs(sum(self.ratios) - 1) < 1e-6
        if not is_whole or any(ratio <= 0 for ratio in self.ratios) or len(set(self.names)) != len(self.names):
            message = "A split needs different names, and as many ratios above 0 that sum to 1."
            raise UsageError(message, hint="For instance train=0.7,validation=0.1,test=0.2.")


def group_of(source: Source, by: GroupBy) -> str:
    """What a picture is kept together with; spaces around an identifier do not count."""
    if by is GroupBy.PATIENT and (patient := source.patient_id.strip()):
        return f"patient:{patient}"
    if by is not GroupBy.RECORD and (study := source.study_id.strip()):
        return f"study:{study}"
    return f"record:{source.name}"


def assign(strata: Mapping[str, int], config: SplitConfig) -> dict[str, str]:
    """The side of each group.

    Args:
        strata: Group to its stratum; looked at only when `config.stratify` names a concept.
        config: Ratios and key.
    """
    points = {group: _point(group, config.seed) for group in strata}
    if not config.stratify:
        return {group: _side(point, config) for group, point in points.items()}
    sides: dict[str, str] = {}
    for stratum in sorted(set(strata.values())):
        members = sorted((points[group], group) for group, found in strata.items() if found == stratum)
        shift = _point(f"stratum:{stratum}", config.seed)  # so that small strata do not all begin on the first side
        for at, (_, group) in enumerate(members):
            sides[group] = _side((at + shift) / len(members) % 1.0, config)
    return sides


def write_split(dataset: Dataset, folder: Path, config: SplitConfig | None = None) -> dict[str, Any]:
    """Split a dataset into `folder`, reading it twice; what is returned is what `split.json` holds.

    Raises:
        UsageError: the concept to stratify by is none of the dataset's.
        InputError: the dataset has no example, or `folder` cannot be written.
    """
    config = config or SplitConfig()
    if config.stratify and dataset.concepts and config.stratify not in dataset.concepts:
        message = f"The dataset has no concept '{config.stratify}'."
        raise UsageError(message, hint=f"It has: {', '.join(dataset.concepts)}.")
    census = Census()
    strata = _strata(census.count(dataset.rows()), config)
    if not strata:
        message = "The dataset has no example to split."
        raise InputError(message, hint="Run: callosum dataset check.")
    sides = assign(strata, config)
    placed = Census()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = write_manifest(
            folder / MANIFEST, _placed(dataset.rows(), sides, config, placed), concepts=dataset.concepts
        )
    except OSError as error:
        message = "The folder of the split cannot be written."
        raise InputError(message, hint="Check its permissions and the room on its disk.") from error
    header = {
        "schema": SCHEMA,
        "dataset": dataset.card.name,
        "card_digest": digest_json(asdict(dataset.card)),
        "config": asdict(config),
        "num_rows": written.num_rows,
        "num_groups": dict(sorted(Counter(sides.values()).items())),
        "splits": dict(sorted(placed.splits.items())),
        "labels": _labels_by_side(folder / MANIFEST, dataset.concepts),
        "published": {
            "splits": dict(sorted(census.splits.items())),
            "num_straddling_patients": census.num_straddling_patients,
            "num_straddling_studies": census.num_straddling_studies,
        },
        "num_without_patient": census.num_without_patient,
        "skipped": {str(lack): times for lack, times in sorted(census.lacks.items())},
        "rows_digest": rows_digest(folder / MANIFEST),
        "manifest": MANIFEST,
        "manifest_digest": digest_file(folder / MANIFEST),
    }
    (folder / HEADER).write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
    return header


def verify_split(folder: Path) -> dict[str, Any]:
    """Check a split: the manifest is the one that was written, and no group is on two sides.

    Returns:
        What `split.json` holds.

    Raises:
        InputError: it is no split.
        DigestMismatch: the manifest was changed.
        IntegrityError: a group is on two sides, or a row on none.
    """
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        config = config_from(SplitConfig, header["config"])
        known = header["schema"], header["manifest_digest"], header["rows_digest"], header["num_rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"There is no '{HEADER}' of a split in the folder, or it cannot be read."
        raise InputError(message, hint="Name a folder that `callosum dataset split` wrote.") from error
    if known[0] != SCHEMA:
        message = f"'{HEADER}' is of another format than {SCHEMA}."
        raise InputError(message)
    manifest = folder / MANIFEST
    if digest_file(manifest) != known[1] or rows_digest(manifest) != known[2]:
        message = "The manifest is not the one that the split was written with."
        raise DigestMismatch(message, hint="Restore it, or split the dataset again.")
    side_of: dict[str, str] = {}
    num_rows = 0
    for source in read_manifest(manifest):
        num_rows += 1
        if (
            source.split not in config.names
            or side_of.setdefault(group_of(source, config.by), source.split) != source.split
        ):
            message = f"Row {num_rows} of the manifest is on no side, or on another than the rest of its group."
            raise IntegrityError(message, hint="Split the dataset again.")
    return dict(header)


def rows_digest(manifest: Path) -> str:
    """SHA-256 over path and side of every row, in order: equal for equal splits of one dataset in one place."""
    digest = hashlib.sha256()
    for source in read_manifest(manifest):
        digest.update(f"{source.name}\t{source.split}\n".encode())
    return digest.hexdigest()


def _strata(examples: Iterable[Example], config: SplitConfig) -> dict[str, int]:
    strata: dict[str, int] = {}
    for example in examples:
        group = group_of(example.source, config.by)
        presence = example.labels.get(config.stratify)
        weight = 0 if presence is None else _WEIGHT[presence]
        strata[group] = max(strata.get(group, 0), weight)
    return strata


def _placed(rows: Iterable[Row], sides: Mapping[str, str], config: SplitConfig, placed: Census) -> Iterator[Example]:
    """The examples on their new sides, what was published as an attribute."""

    def moved() -> Iterator[Row]:
        for row in rows:
            if isinstance(row, Example):
                source = row.source
                published = {"published_split": source.split} if source.split else {}
                side = sides[group_of(source, config.by)]
                source = replace(source, split=side, attributes={**source.attributes, **published})
                yield replace(row, source=source)

    return placed.count(moved())


def _labels_by_side(manifest: Path, concepts: tuple[str, ...]) -> dict[str, dict[str, dict[str, int]]]:
    """Concept to side to presence to count."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for source in read_manifest(manifest) if concepts else ():
        counts.update((name, source.split, str(value)) for name, value in source.attributes.items() if name in concepts)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for (name, side, presence), times in sorted(counts.items()):
        found.setdefault(name, {}).setdefault(side, {})[presence] = times
    return found


def _point(group: str, seed: int) -> float:
    """Where a group lies in [0, 1)."""
    digest = hashlib.blake2b(group.encode(), digest_size=8, key=str(seed).encode()).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def _side(point: float, config: SplitConfig) -> str:
    end = 0.0
    for name, ratio in zip(config.names, config.ratios, strict=True):
        end += ratio
        if point < end:
            return name
    return config.names[-1]
