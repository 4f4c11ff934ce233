"""What is in a dataset, counted in one pass: rows, texts, patients, splits, labels, and who straddles the splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from callosum.data.datasets.dataset import Example, Lack, Row, Skipped

MAX_CONCEPTS = 50
"""Concepts of an open vocabulary that a summary names, the most frequent first."""


@dataclass(kw_only=True)
class Census:
    """Counts that grow while `count` passes rows on.

    Attributes:
        num_examples: Rows that give a picture.
        lacks: Why others give none.
        num_texts: Examples with a text.
        num_labelled: Examples of which some concept was looked at.
        splits: Examples for each published split; "" for none.
        labels: Examples for each concept and presence.
        num_without_patient: Examples of no known patient.
    """

    num_examples: int = 0
    lacks: Counter[Lack] = field(default_factory=Counter)
    num_texts: int = 0
    num_labelled: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    num_without_patient: int = 0
    _patients: dict[int, set[str]] = field(default_factory=dict, repr=False)
    _studies: dict[int, set[str]] = field(default_factory=dict, repr=False)

    def count(self, rows: Iterable[Row]) -> Iterator[Example]:
        """Pass the examples on, and count every row."""
        for row in rows:
            if isinstance(row, Skipped):
                self.lacks[row.lack] += 1
                continue
            self.num_examples += 1
            source = row.source
            self.num_texts += bool(source.text)
            self.num_labelled += bool(row.labels)
            self.splits[source.split] += 1
            self.labels.update((concept, presence.label) for concept, presence in row.labels.items())
            self.num_without_patient += not source.patient_id
            for key, groups in ((source.patient_id, self._patients), (source.study_id, self._studies)):
                if key:
                    groups.setdefault(hash(key), set()).add(source.split)
            yield row

    @property
    def num_straddling_patients(self) -> int:
        """Patients whose pictures are in more than one published split."""
        return sum(len(splits) > 1 for splits in self._patients.values())

    @property
    def num_straddling_studies(self) -> int:
        """Studies, or articles, whose pictures are in more than one published split."""
        return sum(len(splits) > 1 for splits in self._studies.values())

    def labels_json(self) -> dict[str, dict[str, int]]:
        """Concept to presence to count; of more than `MAX_CONCEPTS`, the most frequent."""
        totals: Counter[str] = Counter()
        for (concept, _), times in self.labels.items():
            totals[concept] += times
        found: dict[str, dict[str, int]] = {concept: {} for concept, _ in totals.most_common(MAX_CONCEPTS)}
        for (concept, presence), times in sorted(self.labels.items()):
            if concept in found:
                found[concept][presence] = times
        return found

    def to_json(self) -> dict[str, Any]:
        """Every count."""
        return {
            "num_examples": self.num_examples,
            "skipped": {str(lack): times for lack, times in sorted(self.lacks.items())},
            "num_texts": self.num_texts,
            "num_labelled": self.num_labelled,
            "num_patients": len(self._patients),
            "num_without_patient": self.num_without_patient,
            "num_studies": len(self._studies),
            "splits": dict(sorted(self.splits.items())),
            "num_straddling_patients": self.num_straddling_patients,
            "num_straddling_studies": self.num_straddling_studies,
            "labels": self.labels_json(),
        }
