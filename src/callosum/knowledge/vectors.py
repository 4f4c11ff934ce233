"""Labels as numbers: 1 present, 0 absent, -1 uncertain, NaN unmentioned, as CheXpert's tables write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from callosum.core.errors import InputError
from callosum.core.finding import Finding, Presence
from callosum.knowledge.labels import Aggregation, aggregate, statements
from callosum.knowledge.ontology import Ontology, read_ontology

CODES = {Presence.PRESENT: 1.0, Presence.ABSENT: 0.0, Presence.UNCERTAIN: -1.0, Presence.UNMENTIONED: float("nan")}
"""The number of each presence."""


def class_vector(labels: Mapping[str, Presence], classes: Sequence[str]) -> Float32[np.ndarray, " K"]:
    """The numbers of these classes, found by name; one that the labels do not have is unmentioned."""
    return np.array([CODES[labels.get(name, Presence.UNMENTIONED)] for name in classes], dtype=np.float32)


def class_matrix(rows: Sequence[Mapping[str, Presence]], classes: Sequence[str]) -> Float32[np.ndarray, "N K"]:
    """`class_vector` of each."""
    return np.stack([class_vector(row, classes) for row in rows]) if rows else np.empty((0, len(classes)), np.float32)


def concept_vector(
    findings: Iterable[Finding],
    concepts: Sequence[str],
    *,
    aggregation: Aggregation = Aggregation.STRONGEST,
    ontology: Ontology | None = None,
) -> Float32[np.ndarray, " K"]:
    """The numbers of these concepts: what is present or uncertain counts for all that it is a kind of, too.

    A denial counts for the concept alone and for its kinds: to deny a fracture is to deny a rib fracture, and not the
    other way round.

    Raises:
        NotFound: A concept that the ontology does not have.
    """
    ontology = read_ontology() if ontology is None else ontology
    said = list(statements(findings, ontology))
    labels = {}
    for name in concepts:
        ontology.concept(name)
        told = [p for c, p in said if (ontology.is_a(name, c) if p is Presence.ABSENT else ontology.is_a(c, name))]
        labels[name] = aggregate(told, aggregation)
    return class_vector(labels, concepts)


def presences(vector: Float32[np.ndarray, " K"], classes: Sequence[str]) -> dict[str, Presence]:
    """The labels that `class_vector` made numbers of.

    Raises:
        InputError: Another number than 1, 0, -1 and NaN, or not one for each class.
    """
    if vector.shape != (len(classes),):
        message = f"One number for each of {len(classes)} classes was expected; found the shape {vector.shape}."
        raise InputError(message, hint="Give the classes in the order of the vector.")
    words = {code: presence for presence, code in CODES.items() if not np.isnan(code)}
    found = {}
    for name, number in zip(classes, vector.tolist(), strict=True):
        if not np.isnan(number) and number not in words:
            message = f"1, 0, -1 or NaN was expected; found {number:g}."
            raise InputError(message, hint="Give labels, not probabilities.")
        found[name] = words.get(number, Presence.UNMENTIONED)
    return found
