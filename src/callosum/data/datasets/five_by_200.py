"""CheXpert-5x200 and MIMIC-5x200: as many pictures of each of five findings, each positive for that one alone.

The protocol of GLoRIA (Huang et al., ICCV 2021) and ConVIRT, as public code states it: frontal pictures of the
training table; the finding is positive, and every other observation but 'No Finding', which is not asked, is negative
or unmentioned: an uncertain one rules a picture out. What was published are random draws that nobody can repeat. Here
the draw is stated: pictures are ordered by a keyed hash of their names, and the first 200 of each finding are taken,
so that neither the order of the table nor what else is in it matters.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from callosum.core.errors import InputError, NotFound
from callosum.core.finding import Presence
from callosum.data.datasets.catalogue import open_dataset
from callosum.data.datasets.chexpert_labels import OBSERVATIONS
from callosum.data.datasets.dataset import TRAIN, Dataset, Example

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
BUILDERS = {"chexpert-5x200": ("chexpert",), "mimic-5x200": ("mimic-cxr-jpg", "mimic-cxr")}
"""Name of a builder to the datasets it can be built from."""

_ABSENT = (Presence.ABSENT, Presence.UNMENTIONED)


@dataclass(frozen=True, kw_only=True)
class FiveConfig:
    """How the pictures are chosen."""

    per_class: int = 200
    """Pictures of each finding: exactly so many."""
    seed: int = 0
    """Key of the order."""
    is_patient_disjoint: bool = False
    """A patient gives one picture at most, and the rest holds none of the patients that were taken."""
    is_frontal: bool = True
    """Lateral pictures, and those of unknown view, are left out."""
    split: str = TRAIN
    """Published split that is drawn from; empty for all. A dataset without splits is drawn from as a whole."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What was chosen.

    Attributes:
        finding_of: Name of the picture to its finding.
        patients: Theirs; empty unless patients are disjoint.
        num_candidates: For each finding, how many pictures it was chosen from.
    """

    finding_of: Mapping[str, str]
    patients: frozenset[str]
    num_candidates: Mapping[str, int]

    def is_rest(self, example: Example) -> bool:
        """True for a picture that may be trained on: neither chosen, nor of a patient that was taken."""
        return example.source.name not in self.finding_of and example.source.patient_id not in self.patients

    def rows(self, examples: Iterable[Example]) -> Iterator[Example]:
        """The chosen examples, each with its finding as the attribute `class`, all in the split `test`."""
        for example in examples:
            finding = self.finding_of.get(example.source.name)
            if finding is not None:
                attributes = {**example.source.attributes, "class": finding}
                yield replace(example, source=replace(example.source, split="test", attributes=attributes))


def open_source(builder: str, root: str | Path) -> Dataset:
    """The dataset that a 5x200 set is built from; of two that it may be, the one whose layout is at ROOT.

    Raises:
        NotFound: there is no such builder.
        InputError: ROOT has the layout of none.
    """
    if builder not in BUILDERS:
        message = "There is no builder of that name."
        raise NotFound(message, hint=f"Known: {', '.join(BUILDERS)}.")
    refusals: list[InputError] = []
    for name in BUILDERS[builder]:
        try:
            return open_dataset(name, root)
        except InputError as error:
            refusals.append(error)
    raise refusals[0]


def choose(dataset: Dataset, config: FiveConfig | None = None) -> Chosen:
    """Choose the pictures of a 5x200 set; the dataset is read once.

    Raises:
        InputError: a finding has too few pictures.
    """
    config = config or FiveConfig()
    candidates: dict[str, list[tuple[int, str, str]]] = {finding: [] for finding in FINDINGS}
    for example in dataset:
        finding = exclusive_finding(example.labels)
        if finding is not None and _is_wanted(example, config):
            name = example.source.name
            candidates[finding].append((_rank(config.seed, name), name, example.source.patient_id))
    taken: set[str] = set()
    finding_of: dict[str, str] = {}
    for finding in sorted(FINDINGS, key=lambda each: (len(candidates[each]), each)):  # the scarcest chooses first
        chosen = _first(candidates[finding], config, taken)
        if len(chosen) < config.per_class:
            each = " of different patients" if config.is_patient_disjoint else ""
            message = f"'{finding}' alone is positive in {len(chosen)} pictures{each}; {config.per_class} are needed."
            raise InputError(message, hint="Are all images there? Try --per-class with a smaller number.")
        finding_of |= {name: finding for _, name, _ in chosen}
    return Chosen(
        finding_of=finding_of,
        patients=frozenset(taken),
        num_candidates={finding: len(found) for finding, found in candidates.items()},
    )


def exclusive_finding(labels: Mapping[str, Presence]) -> str | None:
    """The one of the five findings that is positive while all others are negative or unmentioned; else None."""
    positive = [name for name in FINDINGS if labels.get(name) is Presence.PRESENT]
    if len(positive) != 1:
        return None
    others = (name for name in OBSERVATIONS if name not in ("No Finding", positive[0]))
    is_alone = all(labels.get(name, Presence.UNMENTIONED) in _ABSENT for name in others)
    return positive[0] if is_alone else None


def _is_wanted(example: Example, config: FiveConfig) -> bool:
    source = example.source
    is_frontal = not config.is_frontal or source.attributes.get("view") == "frontal"
    return is_frontal and source.split in ("", config.split) if config.split else is_frontal


def _first(found: list[tuple[int, str, str]], config: FiveConfig, taken: set[str]) -> list[tuple[int, str, str]]:
    """The first of a finding; `taken` grows by their patients when these must differ."""
    if not config.is_patient_disjoint:
        return heapq.nsmallest(config.per_class, found)
    chosen: list[tuple[int, str, str]] = []
    for rank, name, patient in sorted(found):
        if len(chosen) == config.per_class:
            break
        if patient not in taken:
            taken.add(patient)
            chosen.append((rank, name, patient))
    return chosen


def _rank(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8, key=str(seed).encode()).digest())
