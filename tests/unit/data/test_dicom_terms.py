"""Coded elements keep defined terms only: whatever else was typed into them may be a name."""

from collections.abc import Callable

import numpy as np
import pytest

from callosum.data.readers import read_bytes
from callosum.data.readers.dicom_terms import body_part

PIXELS = np.arange(256, dtype=np.uint16).reshape(16, 16)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("BodyPartExamined", "DOE JANE"),
        ("ViewPosition", "MRN 1234567"),
        ("Laterality", "1970_01_31"),
        ("ImageLaterality", "DOE"),
        ("Modality", "DOE JANE"),
        ("PatientSex", "JANE"),
        ("BurnedInAnnotation", "DOE"),
        ("Manufacturer", "DOE"),
    ],
)
def test_what_is_not_a_term_is_dropped(dicom: Callable[..., bytes], keyword: str, text: str) -> None:
    image = read_bytes(dicom(PIXELS, **{keyword: text}))
    assert not {text, text.lower(), text.replace(" ", "").lower()} & {str(v) for v in image.attributes.values()}
    assert not {"body_part", "view_position", "laterality", "patient_sex"} & set(image.attributes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CSPINE", "cspine"),
        ("C SPINE", "cspine"),
        ("c-spine ", "cspine"),
        ("CERVICAL SPINE", "cspine"),
        ("WHOLEBODY", "wholebody"),
        ("HEAD NECK", "headneck"),
        ("HEAD_AND_NECK", "headneck"),
        ("CHEST", "chest"),
        ("CHEST/ABD/PELVIS", "chestabdpelvis"),
        ("JANE", ""),
        ("", ""),
    ],
)
def test_body_parts(text: str, expected: str) -> None:
    assert body_part(text) == expected


def test_terms_are_normalised(dicom: Callable[..., bytes]) -> None:
    attributes = read_bytes(dicom(PIXELS, Modality="ct", ViewPosition="AP AXIAL", ImageLaterality="R")).attributes
    assert (attributes["modality"], attributes["view_position"], attributes["laterality"]) == ("CT", "APAXIAL", "R")
