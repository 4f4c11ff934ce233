"""Labels that stand for what they are a kind of, too: a nodule and a mass are then alike, for both are lesions.

The targets of semantic matching are similarities of label vectors (`knowledge.soft_targets`). With a column for every
concept that several classes are a kind of, the cosine of two vectors is the hierarchy-aware one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32

from callosum.knowledge.ontology import read_ontology
from callosum.knowledge.schemes import scheme_of
from callosum.knowledge.soft_targets import with_ancestors
from callosum.train.stock import Material


def kin(scheme: str) -> dict[str, frozenset[str]]:
    """Concepts that several classes of a scheme are, or are a kind of: each with those classes.

    A class is what its first concept is.

    Raises:
        NotFound: there is no such scheme.
    """
    chosen, ontology = scheme_of(scheme), read_ontology()
    first = {name: concept for concept, name in reversed(list(chosen.roots.items()))}
    found: dict[str, set[str]] = {}
    for name in chosen.classes:
        for concept in with_ancestors([first[name]], ontology):
            found.setdefault(concept, set()).add(name)
    return {concept: frozenset(names) for concept, names in sorted(found.items()) if len(names) > 1}


def widened(material: Material, related: Mapping[str, frozenset[str]]) -> Material:
    """The material with a label for every concept of `related` that two of its own or more are a kind of.

    The concept is positive where one of them is, else uncertain where one is, and negative where all are.
    """
    known = {concept: names & set(material.concepts) for concept, names in related.items()}
    new = [concept for concept, names in known.items() if len(names) > 1 and concept not in material.concepts]
    if not new:
        return material
    is_kind_KC = np.array([[name in known[concept] for concept in new] for name in material.concepts])

    def widen(labels_NK: Float32[np.ndarray, "N K"]) -> Float32[np.ndarray, "N W"]:
        return np.concatenate([labels_NK, _strongest(labels_NK, is_kind_KC)], axis=1)

    return replace(
        material,
        concepts=(*material.concepts, *new),
        pictures=tuple(replace(each, labels_K=widen(each.labels_K[None])[0]) for each in material.pictures),
        texts=tuple(replace(each, labels_SK=widen(each.labels_SK)) for each in material.texts),
        choices={**material.choices, "concepts": [*material.concepts, *new]},
    )


def _strongest(
    labels_NK: Float32[np.ndarray, "N K"], is_kind_KC: Bool[np.ndarray, "K C"]
) -> Float32[np.ndarray, "N C"]:
    counts_KC = is_kind_KC.astype(np.int64)
    found_NC = np.full((len(labels_NK), counts_KC.shape[1]), np.nan, np.float32)
    found_NC[(labels_NK == 0.0) @ counts_KC == counts_KC.sum(axis=0)] = 0.0
    for value in (-1.0, 1.0):
        found_NC[(labels_NK == value) @ counts_KC > 0] = value
    return found_NC
