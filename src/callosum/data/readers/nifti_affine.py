"""Where a NIfTI grid lies in the patient: sform, qform, or neither, and when they are not to be believed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from callosum.core.record import Flag
from callosum.data.volumes.geometry import is_usable, orientation_of

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_TO_MM = {1: 1000.0, 3: 0.001}
"""Metres and micrometres (nifti1.h, NIFTI_UNITS_*); everything else is taken for millimetres."""

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNSTATED = "It does not state how it lies in the patient: left and right are a guess."
_UNUSABLE = "Its statement of how it lies in the patient cannot be used: left and right are a guess."
_DISAGREE = "Its two statements of how it lies in the patient disagree: left and right are a guess."


def patient_affine(header: Nifti1Header, shape: tuple[int, int, int]) -> tuple[np.ndarray, list[Flag]]:
    """Array indices (z, y, x) to LPS mm, and a `NO_ORIENTATION` flag if that is a guess.

    The sform is taken if it is stated and usable, else the qform, else a grid of the stated spacing with x to the
    left, which is the guess of nibabel. It is a guess when none is stated, when a stated one is unusable, or when the
    two disagree: in the patient axes that they are nearest to, or, where both claim the same space, by more than a
    voxel at a corner of the grid.
    """
    forms = [_form(header, name) for name in ("sform", "qform") if int(header[f"{name}_code"]) > 0]
    usable = [form for form in forms if form is not None]
    affine = usable[0] if usable else _grid(header, shape)
    sentence = _UNSTATED if not forms else _UNUSABLE if len(usable) < len(forms) else ""
    if len(usable) == 2 and _disagree(usable[0], usable[1], shape, same_space=_same_space(header)):
        sentence = _DISAGREE
    to_mm = np.array([_TO_MM.get(int(header["xyzt_units"]) & 7, 1.0)] * 3 + [1.0])
    lps = _RAS_TO_LPS @ (to_mm[:, None] * affine)
    return lps[:, [2, 1, 0, 3]], [Flag(code="NO_ORIENTATION", sentence=sentence)] if sentence else []


def _form(header: Nifti1Header, name: str) -> np.ndarray | None:
    """The sform or qform `[4, 4]`, indices (x, y, z) to RAS; None when it cannot be used."""
    from nibabel.spatialimages import HeaderDataError

    try:
        affine: np.ndarray = np.asarray(header.get_sform() if name == "sform" else header.get_qform(), np.float64)
    except (HeaderDataError, ValueError):  # a quaternion of no rotation
        return None
    return affine if is_usable(affine) else None


def _grid(header: Nifti1Header, shape: tuple[int, int, int]) -> np.ndarray:
    """A grid of the stated spacing around the origin, x to the left, y to the front, z to the head."""
    stated = [abs(float(number)) for number in header["pixdim"][1:4]]
    spacing = np.array([number if math.isfinite(number) and number > 0 else 1.0 for number in stated])
    affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def _same_space(header: Nifti1Header) -> bool:
    return int(header["sform_code"]) == int(header["qform_code"])


def _disagree(first: np.ndarray, second: np.ndarray, shape: tuple[int, int, int], *, same_space: bool) -> bool:
    if orientation_of(first) != orientation_of(second):
        return True
    corners = np.array([[(shape[axis] - 1) * (n >> axis & 1) for axis in range(3)] + [1] for n in range(8)])
    apart = np.linalg.norm(corners @ (first - second).T, axis=1).max()
    return same_space and bool(apart > np.linalg.norm(first[:3, :3], axis=0).max())
