"""Files of many pictures: which frames are read, what is decoded, and what a damaged one costs."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pil
from pydicom import Dataset, config, dcmread, encaps
from pydicom.pixels import get_encoder
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from callosum.core.display import Window
from callosum.core.errors import Refused, UsageError
from callosum.data.readers import dicom, dicom_pixels, raster, tiff
from callosum.data.readers.picture import sample_indices

MakeDicom = Callable[..., bytes]
COLOURS = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype(np.uint8)
LEVELS = np.repeat(np.arange(30, dtype=np.uint16) * 8, 256).reshape(30, 16, 16)


def codes(image: object) -> set[str]:
    return {flag.code for flag in image.flags} - {"CONSTANT"}


@given(st.integers(1, 5000), st.integers(1, 200))
def test_samples_are_the_centres_of_equal_parts(num_frames: int, limit: int) -> None:
    indices = sample_indices(num_frames, limit)
    k = min(num_frames, limit)
    assert indices == [int(np.floor((i + 0.5) * num_frames / k)) for i in range(k)]
    assert len(set(indices)) == k
    assert 0 <= indices[0] <= indices[-1] < num_frames


def test_samples_at_the_ends() -> None:
    assert sample_indices(7, 1) == [3]
    assert sample_indices(3, 16) == [0, 1, 2]
    with pytest.raises(UsageError):
        sample_indices(3, 0)


def many(name: str, dicom_file: MakeDicom) -> bytes:
    if name == "dicom":
        return dicom_file(LEVELS, NumberOfFrames=30)
    stream = io.BytesIO()
    pages = [Pil.fromarray(page.astype(np.uint8)) for page in LEVELS]
    if name == "tiff":
        tifffile.imwrite(stream, LEVELS, photometric="minisblack")
    else:
        pages[0].save(stream, name, save_all=True, append_images=pages[1:], duration=20)
    return stream.getvalue()


READERS = {"dicom": dicom, "tiff": tiff, "gif": raster, "png": raster}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [15]), (4, [3, 11, 18, 26]), (30, [*range(30)]), (99, [*range(30)])]
)
def test_many_frames(dicom: MakeDicom, name: str, limit: int, expected: list[int]) -> None:
    data = many(name, dicom)
    images = list(READERS[name].read_images(data, limit=limit))
    assert [image.attributes["frame"] for image in images] == expected
    assert {image.attributes["num_frames"] for image in images} == {30}
    assert all(codes(image) == (set() if limit >= 30 else {"MULTI_FRAME"}) for image in images)
    for image, index in zip(images, expected, strict=True):
        assert np.array_equal(image.pixels, READERS[name].read_image(data, frame=index).pixels)
        assert np.array_equal(image.pixels.reshape(16, 16, -1)[..., 0], LEVELS[index])
    if 1 < limit < 30:
        assert "It has 30 frames; 4 of them" in images[0].flags[0].sentence


def test_one_picture_is_one_picture(dicom: MakeDicom) -> None:
    (image,) = READERS["dicom"].read_images(dicom(LEVELS[0]), limit=5)
    assert not codes(image)


def test_the_header_is_read_once_and_other_frames_are_not_decoded(
    dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = READERS["dicom"]
    calls = {"dcmread": 0, "decode_frame": 0, "samples": 0}
    read, decode = module.dcmread, module.decode_frame

    def counted_read(*arguments: object, **options: object) -> object:
        calls["dcmread"] += 1
        return read(*arguments, **options)

    def counted_decode(*arguments: object) -> object:
        calls["decode_frame"] += 1
        found = decode(*arguments)
        calls["samples"] += found[0].size
        return found

    monkeypatch.setattr(module, "dcmread", counted_read)
    monkeypatch.setattr(module, "decode_frame", counted_decode)
    data = dicom(
        COLOURS, NumberOfFrames=30, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL", PlanarConfiguration=0
    )
    assert len(list(module.read_images(data, limit=4))) == 4
    assert calls == {"dcmread": 1, "decode_frame": 4, "samples": 4 * 16 * 16 * 3}


def rle(dicom_file: MakeDicom, *, damaged: set[int]) -> bytes:
    dataset = dcmread(io.BytesIO(dicom_file(LEVELS[:6], NumberOfFrames=6)))
    frames = list(get_encoder(RLELossless).iter_encode(dataset, encoding_plugin="pydicom"))
    frames = [b"\xff" * len(each) if n in damaged else each for n, each in enumerate(frames)]
    return dicom_file(LEVELS[:6], syntax=RLELossless, NumberOfFrames=6, PixelData=encaps.encapsulate(frames))


def test_a_damaged_frame_costs_itself_only(dicom: MakeDicom) -> None:
    images = list(READERS["dicom"].read_images(rle(dicom, damaged={1, 4}), limit=6))
    assert [image.attributes["frame"] for image in images] == [0, 2, 3, 5]
    assert [codes(image) for image in images] == [set(), set(), set(), {"FRAMES_DAMAGED"}]
    assert images[-1].flags[-1].sentence.startswith("2 of the 6 frames")
    with pytest.raises(Refused, match="CODESTREAM_INVALID"):
        READERS["dicom"].read_image(rle(dicom, damaged={1, 4}), frame=4)


def test_no_good_frame_is_a_refusal(dicom: MakeDicom) -> None:
    with pytest.raises(Refused, match="CODESTREAM_INVALID") as caught:
        list(READERS["dicom"].read_images(rle(dicom, damaged=set(range(6))), limit=3))
    assert caught.value.identifiers["patient_id"] == "PID-SECRET"


def test_settings_of_pydicom_are_ours_only_while_it_works(dicom: MakeDicom) -> None:
    mode = config.settings.reading_validation_mode
    images = READERS["dicom"].read_images(dicom(LEVELS, NumberOfFrames=30), limit=3)
    next(images)
    assert config.settings.reading_validation_mode == mode
    images.close()


def test_large_native_pixels_are_not_copied(dicom: MakeDicom) -> None:
    large = np.random.default_rng(0).integers(0, 4096, (1024, 1024)).astype(np.uint16)
    image = READERS["dicom"].read_image(dicom(large, BitsStored=12, HighBit=11))
    assert np.array_equal(image.pixels, large)
    assert not image.pixels.flags.owndata
    assert dicom_pixels.decoder_plugin(dicom_pixels.NATIVE[1]) == ("", "pydicom")


def test_a_header_of_megabytes_is_read_all_the_same(dicom: MakeDicom) -> None:
    """Large elements are handed to pydicom as views: sequences in them must still be understood."""
    groups = []
    for n in range(3):
        group, voi = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = n, 100 + n
        voi.add_new(0x00091001, "OB", bytes(1 << 19))
        group.FrameVOILUTSequence = Sequence([voi])
        groups.append(group)
    data = dicom(
        LEVELS[:3],
        NumberOfFrames=3,
        SharedFunctionalGroupsSequence=Sequence([Dataset()]),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )
    windows = [image.window for image in READERS["dicom"].read_images(data, limit=3)]
    assert windows == [Window(center=n, width=100 + n) for n in range(3)]
