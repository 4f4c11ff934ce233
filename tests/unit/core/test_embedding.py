import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from callosum.core.embedding import Embedding, SpaceId, unit_rows
from callosum.core.errors import InputError, SpaceMismatch

SPACE = SpaceId(name="one.v1", recipe={"weights": "a" * 64})
OTHER = SpaceId(name="one.v1", recipe={"weights": "b" * 64})


def test_equal_recipes_are_one_space() -> None:
    assert SpaceId.from_json(SPACE.to_json()) == SPACE
    assert len({SPACE, SpaceId.from_json(SPACE.to_json())}) == 1
    assert SPACE != OTHER
    assert str(SPACE).startswith("one.v1@")


def test_vectors_of_two_spaces_never_meet() -> None:
    rows = np.eye(2, dtype=np.float32)
    with pytest.raises(SpaceMismatch) as raised:
        Embedding(matrix=rows, space=SPACE).similarity(Embedding(matrix=rows, space=OTHER))
    assert "weights aaaaaaaaaaaa" in str(raised.value), "both recipes are shown"
    assert "weights bbbbbbbbbbbb" in str(raised.value)


@pytest.mark.parametrize(
    "matrix",
    [
        np.ones((2, 3), np.float32),
        np.eye(2),
        np.ones(3, np.float32),
        np.full((1, 2), np.nan, np.float32),
        np.zeros((1, 2), np.float32),
    ],
    ids=["not unit", "float64", "one axis", "nan", "zero"],
)
def test_what_is_no_embedding(matrix: np.ndarray) -> None:
    with pytest.raises(InputError):
        Embedding(matrix=matrix, space=SPACE)


def test_ids_fit_the_rows() -> None:
    assert Embedding(matrix=np.eye(2, dtype=np.float32), space=SPACE).ids == ("0", "1")
    with pytest.raises(InputError):
        Embedding(matrix=np.eye(2, dtype=np.float32), space=SPACE, ids=("only one",))


@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 8)), elements=st.floats(0.125, 100, width=32)))
def test_unit_rows_have_norm_one_and_keep_direction(matrix: np.ndarray) -> None:
    rows = unit_rows(matrix)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(unit_rows(rows), rows, atol=1e-6)
