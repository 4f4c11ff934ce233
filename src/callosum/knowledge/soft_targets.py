"""How alike the findings of two texts or pictures are: the soft targets of semantic matching.

MedCLIP (Wang et al. 2022) takes the cosine of two multi-hot vectors; its released code takes their dot product. Both
hold that a nodule and a mass have nothing in common. With a hierarchy every finding stands for what it is a kind of,
too, and the cosine is taken of those sets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float32

from callosum.knowledge.ontology import Ontology


class Similarity(StrEnum):
    """How alike two sets of findings are."""

    COSINE = "cosine"
    """Findings in common over the geometric mean of their numbers, 0..1; 0 where a side has none."""
    RAW = "raw"
    """Findings in common, a whole number."""
    HIERARCHY = "hierarchy"
    """The cosine after every finding was joined by all that it is a kind of, 0..1."""


def finding_similarity(
    one: Sequence[Collection[str]], other: Sequence[Collection[str]], *, how: Similarity, ontology: Ontology
) -> Float32[np.ndarray, "N M"]:
    """How alike sets of concepts are, each of one side with each of the other.

    Args:
        one: N sets of names of concepts.
        other: M sets.
        how: The measure.
        ontology: What is a kind of what.

    Raises:
        NotFound: a name that the ontology does not have.
    """
    if how is Similarity.HIERARCHY:
        one, other = [with_ancestors(s, ontology) for s in one], [with_ancestors(s, ontology) for s in other]
    else:
        for name in {name for names in (*one, *other) for name in names}:
            ontology.concept(name)
    places = {name: place for place, name in enumerate(sorted({name for names in (*one, *other) for name in names}))}
    one_NK, other_MK = (_multi_hot(side, places).astype(np.float32) for side in (one, other))
    common_NM = one_NK @ other_MK.T
    if how is Similarity.RAW:
        return common_NM
    lengths_NM = np.sqrt(one_NK.sum(axis=1)[:, None] * other_MK.sum(axis=1)[None])
    return np.divide(common_NM, lengths_NM, out=np.zeros_like(common_NM), where=lengths_NM > 0)


def with_ancestors(names: Collection[str], ontology: Ontology) -> frozenset[str]:
    """The concepts, and all that they are a kind of."""
    return frozenset(names).union(*(ontology.ancestors(name) for name in names))


def soft_targets(similarity_NM: Float32[np.ndarray, "N M"], *, temperature: float = 1.0) -> Float32[np.ndarray, "N M"]:
    """The softmax of each row over a temperature: what the texts of a batch weigh for a picture."""
    scaled_NM = similarity_NM / np.float32(temperature)
    powers_NM = np.exp(scaled_NM - scaled_NM.max(axis=1, keepdims=True))
    return np.asarray(powers_NM / powers_NM.sum(axis=1, keepdims=True), np.float32)


def _multi_hot(sets: Sequence[Collection[str]], places: Mapping[str, int]) -> Bool[np.ndarray, "N K"]:
    rows_NK = np.zeros((len(sets), len(places)), dtype=bool)
    for row, names in enumerate(sets):
        rows_NK[row, [places[name] for name in names]] = True
    return rows_NK
