"""Series of a phantom whose value is known everywhere in the patient; highdicom is the other opinion on geometry."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import ComprehensiveSRStorage, EnhancedMRImageStorage, RTDoseStorage

from callosum.core.display import Window
from callosum.core.errors import Refused
from callosum.core.record import PixelUnit
from callosum.data.volumes import read_volume
from callosum.data.volumes import volume as volume_module
from callosum.data.volumes.series import read_series
from callosum.data.volumes.volume import Plane, Volume
from tests.unit.data.conftest import make_dicom

ROWS, COLUMNS = 9, 7
SPACING = (1.5, 0.75)
START, UP = np.array([10.0, -20.0, 5.0]), np.array([0.0, 0.0, 1.0])
AXIAL = np.eye(3)
"""Columns: row direction, column direction, normal."""


def phantom(places: np.ndarray) -> np.ndarray:
    """Value of the phantom at patient coordinates `[..., 3]`."""
    return places @ [3.0, -5.0, 7.0] + 200.0


def rotated(seed: int) -> np.ndarray:
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix))


def slice_at(position: np.ndarray, axes: np.ndarray = AXIAL, uid: str = "1.2.3", **elements: Any) -> bytes:
    """One CT slice that begins at a position, 16 bits with an intercept of -1000."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    places = position + rows[..., None] * SPACING[0] * axes[:, 1] + columns[..., None] * SPACING[1] * axes[:, 0]
    stored = np.round(phantom(places) + 1000).astype(np.uint16)
    values: dict[str, Any] = {
        "SOPInstanceUID": uid,
        "SeriesInstanceUID": "1.2.9",
        "StudyInstanceUID": "1.2.8",
        "Modality": "CT",
        "RescaleSlope": 1,
        "RescaleIntercept": -1000,
        "ImagePositionPatient": [round(float(number), 6) for number in position],
        "ImageOrientationPatient": [round(float(number), 9) for number in axes[:, :2].T.ravel()],
        "PixelSpacing": list(SPACING),
        "SliceThickness": 2.0,
        "FrameOfReferenceUID": "1.2.7",
    }
    return make_dicom(stored, **values | elements)


def series(heights: list[float], axes: np.ndarray = AXIAL, shift: float = 0.0, **elements: Any) -> list[bytes]:
    """Slices at heights along the normal, each shifted along its columns by `shift` times its height."""
    return [
        slice_at(
            START + axes @ [0, shift * height, height], axes, uid=f"1.2.3.{n}", **({"InstanceNumber": n} | elements)
        )
        for n, height in enumerate(heights)
    ]


def codes(volume: Volume) -> list[str]:
    return [flag.code for flag in volume.flags]


def check_phantom(volume: Volume) -> None:
    """Every sample is what the phantom is where the affine says that the sample lies."""
    indices = np.stack(np.meshgrid(*map(np.arange, volume.samples.shape), indexing="ij"), axis=-1)
    places = indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    np.testing.assert_allclose(volume.samples, phantom(places), atol=0.51)


def refusal(files: list[bytes]) -> str:
    with pytest.raises(Refused) as found:
        read_series(files)
    return f"{found.value.answer} {found.value.reason}"


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 6), st.integers(2, 8))
def test_slices_in_any_direction_and_any_order(seed: int, step: float, num: int) -> None:
    rng, axes = np.random.default_rng(seed), rotated(seed)
    files = series([step * n for n in range(num)], axes)
    volume = read_series([files[n] for n in rng.permutation(num)])
    assert codes(volume) == []
    assert volume.unit is PixelUnit.HU
    assert volume.spacing_mm == pytest.approx((step, *SPACING), rel=1e-5)
    check_phantom(volume)
    highdicom = pytest.importorskip("highdicom")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = highdicom.get_volume_from_series([pydicom.dcmread(io.BytesIO(file)) for file in files])
    turned = other.flip_spatial(0)  # highdicom counts slices against the normal
    np.testing.assert_allclose(volume.affine, turned.affine, atol=1e-4)
    np.testing.assert_allclose(volume.samples, turned.array)


def test_neither_names_nor_instance_numbers_order_slices(tmp_path: Path) -> None:
    files = series([0, 2, 4, 6, 8])
    for name, file in zip("caebd", files, strict=True):
        (tmp_path / f"{name}.dcm").write_bytes(file)
    volume = read_volume(tmp_path)
    check_phantom(volume)
    assert codes(volume) == []
    same = read_volume([tmp_path / "c.dcm", str(tmp_path / "a.dcm"), *sorted(tmp_path.glob("[bde].dcm"))])
    np.testing.assert_array_equal(same.samples, volume.samples)
    backwards = read_series(series([0, 2, 4, 6], InstanceNumber=7)[::-1])
    check_phantom(backwards)


def test_what_is_known_goes_with_the_volume() -> None:
    volume = read_series(series([0, 2, 4]))
    assert volume.identifiers == {"patient_id": "PID-SECRET", "study_uid": "1.2.8", "series_uid": "1.2.9"}
    assert volume.attributes["modality"] == "CT"
    assert "frame" not in volume.attributes
    assert volume.decoder.startswith("pydicom ")
    assert "1.2." not in f"{volume.attributes} {volume.flags}"
    (image,) = volume.slices(1)
    assert image.attributes["slice"] == 1
    assert (image.attributes["rows"], image.attributes["columns"]) == (18, 7)  # of 1.5 x 0.75 mm, made square
    (coronal,) = volume.slices(1, plane=Plane.CORONAL)
    assert coronal.unit is PixelUnit.HU


def test_doubts_about_where_slices_lie() -> None:
    assert codes(read_series(series([0, 2, 4, 8, 10]))) == ["SLICES_MISSING"]
    assert codes(read_series(series([0, 2, 4.7, 6, 8]))) == ["UNEVEN_SPACING"]
    assert codes(read_series(series([4]))) == ["SINGLE_SLICE"]
    assert read_series(series([4])).spacing_mm[0] == 2.0
    tilted = read_series(series([0, 2, 4, 6], shift=float(np.tan(np.radians(-20)))))
    assert codes(tilted) == ["GANTRY_TILT"]
    assert "20.0 degrees" in tilted.flags[0].sentence
    check_phantom(tilted)
    for volume in (tilted, read_series(series([0, 2, 4, 8]))):
        assert volume.can_cut(Plane.AXIAL)
        assert not volume.can_cut(Plane.SAGITTAL)


def test_repeated_files_and_positions() -> None:
    files = series([0, 2, 4, 6])
    again = read_series([*files, files[1], files[2]])
    assert codes(again) == ["DUPLICATE_SLICE"]
    assert again.flags[0].sentence.startswith("2 ")
    check_phantom(again)
    extra = slice_at(np.array([10.0, -20.0, 7.0]), uid="1.2.4", InstanceNumber=99, RescaleIntercept=0)
    volume = read_series([extra, *files])
    assert codes(volume) == ["DUPLICATE_POSITION"]
    check_phantom(volume)  # the one with the smaller instance number was taken


def test_several_time_points() -> None:
    later = [
        slice_at(np.array([10.0, -20.0, 5.0 + z]), uid=f"1.2.5.{z}", AcquisitionNumber=2, RescaleIntercept=0)
        for z in (0, 2, 4)
    ]
    volume = read_series([*later, *series([0, 2, 4], AcquisitionNumber=1)])
    assert codes(volume) == ["MULTI_VOLUME"]
    assert "2 volumes" in volume.flags[0].sentence
    check_phantom(volume)


def test_what_does_not_belong_is_left_out_and_said() -> None:
    files = series([0, 2, 4, 6])
    scouts = [slice_at(np.zeros(3), rotated(n), uid=f"1.7.{n}", ImageType=["ORIGINAL", "LOCALIZER"]) for n in range(2)]
    assert codes(read_series([*scouts, *files])) == ["LOCALISER_LEFT_OUT"]
    others = series([0, 2, 4], rotated(1), SeriesInstanceUID="1.2.99")
    volume = read_series([*others, *files])
    assert codes(volume) == ["SEVERAL_SERIES"]
    assert len(volume.samples) == 4
    assert codes(read_series([*files, slice_at(np.zeros(3), rotated(3), uid="1.8")])) == ["MIXED_GEOMETRY"]
    smaller = make_dicom(np.zeros((4, 4), np.uint16), **header_of(files[0]), SOPInstanceUID="1.8")
    assert codes(read_series([*files, smaller])) == ["MIXED_GEOMETRY"]
    assert codes(read_series([*files, b"notes", b""])) == ["LEFT_OUT"]
    check_phantom(read_series([smaller, b"notes", *files]))


def header_of(file: bytes) -> dict[str, Any]:
    dataset = pydicom.dcmread(io.BytesIO(file))
    kept = ("SeriesInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    return {keyword: dataset[keyword].value for keyword in kept}


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal([]) == "METADATA_ONLY NO_GEOMETRY"
    assert refusal([b"notes"]) == "REJECT NOT_AN_IMAGE"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        assert refusal(series([0, 2], **{keyword: None})) == "METADATA_ONLY NO_GEOMETRY"
    assert refusal(series([0, 2], ImageOrientationPatient=[1, 0, 0, 1, 0, 0])) == "METADATA_ONLY NO_GEOMETRY"
    three_planes = [slice_at(np.zeros(3), rotated(n), uid=f"1.7.{n}") for n in range(3)]
    assert refusal(three_planes) == "METADATA_ONLY MIXED_GEOMETRY"
    all_around = [slice_at(np.zeros(3), rotated(n), uid=f"1.7.{n}") for n in range(70)]
    assert refusal([*all_around, *series([2.0 * z for z in range(80)])]) == "METADATA_ONLY MIXED_GEOMETRY"
    assert refusal(series([0, 2], SOPClassUID=ComprehensiveSRStorage, Rows=None)) == "REJECT DIM_ZERO"
    monkeypatch.setattr(volume_module, "MAX_VOLUME_BYTES", 3 * ROWS * COLUMNS * 4 - 1)
    assert refusal(series([0, 2, 4])) == "REJECT TOO_MANY_PIXELS"
    read_series(series([0, 2]))


def test_slices_that_cannot_be_decoded() -> None:
    files = series([0, 2, 4, 6, 8])
    files[2] = slice_at(np.array([10.0, -20.0, 9.0]), uid="1.9", BitsStored=99)
    volume = read_series(files)
    assert codes(volume) == ["SLICES_UNREADABLE", "SLICES_MISSING"]
    assert volume.samples.shape == (4, ROWS, COLUMNS)
    assert not volume.is_even
    assert refusal(series([0, 2, 4], BitsStored=99)) == "REJECT BITS_INVALID"
    half = [*series([0, 2], BitsStored=99), *series([4, 6])]  # of the same instance UIDs, but elsewhere
    assert refusal(half) == "QUARANTINE CODESTREAM_INVALID"


def test_each_slice_has_its_own_slope() -> None:
    files = [slice_at(START + 2.0 * z * UP, uid=f"1.2.{z}", RescaleIntercept=-1000 - z) for z in range(4)]
    volume = read_series(files)
    check_phantom(Volume(samples=volume.samples + np.arange(4)[:, None, None], affine=volume.affine, unit=volume.unit))
    fractions = [slice_at(START + 2.0 * z * UP, uid=f"1.2.{z}", RescaleSlope=1 + z / 4) for z in range(4)]
    assert read_series(fractions).samples.dtype == np.float32


def test_one_window_for_all_slices() -> None:
    windows = [{"WindowCenter": 40, "WindowWidth": 400}] * 3 + [{"WindowCenter": 50, "WindowWidth": 350}] * 2
    files = [slice_at(START + 2.0 * z * UP, uid=f"1.2.{z}", **window) for z, window in enumerate(windows)]
    assert read_series(files).window == Window(center=40, width=400)
    assert read_series(files[1:]).window is None
    no_units = [
        slice_at(START + 2.0 * z * UP, uid=f"1.2.{z}", RescaleSlope=None, RescaleIntercept=None) for z in (0, 1)
    ]
    doubtful = read_series([*no_units, *files[2:]])
    assert doubtful.unit is PixelUnit.RAW
    assert {"NO_HU", "MIXED_UNITS"} <= set(codes(doubtful))


def measures(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def enhanced(order: list[int], change: Callable[[Dataset, int], None] | None = None) -> bytes:
    """An enhanced MR object: orientation shared, position of each frame its own, frames in a given order."""
    frames, groups = [], []
    for z in order:
        position = START + AXIAL @ [0, 0, 2.5 * z]
        dataset = pydicom.dcmread(io.BytesIO(slice_at(position)))
        frames.append(dataset.pixel_array)
        group = measures(
            PlanePositionSequence=[measures(ImagePositionPatient=[float(number) for number in position])],
            FrameContentSequence=[measures(TemporalPositionIndex=1)],
        )
        if change:
            change(group, z)
        groups.append(group)
    shared = measures(
        PlaneOrientationSequence=[measures(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[measures(PixelSpacing=list(SPACING), SliceThickness=2.5)],
        PixelValueTransformationSequence=[measures(RescaleSlope=1, RescaleIntercept=-1000, RescaleType="US")],
    )
    return make_dicom(
        np.stack(frames),
        NumberOfFrames=len(frames),
        SOPClassUID=EnhancedMRImageStorage,
        Modality="MR",
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=groups,
    )


def test_enhanced_objects(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_bytes(enhanced([3, 0, 4, 1, 2]))
    volume = read_volume(path)
    assert codes(volume) == []
    assert volume.spacing_mm == pytest.approx((2.5, *SPACING))
    assert volume.samples.shape == (5, ROWS, COLUMNS)
    check_phantom(volume)

    def two_times(group: Dataset, z: int) -> None:
        index, height = divmod(z, 10)
        group.FrameContentSequence[0].TemporalPositionIndex = 2 - index
        group.PlanePositionSequence[0].ImagePositionPatient = [10, -20, 5 + 2.5 * height]

    dynamic = read_series([enhanced([0, 1, 2, 10, 11, 12], two_times)])
    assert codes(dynamic) == ["MULTI_VOLUME"]
    assert dynamic.samples.min() > 200 + 5 * 20 + 7 * 25  # the frames of index 1 were made further up


def test_a_dose_grid() -> None:
    files = [pydicom.dcmread(io.BytesIO(slice_at(START + 3.0 * z * UP))).pixel_array for z in range(4)]
    elements: dict[str, Any] = {
        "SOPClassUID": RTDoseStorage,
        "NumberOfFrames": 4,
        "ImagePositionPatient": START.tolist(),
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": list(SPACING),
        "RescaleSlope": 1,
        "RescaleIntercept": -1000,
    }
    check_phantom(read_series([make_dicom(np.stack(files), GridFrameOffsetVector=[0, 3, 6, 9], **elements)]))
    check_phantom(read_series([make_dicom(np.stack(files), GridFrameOffsetVector=[5, 8, 11, 14], **elements)]))
    assert refusal([make_dicom(np.stack(files), **elements)]) == "METADATA_ONLY NO_GEOMETRY"


HITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=10)


@settings(max_examples=60, deadline=None)
@given(HITS, st.sampled_from([1.0, 1.0, 0.8]), st.booleans())
def test_damaged_files_end_in_a_volume_or_an_answer(
    hits: list[tuple[float, int]], keep: float, is_enhanced: bool
) -> None:
    data = bytearray(enhanced([0, 1, 2]) if is_enhanced else series([0])[0])
    for where, value in hits:
        data[int(where * len(data))] = value
    files = [bytes(data[: int(keep * len(data))])]
    try:
        volume = read_series(files if is_enhanced else [*series([2, 4]), *files])
    except Refused as refused:
        assert refused.sentence
        return
    assert len(volume.slices(2, plane=Plane.ACQUIRED)) in (1, 2)
