"""Labels as numbers."""

import numpy as np
import pytest

from callosum.core.errors import InputError, NotFound
from callosum.core.finding import Finding, Presence
from callosum.knowledge.vectors import class_matrix, class_vector, concept_vector, presences

P, A, U, N = Presence.PRESENT, Presence.ABSENT, Presence.UNCERTAIN, Presence.UNMENTIONED


def found(concept: str, presence: Presence = P) -> Finding:
    return Finding(concept=concept, presence=presence, span=(0, 1), sentence=(0, 1))


def test_four_presences_are_four_numbers_found_by_name() -> None:
    vector = class_vector({"d": N, "c": U, "b": A, "a": P}, ("a", "b", "c", "d", "e"))
    assert vector.dtype == np.float32
    np.testing.assert_array_equal(vector, [1, 0, -1, np.nan, np.nan])


def test_there_and_back() -> None:
    labels = {"a": P, "b": A, "c": U, "d": N}
    assert presences(class_vector(labels, tuple(labels)), tuple(labels)) == labels


def test_rows() -> None:
    matrix = class_matrix([{"a": P}, {"b": A}], ("a", "b"))
    np.testing.assert_array_equal(matrix, [[1, np.nan], [np.nan, 0]])
    assert class_matrix([], ("a", "b")).shape == (0, 2)


def test_what_is_no_label() -> None:
    with pytest.raises(InputError, match=r"0\.5"):
        presences(np.array([0.5], np.float32), ("a",))
    with pytest.raises(InputError, match="shape"):
        presences(np.array([1.0], np.float32), ("a", "b"))


def test_presence_rises_and_denial_sinks() -> None:
    names = ("fracture", "rib fracture", "clavicle fracture")
    np.testing.assert_array_equal(concept_vector([found("rib fracture")], names), [1, 1, np.nan])
    np.testing.assert_array_equal(concept_vector([found("fracture", A)], names), [0, 0, 0])
    np.testing.assert_array_equal(concept_vector([found("rib fracture", A)], names), [np.nan, 0, np.nan])
    np.testing.assert_array_equal(concept_vector([found("rib fracture", U)], names), [-1, -1, np.nan])
    np.testing.assert_array_equal(concept_vector([found("fracture"), found("rib fracture", A)], names), [1, 0, np.nan])
    with pytest.raises(NotFound):
        concept_vector([], ("phlogiston",))


def test_what_is_implied_counts() -> None:
    np.testing.assert_array_equal(concept_vector([found("normal heart size")], ("cardiomegaly",)), [0])
