"""One manifest and what it supplies: rows of the side that was asked for, with groups, labels and sentences."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from callosum.core.digest import digest_bytes, digest_file
from callosum.core.errors import InputError, UsageError
from callosum.core.finding import Presence
from callosum.data.manifest import FIXED, read_manifest, read_table
from callosum.data.sources import Source
from callosum.data.split import GroupBy, group_of
from callosum.knowledge.vectors import class_vector
from callosum.train.chance import keys, uniforms
from callosum.train.labels import check_columns, checked


class Kind(StrEnum):
    """What the rows of a manifest are."""

    PAIRS = "pairs"
    """A picture and a text that was written for it."""
    IMAGES = "images"
    """A picture, of which at most labels are known."""
    TEXTS = "texts"
    """A text, of which at most labels are known; its `path` is not opened."""


class Side(StrEnum):
    """The rows that are used. There is no third: a run never sees the rows it will be tested on."""

    TRAIN = "train"
    VALIDATION = "validation"


_WORDS = {
    "train": Side.TRAIN,
    "training": Side.TRAIN,
    "val": Side.VALIDATION,
    "valid": Side.VALIDATION,
    "validation": Side.VALIDATION,
    "dev": Side.VALIDATION,
}
"""How manifests write the sides; every other word is a side that is left alone."""
_LEFT_ALONE = ("", "test", "testing", "calibration")
"""Words of sides that are left alone on purpose."""


@dataclass(frozen=True, kw_only=True)
class Supply:
    """A manifest, what its rows are, and how much of a batch comes from them.

    Attributes:
        manifest: CSV or Parquet; see `callosum.data.manifest`.
        kind: What its rows are.
        weight: Its share of the slots of a batch, beside the other supplies that can fill them; 0 for none.
        labels: Concept to the column with its labels.
        text_columns: Columns whose texts make the report, each under its name as the heading; `text` when empty.
        is_report: Whether texts are parsed as reports; False takes each as one sentence.
        has_split: Whether rows say which side they are on; False uses all of them for training.
        share: Part of the patients that is used for training: those of 0.1 are among those of 0.3.
        population: Name of the people whose identifiers these are. Equal identifiers of one population are one
            patient, also in another manifest.
        zero: What the label 0 means; unmentioned, where a table lists only what was found.
    """

    manifest: Path
    kind: Kind
    weight: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    text_columns: tuple[str, ...] = ()
    is_report: bool = True
    has_split: bool = True
    share: float = 1.0
    population: str = ""
    zero: Presence = Presence.ABSENT

    def __post_init__(self) -> None:
        if not (np.isfinite(self.weight) and self.weight >= 0 and 0 < self.share <= 1):
            message = f"A weight is 0 or more and a share above 0 and at most 1; found {self.weight} and {self.share}."
            raise UsageError(message)

    @property
    def choices(self) -> dict[str, Any]:
        """Everything but the place, as a JSON value."""
        return {
            "manifest": digest_file(self.manifest),
            "kind": str(self.kind),
            "weight": self.weight,
            "labels": dict(self.labels),
            "text_columns": list(self.text_columns),
            "is_report": self.is_report,
            "has_split": self.has_split,
            "share": self.share,
            "population": self.population,
            "zero": str(self.zero),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A row of a manifest.

    Attributes:
        record_id: Its id; where it has none, the numbers of the manifest and of the row.
        side: The side it is on; empty for one that no run uses.
        is_unknown_side: Whether its word for the side is none that manifests use.
        patient: Key of the patient, else of the study, else of the record; it does not tell who that is.
        study: Key of the study; empty where it names none.
        has_patient: Whether the row names a patient.
        is_known_patient: Whether the row names a patient or a study.
        source: Where its picture is.
        text: Its text, as written.
        labels_K: Codes of the concepts.
        supply: Number of its manifest.
    """

    record_id: str
    side: str
    is_unknown_side: bool
    patient: str
    study: str
    has_patient: bool
    is_known_patient: bool
    source: Source
    text: str
    labels_K: np.ndarray
    supply: int


def read_rows(supply: Supply, number: int, *, concepts: tuple[str, ...]) -> Iterator[Row]:
    """Every row of a manifest, whatever its side.

    Raises:
        InputError: as `read_manifest` does; a column is not there; a cell holds no label; no row says its side.
    """
    required = next(iter(supply.text_columns), "text") if supply.kind is Kind.TEXTS else "path"
    columns = read_table(supply.manifest, required=required).column_names
    check_columns(columns, [*supply.labels.values(), *supply.text_columns])
    num_rows = num_placed = 0
    for source in read_manifest(supply.manifest, required=required):
        num_rows += 1
        word = source.split.strip().lower()
        num_placed += bool(word)
        side = _WORDS.get(word, "") if supply.has_split else Side.TRAIN
        found = {  # of rows that no run uses labels are not read
            concept: checked(_cell(source, column), column=column, row=num_rows, zero=supply.zero)
            for concept, column in (supply.labels.items() if side else ())
        }
        is_known = bool(source.patient_id.strip() or source.study_id.strip())
        own = num_rows if supply.kind is Kind.TEXTS else source.name  # paths of texts are not opened; all may be equal
        group = group_of(source, GroupBy.PATIENT) if is_known else f"record:{number}:{own}"
        study = group_of(source, GroupBy.STUDY) if source.study_id.strip() else ""
        yield Row(
            record_id=source.record_id or f"{number + 1}:{num_rows}",
            side=side,
            is_unknown_side=supply.has_split and not side and word not in _LEFT_ALONE,
            patient=_key(supply, group),
            study=_key(supply, study) if study else "",
            has_patient=bool(source.patient_id.strip()),
            is_known_patient=is_known,
            source=source,
            text=_text(source, supply.text_columns),
            labels_K=class_vector(found, concepts),
            supply=number,
        )
    if supply.has_split and num_rows and not num_placed:
        message = (
            f"Manifest {number + 1} does not say which rows are for training: its column 'split' is empty or absent."
        )
        raise InputError(
            message, hint="Run: callosum dataset split. Or write train into that column to train on every row."
        )


def check_concepts(concepts: Iterable[str], supplies: Iterable[Supply], *, also: Collection[str] = ()) -> None:
    """Refuse a concept that was named and that no manifest has a column for.

    Args:
        concepts: Those that were named.
        supplies: The manifests.
        also: Concepts that are known from elsewhere.

    Raises:
        UsageError: it names the first, and the nearest name among the columns.
    """
    supplies = list(supplies)
    labelled = {name for supply in supplies for name in supply.labels}
    for concept in concepts:
        if concept in labelled or concept in also:
            continue
        there: set[str] = set(also)
        for supply in supplies:
            required = "text" if supply.kind is Kind.TEXTS else "path"
            there |= set(read_table(supply.manifest, required=required).column_names) - set(FIXED)
        near = difflib.get_close_matches(concept, sorted(there), n=1)
        message = f"No manifest has labels for the concept {concept!r}."
        raise UsageError(message, hint=f"Did you mean {near[0]!r}?" if near else "Name columns of the manifests.")


def _key(supply: Supply, group: str) -> str:
    """What tells groups apart, and not who they are."""
    return digest_bytes(f"{supply.population}\0{group}".encode())[:24]


def is_in_share(patient: str, share: float) -> bool:
    """Whether a patient belongs to the part of the training rows that is used."""
    return share >= 1.0 or float(uniforms(keys(int(patient[:16], 16)), 1)[0, 0]) < share


def count_sides(rows: list[Row]) -> dict[str, int]:
    """Rows a side, those that no run uses as `other`."""
    return dict(sorted(Counter(row.side or "other" for row in rows).items()))


def _cell(source: Source, column: str) -> Any:
    return getattr(source, FIXED[column]) if column in FIXED else source.attributes.get(column)


def _text(source: Source, columns: tuple[str, ...]) -> str:
    """The text of a row; several columns become sections under their names."""
    if not columns:
        return source.text
    found = [(column, str(_cell(source, column) or "").strip()) for column in columns]
    if len(columns) == 1:
        return found[0][1]
    return "\n\n".join(f"{column.upper()}: {text}" for column, text in found if text)
