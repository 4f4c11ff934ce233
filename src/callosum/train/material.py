"""Manifests to material: which rows are used, which are pairs, and whose halves are kept apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from callosum.core.errors import InputError, IntegrityError, UsageError
from callosum.core.protocols import Extractor
from callosum.knowledge.vectors import class_vector
from callosum.train.chance import keys, uniforms
from callosum.train.labels import merge
from callosum.train.sentences import report_sentences, text_key
from callosum.train.stock import Material, Picture, Pool, Writing, normal_index
from callosum.train.supply import Kind, Row, Side, Supply, count_sides, is_in_share, read_rows


def read_material(
    supplies: Iterable[Supply],
    *,
    concepts: tuple[str, ...] = (),
    side: Side = Side.TRAIN,
    disjoint_patients: bool = False,
    extractor: Extractor | None = None,
) -> Material:
    """Read the manifests of a run; no picture is opened.

    Args:
        supplies: At least one.
        concepts: Names of the labels, in order; those that the supplies name when empty.
        side: The rows to use.
        disjoint_patients: Of a patient who has pictures and texts, either is used, chosen by a hash of the patient;
            so no pair remains, and nothing joins a picture to its text but their labels.
        extractor: Labels of the texts, sentence by sentence; without one they are those of the row. Pictures of pairs
            without label columns get those of their text.

    Raises:
        UsageError: nothing is supplied, a supply has labels that are not among the concepts, or there is an extractor
            and no concept.
        InputError: see `supply.read_rows`; or no row is left.
        IntegrityError: a patient, or a picture, is on two sides.
    """
    supplies = tuple(supplies)
    concepts = concepts or tuple(dict.fromkeys(name for supply in supplies for name in supply.labels))
    _check(supplies, concepts, side)
    if extractor is not None and not concepts:
        message = "Texts are to be labelled, and no concept is named."
        raise UsageError(message, hint="Set concepts to those that the extractor speaks of.")
    read = _joined([list(read_rows(supply, number, concepts=concepts)) for number, supply in enumerate(supplies)])
    _check_sides([row for rows in read for row in rows], side)
    _check_files(
        [row for rows, supply in zip(read, supplies, strict=True) if supply.kind is not Kind.TEXTS for row in rows],
        side,
    )
    gathered = _Gathered(concepts, extractor)
    used = [
        [
            row
            for row in rows
            if row.side == side and (side is Side.VALIDATION or is_in_share(row.patient, supply.share))
        ]
        for supply, rows in zip(supplies, read, strict=True)
    ]
    halves = _halves(supplies, used) if disjoint_patients else {}
    pools, counts = [], []
    for supply, all_rows, rows in zip(supplies, read, used, strict=True):
        pool, left_out = gathered.pool(supply, rows, halves)
        pools.append(pool)
        num_unknown = sum(row.is_unknown_side for row in all_rows)
        sides = {"sides": count_sides(all_rows), "num_unknown_side": num_unknown, "num_used": len(rows)}
        counts.append({**sides, **left_out})
    if not gathered.pictures and not gathered.texts:
        message = f"No row of the {len(supplies)} manifests is for {side}."
        raise InputError(message, hint=f"Rows for it say '{side}' in the column 'split'.")
    choices = {
        "supplies": [supply.choices for supply in supplies],
        "concepts": list(concepts),
        "disjoint_patients": disjoint_patients,
        "has_extractor": extractor is not None,
    }
    return Material(
        concepts=concepts,
        side=side,
        pictures=tuple(gathered.pictures),
        texts=tuple(gathered.texts),
        pools=tuple(pools),
        choices=choices,
        counts=tuple(counts),
    )


class _Gathered:
    """Pictures and texts as they are gathered from supply after supply."""

    def __init__(self, concepts: tuple[str, ...], extractor: Extractor | None) -> None:
        self.concepts = concepts
        self.extractor = extractor
        self.pictures: list[Picture] = []
        self.texts: list[Writing] = []

    def pool(self, supply: Supply, rows: list[Row], halves: Mapping[str, bool]) -> tuple[Pool, dict[str, int]]:
        """Add the rows of a supply; also how many pictures and texts were left out, and why."""
        image_rows: list[int] = []
        pair_rows: list[tuple[int, int]] = []
        text_at: dict[tuple[str, str], int] = {}
        left_out = {"num_without_text": 0, "num_other_half": 0, "num_equal_texts": 0}
        for row in rows:
            half = halves.get(row.patient)
            wants_text, wants_image = supply.kind is not Kind.IMAGES, supply.kind is not Kind.TEXTS
            at = None
            if wants_text and half is not True:
                at = self._text(supply, row, text_at, left_out)
            if wants_image and half is not False:
                image_rows.append(len(self.pictures))
                self.pictures.append(self._picture(supply, row, at))
                if at is not None:
                    pair_rows.append((image_rows[-1], at))
            left_out["num_other_half"] += (half is True and wants_text) or (half is False and wants_image)
        pool = Pool(
            kind=supply.kind,
            weight=supply.weight,
            image_rows=np.array(image_rows, np.int64),
            text_rows=np.array(list(text_at.values()), np.int64),
            pair_rows=np.array(pair_rows, np.int64).reshape(-1, 2),
        )
        return pool, left_out

    def _text(
        self, supply: Supply, row: Row, text_at: dict[tuple[str, str], int], left_out: dict[str, int]
    ) -> int | None:
        """The number of a row's text, which may be that of an equal one of the same patient."""
        key = (row.patient, text_key(row.text))
        if key in text_at:
            left_out["num_equal_texts"] += 1
            return text_at[key]
        sentences = report_sentences(row.text, is_report=supply.is_report)
        if not sentences:
            left_out["num_without_text"] += 1
            return None
        if self.extractor is None:
            labels_SK = row.labels_K[None]
        else:
            labels_SK = np.stack([class_vector(self.extractor(sentence), self.concepts) for sentence in sentences])
        text_at[key] = len(self.texts)
        self.texts.append(
            Writing(
                record_id=row.record_id,
                patient=row.patient,
                sentences=sentences,
                labels_SK=labels_SK,
                is_by_sentence=self.extractor is not None,
            )
        )
        return text_at[key]

    def _picture(self, supply: Supply, row: Row, at: int | None) -> Picture:
        labels_K = row.labels_K
        if self.extractor is not None and not supply.labels and at is not None:
            labels_K = merge(self.texts[at].labels_SK, normal=normal_index(self.concepts))
        return Picture(record_id=row.record_id, patient=row.patient, source=row.source, labels_K=labels_K)


def _check(supplies: tuple[Supply, ...], concepts: tuple[str, ...], side: Side) -> None:
    if not supplies:
        message = "Nothing to train on: no manifest was given."
        raise UsageError(message)
    if len(set(concepts)) < len(concepts):
        message = "A concept is named twice."
        raise UsageError(message)
    for number, supply in enumerate(supplies, start=1):
        if unknown := [name for name in supply.labels if name not in concepts]:
            message = f"Manifest {number} has labels for '{unknown[0]}', which is none of the {len(concepts)} concepts."
            raise UsageError(message, hint=f"The concepts are: {', '.join(concepts)}.")
        if side is Side.VALIDATION and not supply.has_split:
            message = f"Manifest {number} is used for training with all of its rows: none is left to validate on."
            raise UsageError(message, hint="Split it: callosum dataset split.")


def _check_sides(rows: list[Row], side: Side) -> None:
    """No patient may be on the side in use and on another."""
    sides: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sides[row.patient].add(row.side)
    num_straddling = sum(side in found and len(found) > 1 for found in sides.values())
    if num_straddling:
        message = f"{num_straddling} patients are on more than one side of the split."
        hint = "Split by patient: callosum dataset split. If equal identifiers are not one person, name populations."
        raise IntegrityError(message, hint=hint)


def _joined(read: list[list[Row]]) -> list[list[Row]]:
    """Rows that name a study and no patient, given to the patient whose study it is, where another row says that."""
    loose = {row.study for rows in read for row in rows if row.study and not row.has_patient}
    patients: dict[str, set[str]] = defaultdict(set)
    for rows in read if loose else ():
        for row in rows:
            if row.has_patient and row.study in loose:
                patients[row.study].add(row.patient)
    owner = {study: next(iter(found)) for study, found in patients.items() if len(found) == 1}

    def owned(row: Row) -> Row:
        return row if row.has_patient or row.study not in owner else replace(row, patient=owner[row.study])

    return [[owned(row) for row in rows] for rows in read] if owner else read


def _check_files(rows: list[Row], side: Side) -> None:
    """No picture may be on the side in use and on another, whoever's it is."""
    sides: dict[tuple[Path, str, str], set[str]] = defaultdict(set)
    folders: dict[Path, Path] = {}
    for row in rows:
        location = row.source.location
        if location.parent not in folders:
            folders[location.parent] = location.parent.resolve()
        sides[folders[location.parent], location.name, row.source.member].add(row.side)
    num_straddling = sum(side in found and len(found) > 1 for found in sides.values())
    if num_straddling:
        message = f"{num_straddling} pictures are on more than one side of the split."
        raise IntegrityError(message, hint="Give rows of one picture the same side in every manifest.")


def _halves(supplies: tuple[Supply, ...], used: list[list[Row]]) -> dict[str, bool]:
    """For each patient who has pictures and texts, whether the pictures are used."""
    has_image: set[str] = set()
    has_text: set[str] = set()
    for number, (supply, rows) in enumerate(zip(supplies, used, strict=True), start=1):
        others = {each.population for each in supplies if each is not supply}
        is_apart = supply.kind is not Kind.PAIRS and supply.population not in others
        if not is_apart and (num_unknown := sum(not row.is_known_patient for row in rows)):
            message = f"{num_unknown} rows of manifest {number} name no patient, so halves cannot be told apart."
            raise InputError(message, hint="Give a patient_id, or a population of its own where nobody is shared.")
        if supply.kind is not Kind.TEXTS:
            has_image.update(row.patient for row in rows)
        if supply.kind is not Kind.IMAGES:
            has_text.update(row.patient for row in rows if row.text.strip())
    both = sorted(has_image & has_text)
    codes = keys(np.array([int(patient[:16], 16) for patient in both], np.uint64), 1) if both else keys(0)[:0]
    return dict(zip(both, (uniforms(codes, 1)[:, 0] < 0.5).tolist(), strict=True))
