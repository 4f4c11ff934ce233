"""Soft targets: bounds, agreement with the definition, and what the hierarchy adds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosum.core.errors import NotFound
from callosum.knowledge.ontology import Concept, Ontology
from callosum.knowledge.soft_targets import Similarity, finding_similarity, soft_targets, with_ancestors

TREE = Ontology(
    [
        Concept(name="lesion"),
        Concept(name="nodule", parents=("lesion",)),
        Concept(name="mass", parents=("lesion",)),
        Concept(name="calcified nodule", parents=("nodule",)),
        Concept(name="effusion"),
    ]
)
sets = st.lists(st.frozensets(st.sampled_from(TREE.names)), min_size=1, max_size=5)


@given(sets, sets, st.sampled_from(Similarity))
def test_every_measure_is_what_it_says(one: list[frozenset[str]], other: list[frozenset[str]], how: Similarity) -> None:
    found_NM = finding_similarity(one, other, how=how, ontology=TREE)
    for a, left in enumerate(one):
        for b, right in enumerate(other):
            if how is Similarity.HIERARCHY:
                left_, right_ = with_ancestors(left, TREE), with_ancestors(right, TREE)
            else:
                left_, right_ = left, right
            common = len(left_ & right_)
            many = (len(left_) * len(right_)) ** 0.5
            expected = common if how is Similarity.RAW else (common / many if many else 0.0)
            assert found_NM[a, b] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(finding_similarity(other, one, how=how, ontology=TREE).T, found_NM)


def test_kin_are_alike_only_with_the_hierarchy() -> None:
    one, other = [{"nodule"}], [{"mass"}, {"effusion"}, {"calcified nodule"}]
    flat = finding_similarity(one, other, how=Similarity.COSINE, ontology=TREE)[0]
    tree = finding_similarity(one, other, how=Similarity.HIERARCHY, ontology=TREE)[0]
    assert not flat.any()
    assert tree[1] == 0 < tree[0] < tree[2] < 1


def test_targets_are_shares_and_sharpen_as_it_gets_colder() -> None:
    similarity = finding_similarity([{"nodule"}, set()], [{"nodule"}, {"mass"}], how=Similarity.COSINE, ontology=TREE)
    warm, cold = soft_targets(similarity), soft_targets(similarity, temperature=0.05)
    assert np.allclose(warm.sum(axis=1), 1) and np.allclose(cold.sum(axis=1), 1)
    assert warm[0, 0] == pytest.approx(np.e / (np.e + 1)) and cold[0, 0] > 0.999
    assert np.allclose(warm[1], 0.5), "nothing found is alike to all"


def test_an_unknown_concept_is_refused() -> None:
    for how in Similarity:
        with pytest.raises(NotFound):
            finding_similarity([{"nodul"}], [{"mass"}], how=how, ontology=TREE)
