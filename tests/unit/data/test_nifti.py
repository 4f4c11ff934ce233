"""NIfTI volumes written by nibabel, or byte by byte where nibabel refuses to."""

import builtins
import gzip
import io
import struct
import time
import tracemalloc
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callosum.core.errors import Refused, UsageError
from callosum.core.record import Image, PixelUnit
from callosum.data.readers import nifti
from callosum.data.volumes import read_volume
from callosum.data.volumes import volume as volume_module

nibabel = pytest.importorskip("nibabel")

SHAPE_XYZ = (9, 10, 11)
QUIETLY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
TURNS = [(order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]


def samples_of(shape: tuple[int, ...] = SHAPE_XYZ, dtype: str = "i2") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def written(image: Any) -> bytes:
    data: bytes = image.to_bytes()
    return data


def make(samples: np.ndarray | None = None, affine: np.ndarray | None = None, *, version: int = 1) -> bytes:
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(samples_of() if samples is None else samples, np.eye(4) if affine is None else affine)
    return written(image)


def changed(data: bytes, layout: str, at: int, *values: float) -> bytes:
    out = bytearray(data)
    struct.pack_into(layout, out, at, *values)
    return bytes(out)


def answer(data: bytes) -> str:
    with pytest.raises(Refused) as found:
        nifti.read_image(data)
    return f"{found.value.answer} {found.value.reason}"


def codes(data: bytes) -> list[str]:
    return [flag.code for flag in nifti.read_volume(data).flags]


@pytest.mark.parametrize(("order", "flips"), TURNS)
def test_orientation_is_that_of_nibabel(order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.diag(flips) * (1.0, 2.0, 3.0))[list(order)]
    affine[:3, 3] = (-5, 7, 3)
    image = nibabel.Nifti1Image(samples_of(), affine)
    expected = nibabel.as_closest_canonical(image)  # x to the right, y to the front, z to the head
    volume = nifti.read_volume(written(image))
    shown = volume.oriented("SPL")  # z to the head, y to the back, x to the left
    np.testing.assert_array_equal(shown.samples, np.asarray(expected.dataobj).T[:, ::-1, ::-1])
    lps = np.diag([-1, -1, 1, 1]) @ expected.affine
    corner = lps @ [expected.shape[0] - 1, expected.shape[1] - 1, 0, 1]
    np.testing.assert_allclose(shown.affine[:, 3], corner, atol=1e-5)
    assert volume.flags == ()
    middle = nifti.read_image(written(image))
    assert middle.attributes["slice"] == shown.samples.shape[0] // 2


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("is_packed", [False, True])
def test_slices(version: int, is_packed: bool) -> None:
    data = make(version=version)
    data = gzip.compress(data) if is_packed else data
    assert nifti.is_nifti(data)
    images = list(nifti.read_images(data, limit=4))
    assert [image.attributes["slice"] for image in images] == [1, 4, 6, 9]
    for image in images:
        z = int(image.attributes["slice"])
        np.testing.assert_array_equal(image.pixels, samples_of()[::-1, ::-1, z].T)  # RAS to front up, right on the left
        assert image.attributes["plane"] == "axial"
        assert image.attributes["num_slices"] == 11
        assert image.unit is PixelUnit.RAW
        assert image.window == images[0].window
        assert image.decoder.startswith("nibabel ")
        assert "MULTI_FRAME" in {flag.code for flag in image.flags}
    assert nifti.read_image(data).attributes["slice"] == 5
    assert nifti.read_image(data, frame=10).attributes["slice"] == 10
    with pytest.raises(UsageError):
        nifti.read_image(data, frame=11)
    assert len(list(nifti.read_images(data, limit=99))) == 11


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_sample_types(dtype: str, order: str) -> None:
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    image = nibabel.Nifti1Image(samples_of(dtype=dtype), np.eye(4), header)
    volume = nifti.read_volume(written(image))
    assert volume.samples.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.samples, samples_of(dtype=dtype).T)
    assert volume.slices(1)[0].display().dtype == np.uint8


def test_a_path_is_read(tmp_path: Path) -> None:
    (tmp_path / "named.dcm").write_bytes(gzip.compress(make()))
    np.testing.assert_array_equal(read_volume(tmp_path / "named.dcm").samples, samples_of().T)
    np.testing.assert_array_equal(read_volume([str(tmp_path / "named.dcm")]).samples, samples_of().T)
    np.testing.assert_array_equal(read_volume(tmp_path).samples, samples_of().T)


def test_slope_and_intercept() -> None:
    data = make(samples_of(dtype="i2"))
    stored = samples_of().T
    for slope, intercept in ((2.0, -1000.0), (0.5, 3.25), (1.0, 0.0)):
        volume = nifti.read_volume(changed(data, "<ff", 112, slope, intercept))
        np.testing.assert_allclose(volume.samples, stored * slope + intercept)
        assert volume.flags == ()
    for slope, intercept in ((0.0, 5.0), (np.nan, np.nan), (np.nan, 3.0)):
        volume = nifti.read_volume(changed(data, "<ff", 112, slope, intercept))
        np.testing.assert_array_equal(volume.samples, stored)
        assert volume.flags == ()
    assert codes(changed(data, "<ff", 112, np.inf, 0.0)) == ["SLOPE_INVALID"]
    assert codes(changed(data, "<ff", 112, 1.0, np.nan)) == ["SLOPE_INVALID"]


def test_colours() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (*SHAPE_XYZ, 4)).astype(np.uint8)
    for channels, names in ((3, "RGB"), (4, "RGBA")):
        packed = np.ascontiguousarray(colours[..., :channels]).view([(name, "u1") for name in names])[..., 0]
        volume = nifti.read_volume(make(packed))
        assert volume.unit is PixelUnit.DISPLAY
        assert volume.samples.shape == (11, 10, 9, 3)
        alpha = colours[..., 3:] / 255 if channels == 4 else 1.0
        np.testing.assert_allclose(volume.samples, (colours[..., :3] * alpha).transpose(2, 1, 0, 3), atol=0.501)


def test_more_than_three_dimensions() -> None:
    samples = samples_of((*SHAPE_XYZ, 3, 2))
    volume = nifti.read_volume(gzip.compress(make(samples)))
    assert [flag.code for flag in volume.flags] == ["MULTI_VOLUME"]
    assert "6 volumes" in volume.flags[0].sentence
    np.testing.assert_array_equal(volume.samples, samples[..., 0, 0].T)
    assert codes(make(samples_of((*SHAPE_XYZ, 1)))) == []
    flat = nifti.read_volume(make(samples_of((9, 10))))
    assert flat.samples.shape == (1, 10, 9)


def test_what_is_no_grid_in_space() -> None:
    for shape in ((500,), (1, 500, 1), (1, 1, 1, 1, 20, 30)):
        assert answer(make(samples_of(shape))) == "METADATA_ONLY NOT_AN_IMAGE_OBJECT"
    assert answer(changed(make(version=2), "<i", 504, 3001)) == "METADATA_ONLY NOT_AN_IMAGE_OBJECT"  # CIFTI


def test_values_that_are_no_numbers() -> None:
    samples = samples_of(dtype="f4")
    samples[0, 0, :3] = (np.nan, np.inf, -np.inf)
    volume = nifti.read_volume(make(samples))
    assert [flag.code for flag in volume.flags] == ["NON_FINITE"]
    assert volume.flags[0].sentence.startswith("3 ")
    assert volume.samples[:3, 0, 0].tolist() == [0.0, 0.0, 0.0]
    samples[:, :, 0] = np.nan  # 1 of 11 slices
    assert answer(make(samples)) == "QUARANTINE NON_FINITE"
    assert answer(make(samples * np.float32(np.nan))) == "QUARANTINE NON_FINITE"
    assert answer(changed(make(samples_of(dtype="f8") * 1e300), "<ff", 112, 1e38, 0.0)) == "QUARANTINE NON_FINITE"


def test_orientations_that_are_a_guess() -> None:
    data = make(affine=np.diag([-2.0, 2, 2, 1]))
    unstated = changed(data, "<hh", 252, 0, 0)
    assert codes(unstated) == ["NO_ORIENTATION"]
    np.testing.assert_allclose(
        np.diag([-1, -1, 1, 1]) @ nifti.read_volume(unstated).affine[:, [2, 1, 0, 3]],
        nibabel.Nifti1Image.from_bytes(unstated).affine,
    )
    singular = changed(data, "<12f", 280, *[0.0] * 12)
    assert codes(singular) == ["NO_ORIENTATION"]
    assert codes(changed(data, "<f", 280, np.nan)) == ["NO_ORIENTATION"]
    assert codes(changed(singular, "<f", 80, 0.0)) == ["NO_ORIENTATION"]  # pixdim of zero
    # qform and sform of one space, and of two
    image = nibabel.Nifti1Image(samples_of(), np.diag([-2.0, 2, 2, 1]))
    for code, form, expected in (
        (1, np.diag([2.0, 2, 2, 1]), ["NO_ORIENTATION"]),
        (4, np.diag([2.0, 2, 2, 1]), ["NO_ORIENTATION"]),
        (1, np.diag([-2.0, 2, 2, 1]) + np.eye(4, k=3), []),  # half a voxel apart
        (1, np.diag([-2.0, 2, 2, 1]) + 9 * np.eye(4, k=3), ["NO_ORIENTATION"]),
        (4, np.diag([-2.0, 2, 2, 1]) + 9 * np.eye(4, k=3), []),  # another space lies elsewhere
    ):
        image.set_sform(np.diag([-2.0, 2, 2, 1]), code=1)
        image.set_qform(form, code=code)
        assert codes(written(image)) == expected


def test_units_of_length() -> None:
    data = make(affine=np.diag([1e-3, 2e-3, 3e-3, 1]))
    assert nifti.read_volume(changed(data, "<B", 123, 1)).spacing_mm == pytest.approx((3, 2, 1))
    data = make(affine=np.diag([1e3, 2e3, 3e3, 1]))
    assert nifti.read_volume(changed(data, "<B", 123, 3)).spacing_mm == pytest.approx((3, 2, 1))


def test_a_sheared_grid_is_cut_as_it_was_stored() -> None:
    affine = np.eye(4)[:, [2, 1, 0, 3]]  # sagittal: z of the file runs from left to right
    affine[1, 0] = 0.5
    image = nifti.read_image(make(affine=affine))
    assert image.attributes["plane"] == "sagittal"


def test_extensions_and_free_text_are_not_told() -> None:
    image = nibabel.Nifti1Image(samples_of(), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Canary^Name"))
    image.header["descrip"] = b"Canary^Name"
    image.header["aux_file"] = b"Canary^Name"
    data = written(image)
    assert b"Canary^Name" in data[348:]
    volume = nifti.read_volume(data)
    np.testing.assert_array_equal(volume.samples, samples_of().T)
    assert "Canary" not in f"{volume.attributes} {volume.flags} {volume.slices(1)[0]!r}"


def test_headers_that_cannot_be() -> None:
    data = make()
    assert answer(changed(data, "<h", 42, 0)) == "REJECT DIM_ZERO"
    assert answer(changed(data, "<h", 42, -5)) == "REJECT DIM_ZERO"
    assert answer(changed(data, "<h", 40, 9)) == "QUARANTINE HEADER_INVALID"
    assert answer(changed(data, "<h", 70, 999)) == "REJECT BITS_INVALID"
    assert answer(changed(data, "<h", 70, 32)) == "METADATA_ONLY BITS_UNSUPPORTED"
    assert answer(changed(data, "<f", 108, 100.0)) == "QUARANTINE HEADER_INVALID"
    assert answer(changed(data, "<f", 108, np.nan)) == "QUARANTINE HEADER_INVALID"
    assert codes(changed(data, "<h", 72, 8)) == ["BITS_INCONSISTENT"]
    assert answer(data[:344] + b"ni1\0" + data[348:]) == "METADATA_ONLY NO_PIXELS"
    assert answer(b"\0" * 600) == "REJECT NOT_AN_IMAGE"


def test_fewer_bytes_than_announced() -> None:
    data = make()
    assert answer(data[:-1]) == "REJECT TRUNCATED"
    assert answer(data[:1200]) == "REJECT TRUNCATED"
    assert answer(data[:200]) == "REJECT NOT_AN_IMAGE"
    assert answer(make(version=2)[:500]) == "REJECT TRUNCATED"
    packed = gzip.compress(data)
    assert answer(packed[: len(packed) // 2]) == "REJECT TRUNCATED"
    assert answer(packed[:-3]) == "REJECT TRUNCATED"
    assert answer(gzip.compress(data[:-1])) == "REJECT DIM_MISMATCH"
    damaged = bytearray(packed)
    damaged[len(packed) * 3 // 4] ^= 0xFF
    assert answer(bytes(damaged)) == "REJECT CORRUPT"


def test_a_packed_file_of_several_members() -> None:
    data = make()
    np.testing.assert_array_equal(
        nifti.read_volume(gzip.compress(data[:700]) + gzip.compress(data[700:])).samples, samples_of().T
    )


def header_only(shape: tuple[int, ...], dtype: str) -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["vox_offset"] = 352
    stream = io.BytesIO()
    header.write_to(stream)
    data = stream.getvalue()
    return data[:344] + b"n+1\0" + data[348:]


def bomb(shape: tuple[int, ...], zeros: int, dtype: str = "u1") -> bytes:
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as packed:
        packed.write(header_only(shape, dtype).ljust(352, b"\0"))
        block = bytes(1 << 20)
        for _ in range(zeros >> 20):
            packed.write(block)
    return stream.getvalue()


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_header_that_lies_costs_nothing(is_packed: bool) -> None:
    data = header_only((2000, 2000, 2000), "f8") + bytes(100_000)
    data = gzip.compress(data) if is_packed else data
    tracemalloc.start()
    began = time.perf_counter()
    try:
        with pytest.raises(Refused) as found:
            nifti.read_image(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - began < 1
    assert found.value.reason == "DIM_MISMATCH"


def test_a_bomb_is_not_inflated() -> None:
    tracemalloc.start()
    try:
        assert answer(bomb((512, 512, 400), 400 << 18, "i4")) == "REJECT DECOMPRESSION_LIMIT"
        assert answer(bomb((8, 8, 8), 64 << 20)) == "REJECT DECOMPRESSION_LIMIT"  # far more than announced
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_an_empty_mask_is_no_bomb() -> None:
    assert nifti.read_volume(bomb((256, 256, 64), 4 << 20)).samples.shape == (64, 256, 256)


def test_a_volume_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume_module, "MAX_VOLUME_BYTES", 4 * 9 * 10 * 11 - 1)
    assert answer(make()) == "REJECT TOO_MANY_PIXELS"


def test_without_nibabel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def missing(name: str, *others: Any) -> Any:
        if name == "nibabel":
            raise ImportError(name)
        return original(name, *others)

    data = make()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Refused, match="pip install 'callosum\\[nifti\\]'") as found:
        nifti.read_image(data)
    assert (found.value.answer, found.value.reason) == ("QUARANTINE", "READER_MISSING")


HITS = st.lists(st.tuples(st.integers(0, 540), st.integers(0, 255)), min_size=1, max_size=12)
SMALL = {version: make(samples_of((5, 6, 7), "f4"), version=version) for version in (1, 2)}


@QUIETLY
@given(st.sampled_from([1, 2]), HITS, st.sampled_from([1.0, 1.0, 0.9, 0.4]), st.booleans())
def test_damaged_files_end_in_an_image_or_an_answer(
    version: int, hits: list[tuple[int, int]], keep: float, is_packed: bool
) -> None:
    changed = bytearray(SMALL[version])
    for where, value in hits:
        changed[where] = value
    data = bytes(changed)
    data = gzip.compress(data) if is_packed else data
    try:
        images = list(nifti.read_images(data[: int(keep * len(data))], limit=3))
    except Refused as refused:
        assert refused.sentence
        return
    for image in images:
        assert isinstance(image, Image)
        assert image.display().dtype == np.uint8
