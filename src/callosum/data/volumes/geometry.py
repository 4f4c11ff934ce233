"""Affines, orientations, and how a stack of slices lies in space; numpy only.

Everything is in the patient coordinates of DICOM (PS3.3 C.7.6.2.1.1): millimetres, +x to the patient's left, +y to
the back (posterior), +z to the head (superior). An affine `[4, 4]` maps array indices (z, y, x, 1) to them, at the
centres of voxels. An orientation is three letters: where each of the axes z, y and x of the array points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Float

from callosum.core.record import Flag

_LETTERS = ("LR", "PA", "SI")
"""The two ends of each patient axis, the positive one first."""

EVEN_TOLERANCE = 0.1
"""How far a slice may be from its place in an even stack, as a part of the spacing: headers round positions."""

MIN_TILT_DEGREES = 0.5
ORTHOGONAL_COSINE = 0.01
"""Axes whose cosine is larger are not at right angles."""

_GAP = 1.5
"""A step this many times the usual one skips a slice."""


def is_usable(affine: np.ndarray) -> bool:
    """True for a finite affine whose three axes span space."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not (lengths > 0).all() or not np.isfinite(lengths).all():
        return False
    return abs(float(np.linalg.det(affine[:3, :3] / lengths))) > 1e-3


def orientation_of(affine: Float[np.ndarray, "4 4"]) -> str:
    """Three letters: the patient direction nearest to each axis of the array.

    Axes are matched all at once, to the permutation of the largest summed cosine, so that no two get the same
    direction however oblique the grid is.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(directions)  # the nearest rotation, so that a shear tilts no axis more than others
    cosines = left @ right
    best = max(permutations(range(3)), key=lambda worlds: sum(abs(cosines[w, axis]) for axis, w in enumerate(worlds)))
    return "".join(_LETTERS[w][int(cosines[w, axis] < 0)] for axis, w in enumerate(best))


def turns(orientation: str, target: str) -> list[tuple[int, bool]]:
    """For each axis of the target orientation: the axis of the array, and whether it is to be reversed."""
    found = []
    for letter in target:
        ends = next(pair for pair in _LETTERS if letter in pair)
        axis = next(n for n, own in enumerate(orientation) if own in ends)
        found.append((axis, orientation[axis] != letter))
    return found


def turned_affine(affine: np.ndarray, shape: tuple[int, ...], axes: list[tuple[int, bool]]) -> np.ndarray:
    """The affine of an array of `shape` after `turns`."""
    change = np.zeros((4, 4))
    change[3, 3] = 1
    for new, (old, is_reversed) in enumerate(axes):
        change[old, new] = -1 if is_reversed else 1
        change[old, 3] = shape[old] - 1 if is_reversed else 0
    turned: np.ndarray = affine @ change
    return turned


def is_orthogonal(affine: np.ndarray) -> bool:
    """True when the axes are at right angles, within half a degree or so."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.abs(directions.T @ directions - np.eye(3)).max() <= ORTHOGONAL_COSINE)


def normal_of(orientation_6: np.ndarray) -> np.ndarray:
    """Image Orientation (Patient) to the unit normal, row direction x column direction (PS3.3 C.7.6.2.1.1)."""
    normal = np.cross(orientation_6[:3], orientation_6[3:])
    unit: np.ndarray = normal / np.linalg.norm(normal)
    return unit


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Stack:
    """How slices lie: their affine, whether they are evenly spaced, and the doubts."""

    affine: Float[np.ndarray, "4 4"]
    is_even: bool
    flags: tuple[Flag, ...]


def stack_up(
    positions_Z3: Float[np.ndarray, "Z 3"], orientation_6: np.ndarray, spacing: tuple[float, float], thickness_mm: float
) -> Stack:
    """Find the affine of parallel slices from where each begins.

    The step from slice to slice is the median of the steps along the normal, with the shift across it that the stack
    has from its first to its last slice. Steps of 1.5 times the median or more skip slices (`SLICES_MISSING`); other
    stacks from which a slice is off by more than a tenth of the step, or across it by more than half a pixel, are
    `UNEVEN_SPACING`; a shift of half a degree or more is `GANTRY_TILT`.

    Args:
        positions_Z3: Image Position (Patient), sorted along the normal, no two alike.
        orientation_6: Image Orientation (Patient): unit row direction, unit column direction.
        spacing: Between rows and between columns, as in Pixel Spacing.
        thickness_mm: The step of a stack of one slice.
    """
    normal = normal_of(orientation_6)
    step, is_even, flags = normal * thickness_mm, True, []
    if len(positions_Z3) == 1:
        flags.append(Flag(code="SINGLE_SLICE", sentence="There is one slice; its thickness is taken for a spacing."))
    else:
        step, is_even, flags = _step(positions_Z3, normal, min(spacing))
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = orientation_6[3:] * spacing[0]
    affine[:3, 2] = orientation_6[:3] * spacing[1]
    affine[:3, 3] = positions_Z3[0]
    return Stack(affine=affine, is_even=is_even, flags=tuple(flags))


def _step(positions_Z3: np.ndarray, normal: np.ndarray, pixel_mm: float) -> tuple[np.ndarray, bool, list[Flag]]:
    """The vector from slice to slice, whether the slices keep to it, and what is doubtful about them."""
    flags: list[Flag] = []
    along_Z = (positions_Z3 - positions_Z3[0]) @ normal
    steps = np.diff(along_Z)
    usual = float(np.median(steps))
    chord = positions_Z3[-1] - positions_Z3[0]
    slope = chord / along_Z[-1]  # across the normal as well, per millimetre along it
    num_missing = int(np.round(steps[steps >= _GAP * usual] / usual - 1).sum())
    if not num_missing:
        usual = float(along_Z[-1]) / len(steps)  # rounded positions: all steps know it better than their median
    off_Z = np.abs(
        along_Z / usual - np.round(along_Z / usual) if num_missing else along_Z / usual - np.arange(len(along_Z))
    )
    across_Z = np.linalg.norm(positions_Z3 - positions_Z3[0] - along_Z[:, None] * slope, axis=1)
    is_even = not num_missing
    if num_missing:
        sentence = f"{num_missing} slices are missing between the first and the last."
        flags.append(Flag(code="SLICES_MISSING", sentence=sentence))
    if off_Z.max() > EVEN_TOLERANCE or across_Z.max() > pixel_mm / 2:
        is_even = False
        sentence = f"Slices are not evenly spaced; {usual:.3g} mm is the usual step."
        flags.append(Flag(code="UNEVEN_SPACING", sentence=sentence))
    angle = math.degrees(math.acos(min(1.0, 1.0 / float(np.linalg.norm(slope)))))
    if angle >= MIN_TILT_DEGREES:
        sentence = f"Slices are shifted against their normal by {angle:.1f} degrees, as by a tilted gantry."
        flags.append(Flag(code="GANTRY_TILT", sentence=sentence))
    return slope * usual, is_even, flags
