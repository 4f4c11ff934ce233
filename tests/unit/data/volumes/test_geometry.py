from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from callosum.data.volumes.geometry import (
    is_orthogonal,
    is_usable,
    normal_of,
    orientation_of,
    stack_up,
    turned_affine,
    turns,
)

AXES = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
EVERY = ["".join(letters) for order in permutations(("LR", "PA", "SI")) for letters in product(*order)]
AXIAL = np.array([1.0, 0, 0, 0, 1, 0])


def affine_of(orientation: str, spacing: tuple[float, float, float] = (3, 2, 1)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.stack([AXES[letter] for letter in orientation], axis=1) * spacing
    return affine


def rotation(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


@pytest.mark.parametrize("orientation", EVERY)
def test_straight_orientations(orientation: str) -> None:
    affine = affine_of(orientation)
    assert orientation_of(affine) == orientation
    axes = turns(orientation, "SPL")
    assert orientation_of(turned_affine(affine, (4, 5, 6), axes)) == "SPL"


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.floats(0.1, 10)] * 3))
def test_oblique_orientations_are_those_of_nibabel(seed: int, spacing: tuple[float, float, float]) -> None:
    nibabel = pytest.importorskip("nibabel")
    directions = rotation(seed)
    sizes = np.sort(np.abs(directions), axis=1)
    assume((sizes[:, 2] - sizes[:, 1] > 0.05).all())  # an axis half way between two may be named either way
    assume(sorted(np.abs(directions).argmax(axis=0)) == [0, 1, 2])
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    ras = np.diag([-1, -1, 1, 1]) @ affine
    assert orientation_of(affine) == "".join(nibabel.aff2axcodes(ras))


@given(st.integers(0, 2**32 - 1), st.sampled_from(EVERY))
def test_every_voxel_keeps_its_place_when_an_array_is_turned(seed: int, target: str) -> None:
    rng = np.random.default_rng(seed)
    affine, shape = np.eye(4), tuple(rng.integers(1, 6, 3))
    affine[:3, :3] = rotation(seed) * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.normal(size=3)
    axes = turns(orientation_of(affine), target)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    moved = places.transpose(*(old for old, _ in axes), 3)
    moved = moved[tuple(slice(None, None, -1 if is_reversed else 1) for _, is_reversed in axes)]
    turned = turned_affine(affine, shape, axes)
    indices = np.stack(np.meshgrid(*map(np.arange, moved.shape[:3]), indexing="ij"), axis=-1)
    np.testing.assert_allclose(indices @ turned[:3, :3].T + turned[:3, 3], moved, atol=1e-9)


def test_what_is_usable_and_at_right_angles() -> None:
    assert is_usable(np.eye(4))
    assert not is_usable(np.diag([1.0, 1, 0, 1]))
    assert not is_usable(np.diag([1.0, 1, np.nan, 1]))
    flat = np.eye(4)
    flat[:3, 0] = flat[:3, 1]
    assert not is_usable(flat)
    sheared = np.eye(4)
    sheared[1, 0] = 0.2
    assert is_usable(sheared)
    assert not is_orthogonal(sheared)
    assert is_orthogonal(np.diag([5.0, 0.5, 0.5, 1]))


def codes(positions: np.ndarray, spacing: tuple[float, float] = (0.5, 0.5)) -> list[str]:
    return [flag.code for flag in stack_up(positions, AXIAL, spacing, 1.0).flags]


def along(*heights: float, shift: float = 0.0) -> np.ndarray:
    return np.array([[0, shift * z, z] for z in heights], np.float64)


def test_an_even_stack_raises_no_doubt() -> None:
    stack = stack_up(along(10, 12.5, 15, 17.5), AXIAL, (0.5, 0.25), 9.0)
    assert stack.flags == ()
    assert stack.is_even
    expected = [[0, 0, 0.25, 0], [0, 0.5, 0, 0], [2.5, 0, 0, 10], [0, 0, 0, 1]]
    np.testing.assert_allclose(stack.affine, expected)


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 10), st.integers(2, 400))
def test_rounded_positions_raise_no_doubt(seed: int, step: float, num: int) -> None:
    positions = np.arange(num)[:, None] * step * normal_of(AXIAL) + np.random.default_rng(seed).normal(size=3) * 100
    stack = stack_up(positions.round(2), AXIAL, (0.5, 0.5), 1.0)
    assert stack.flags == ()
    assert np.linalg.norm(stack.affine[:3, 0]) == pytest.approx(step, abs=0.011 / (num - 1) + 1e-9)


def test_doubts() -> None:
    assert codes(along(0)) == ["SINGLE_SLICE"]
    assert codes(along(0, 1, 2, 5, 6)) == ["SLICES_MISSING"]
    assert codes(along(0, 1, 2.3, 3, 4)) == ["UNEVEN_SPACING"]
    assert codes(along(0, 1, 2, 4.4, 5.4)) == ["SLICES_MISSING", "UNEVEN_SPACING"]
    assert codes(along(0, 1, 2, 3, shift=0.2)) == ["GANTRY_TILT"]
    jumping = along(0, 1, 2, 3)
    jumping[2, 0] = 4.0  # one slice is beside the others
    assert codes(jumping) == ["UNEVEN_SPACING"]


def test_missing_slices_are_counted_and_the_tilt_is_measured() -> None:
    (gap,) = stack_up(along(0, 1, 2, 5, 6, 8), AXIAL, (0.5, 0.5), 1.0).flags
    assert gap.sentence.startswith("3 slices")
    stack = stack_up(along(0, 1, 2, 3, shift=np.tan(np.radians(15))), AXIAL, (0.5, 0.5), 1.0)
    assert "15.0 degrees" in stack.flags[0].sentence
    np.testing.assert_allclose(stack.affine[:3, 0], [0, np.tan(np.radians(15)), 1])
