"""Labels as numbers, in the code of CheXpert: 1 positive, 0 negative, -1 uncertain, NaN unmentioned.

The four are never merged here; what an uncertain or unmentioned label counts for is the objective's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from torch import Tensor

from callosum.core.errors import InputError
from callosum.core.finding import PRESENCE_WORDS, Presence
from callosum.data.manifest import read_table
from callosum.knowledge.extract import extract_sentence
from callosum.knowledge.foreign import other_language, without_markup
from callosum.knowledge.labelers import FindingLabeler
from callosum.knowledge.schemes import scheme_of
from callosum.knowledge.vectors import CODES
from callosum.train.sentences import text_key

NORMAL = "No Finding"
"""The concept that says that nothing was found."""

_NUMBERS = {1.0: Presence.PRESENT, 0.0: Presence.ABSENT, -1.0: Presence.UNCERTAIN}


def presence_of(cell: Any, *, zero: Presence = Presence.ABSENT) -> Presence | None:
    """What a cell of a table says; None when that is no label.

    Args:
        cell: A word of `Presence`, 1, 0, -1, true, false, or nothing.
        zero: What 0 and false mean: unmentioned, where a table lists only what was found.
    """
    if cell is None or cell == "":
        return Presence.UNMENTIONED
    if isinstance(cell, str):
        word = cell.strip().lower()
        if word in PRESENCE_WORDS:
            return Presence(word)
    try:
        found = _NUMBERS.get(float(cell))
    except (TypeError, ValueError):
        return None
    return zero if found is Presence.ABSENT else found


def split_uncertain(labels_NK: Float32[Tensor, "N K"]) -> tuple[Float32[Tensor, "N K"], Bool[Tensor, "N K"]]:
    """What objectives take: 1 where a concept is positive, else 0; and where it is uncertain."""
    return (labels_NK == 1.0).float(), labels_NK == -1.0


def merge(labels_SK: Float32[np.ndarray, "S K"], *, normal: int | None = None) -> Float32[np.ndarray, " K"]:
    """What several sentences say together: positive before uncertain before negative before unmentioned.

    Args:
        labels_SK: One row a sentence.
        normal: The concept that says that nothing was found: one sentence of several cannot know that, so it becomes
            negative where another concept is positive.
    """
    merged_K = np.full(labels_SK.shape[1], np.nan, np.float32)
    for value in (0.0, -1.0, 1.0):
        merged_K[(labels_SK == value).any(axis=0)] = value
    if normal is not None and merged_K[normal] == 1.0 and (merged_K == 1.0).sum() > 1:
        merged_K[normal] = 0.0
    return merged_K


def count(labels_N: Float32[np.ndarray, " N"]) -> dict[str, int]:
    """How often each presence occurs."""
    said = {presence.label: int((labels_N == code).sum()) for presence, code in CODES.items() if code == code}
    return {**said, str(Presence.UNMENTIONED): int(np.isnan(labels_N).sum())}


class SchemeLabels:
    """What texts say, by the classes of a scheme; nothing for a text in another language."""

    def __init__(self, scheme: str) -> None:
        """Name the scheme.

        Raises:
            NotFound: there is none of that name.
        """
        self._label = FindingLabeler(extract=extract_sentence, scheme=scheme_of(scheme).name)

    def __call__(self, text: str) -> Mapping[str, Presence]:
        """The label of every class.

        Raises:
            InputError: it is no text.
        """
        try:
            return self._label(text)
        except InputError:
            if other_language(without_markup(text)):
                return {}
            raise


class LabelTable:
    """Labels of known texts: what an extractor does, for texts that were labelled beforehand.

    A text that is not in the table is unmentioned in everything. Case and spaces do not count.
    """

    def __init__(self, labels: Mapping[str, Mapping[str, Presence]]) -> None:
        self._labels = {text_key(text): dict(found) for text, found in labels.items()}

    @classmethod
    def from_table(cls, path: Path | str, *, text_column: str, labels: Mapping[str, str]) -> LabelTable:
        """Read a CSV or Parquet table.

        Args:
            path: The table.
            text_column: Column with the texts.
            labels: Concept to the column with its labels.

        Raises:
            InputError: a column is not there, or a cell holds no label.
        """
        table = read_table(path, required=text_column)
        check_columns(table.column_names, labels.values())
        rows: dict[str, dict[str, Presence]] = {}
        for number, row in enumerate(table.to_pylist(), start=1):
            rows[str(row[text_column] or "")] = {
                concept: checked(row[column], column=column, row=number) for concept, column in labels.items()
            }
        return cls(rows)

    def __call__(self, text: str) -> Mapping[str, Presence]:
        """The labels of a text."""
        return self._labels.get(text_key(text), {})

    def __contains__(self, text: str) -> bool:
        return text_key(text) in self._labels

    def __len__(self) -> int:
        return len(self._labels)


def checked(cell: Any, *, column: str, row: int, zero: Presence = Presence.ABSENT) -> Presence:
    """As `presence_of`.

    Raises:
        InputError: the cell holds no label.
    """
    found = presence_of(cell, zero=zero)
    if found is None:
        message = f"Row {row} of the table holds no label in column '{column}'."
        raise InputError(message, hint="Labels are positive, negative, uncertain, unmentioned, 1, 0, -1 or empty.")
    return found


def check_columns(there: Iterable[str], wanted: Iterable[str]) -> None:
    """Refuse a table without one of the columns.

    Raises:
        InputError: it names the first that is missing.
    """
    there = list(there)
    for column in wanted:
        if column not in there:
            message = f"The table has no column '{column}'; it has {len(there)} others."
            raise InputError(message, hint="Name the columns as the header of the table does.")
