"""NIfTI files and DICOM series of the packs and of pydicom as volumes, against nibabel and highdicom."""

import csv
import gzip
import io
import tarfile
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callosum.core.errors import Refused
from callosum.core.record import Image
from callosum.data.readers import nifti
from callosum.data.volumes import read_volume
from callosum.data.volumes.series import read_series
from callosum.data.volumes.volume import Plane, Volume

nibabel = pytest.importorskip("nibabel")

QUIETLY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
HITS = st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def nifti_files(data_root: Path) -> dict[str, bytes]:
    with (data_root / "image_zoo" / "manifest.csv").open(newline="") as stream:
        names = [row["id"] for row in csv.DictReader(stream) if row["kind"] == "nifti"]
    with tarfile.open(data_root / "image_zoo" / "files.tar.gz") as archive:
        found = {name: archive.extractfile(name) for name in names}
        return {name: stream.read() for name, stream in found.items() if stream is not None}


def test_orientation_and_samples_are_those_of_nibabel(nifti_files: dict[str, bytes]) -> None:
    assert nifti_files
    for name, data in nifti_files.items():
        plain = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        kind = nibabel.Nifti2Image if plain[4:7] == b"n+2" else nibabel.Nifti1Image
        expected = nibabel.as_closest_canonical(kind.from_bytes(plain))
        samples = np.asarray(expected.dataobj)
        samples = samples.reshape(*samples.shape[:3], -1)[..., 0]
        volume = nifti.read_volume(data)
        shown = volume.oriented("SPL")
        np.testing.assert_allclose(shown.samples, samples.T[:, ::-1, ::-1], rtol=1e-6, err_msg=name)
        corner = expected.affine @ [samples.shape[0] - 1, samples.shape[1] - 1, 0, 1]
        np.testing.assert_allclose(shown.affine[:3, 3], corner[:3] * [-1, -1, 1], atol=1e-4, err_msg=name)
        assert {flag.code for flag in volume.flags} <= {"MULTI_VOLUME"}
        for plane in Plane:
            (image,) = volume.slices(1, plane=plane)
            assert image.display().dtype == np.uint8


def test_every_slice_is_read(nifti_files: dict[str, bytes]) -> None:
    for data in nifti_files.values():
        images = list(nifti.read_images(data, limit=1000))
        assert [image.attributes["slice"] for image in images] == list(range(len(images)))
        assert len({image.window for image in images}) == 1


@QUIETLY
@given(st.data(), HITS, st.sampled_from([1.0, 1.0, 0.9, 0.3]))
def test_damaged_volumes_end_in_pictures_or_an_answer(
    nifti_files: dict[str, bytes], draw: st.DataObject, hits: list[tuple[int, int]], keep: float
) -> None:
    data = bytearray(nifti_files[draw.draw(st.sampled_from(sorted(nifti_files)))])
    for where, value in hits:
        data[where % len(data)] = value
    try:
        images = list(nifti.read_images(bytes(data[: int(keep * len(data))]), limit=2))
    except Refused as refused:
        assert refused.sentence
        return
    assert all(isinstance(image, Image) and image.display().dtype == np.uint8 for image in images)


def pydicom_series(root: Path) -> list[list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(one for one in root.rglob("*") if one.is_file()):
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True)
            except Exception:
                continue
            if "ImagePositionPatient" in header and "NumberOfFrames" not in header:
                found[header.SeriesInstanceUID].append(path)
    return list(found.values())


def agrees(volume: Volume, paths: list[Path]) -> bool:
    """True when highdicom makes the same volume; False when it makes none."""
    highdicom = pytest.importorskip("highdicom")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            other = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths]).flip_spatial(0)
        except ValueError:
            return False
    np.testing.assert_allclose(volume.samples, other.array)
    if len(paths) > 1:
        np.testing.assert_allclose(volume.affine, other.affine, atol=1e-3)
    return True


def test_series_of_pydicom_are_those_of_highdicom(pydicom_files: Path) -> None:
    num_equal, refused = 0, []
    for paths in pydicom_series(pydicom_files):
        try:
            volume = read_series(paths)
        except Refused as answer:
            refused.append(answer.reason)
            continue
        num_equal += agrees(volume, paths)
    assert num_equal >= 8
    assert set(refused) == {"MIXED_GEOMETRY"}  # three-plane localisers, and two pictures of different size


def test_a_series_of_five_slices(pydicom_files: Path) -> None:
    volume = read_volume(pydicom_files / "dicomdirtests" / "98892001" / "CT5N")
    assert volume.samples.shape == (5, 16, 16)
    assert volume.flags == ()
    assert volume.orientation == "SPL"


def test_every_dicom_file_alone_is_a_volume_or_has_an_answer(data_root: Path) -> None:
    num_volumes = 0
    with tarfile.open(data_root / "dicom_zoo" / "dicom.tar.gz") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            try:
                volume = read_series([stream.read()]) if stream else None
            except Refused as refused:
                assert refused.sentence
                continue
            num_volumes += volume is not None
    assert num_volumes > 50


def test_a_dose_of_pydicom_is_a_volume(pydicom_files: Path) -> None:
    volume = read_volume(pydicom_files / "rtdose.dcm")
    header = pydicom.dcmread(io.BytesIO((pydicom_files / "rtdose.dcm").read_bytes()))
    np.testing.assert_allclose(volume.samples, header.pixel_array)
    offsets = np.array(header.GridFrameOffsetVector)
    np.testing.assert_allclose(volume.spacing_mm[0], np.diff(offsets).mean())
