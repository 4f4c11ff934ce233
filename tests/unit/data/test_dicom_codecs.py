"""One picture in every encoding: the same samples, the same look, and never a decoder that happens to be installed."""

import io
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, dcmread, encaps
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from callosum.core.errors import Refused
from callosum.data.readers import read, read_bytes
from callosum.data.readers.dicom_pixels import DEFLATED_FRAMES

MakeDicom = Callable[..., bytes]
WINDOW = {"WindowCenter": 1900, "WindowWidth": 2600}
NATIVE = (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


@pytest.fixture(scope="module")
def film() -> np.ndarray:
    """12 bits, smooth with noise: uint16 `[96, 80]`."""
    y, x = np.mgrid[:96, :80]
    smooth = 2000 + 1200 * np.sin(x / 11) * np.cos(y / 17)
    return (smooth + np.random.default_rng(0).normal(0, 40, smooth.shape)).clip(0, 4095).astype(np.uint16)


def encoded(dicom: MakeDicom, pixels: np.ndarray, syntax: str, frame: bytes, **elements: object) -> bytes:
    data = encaps.encapsulate([frame])
    options = {"BitsStored": 12, "HighBit": 11} | WINDOW | elements
    return dicom(pixels, syntax=syntax, PixelData=data, **options)


def through_pydicom(dicom: MakeDicom, film: np.ndarray, syntax: str, plugin: str) -> bytes:
    dataset = dcmread(io.BytesIO(dicom(film, BitsStored=12, HighBit=11, **WINDOW)))
    dataset.compress(UID(syntax), encoding_plugin=plugin, generate_instance_uid=False)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


LOSSLESS: dict[str, Callable[[MakeDicom, np.ndarray], bytes]] = {
    "rle": lambda dicom, film: through_pydicom(dicom, film, RLELossless, "pydicom"),
    "jpeg-ls": lambda dicom, film: through_pydicom(dicom, film, JPEGLSLossless, "pyjpegls"),
    "jpeg 2000": lambda dicom, film: through_pydicom(dicom, film, JPEG2000Lossless, "pylibjpeg"),
    "htj2k": lambda dicom, film: encoded(dicom, film, HTJ2KLossless, imagecodecs.htj2k_encode(film)),
    "lossless jpeg": lambda dicom, film: encoded(
        dicom, film, JPEGLosslessSV1, imagecodecs.ljpeg_encode(film, bitspersample=12)
    ),
    "lossless jpeg, any predictor": lambda dicom, film: encoded(
        dicom, film, JPEGLossless, imagecodecs.ljpeg_encode(film, bitspersample=12)
    ),
    "deflated frames": lambda dicom, film: encoded(dicom, film, DEFLATED_FRAMES, deflated(film.tobytes())),
} | {UID(syntax).name: lambda dicom, film, syntax=syntax: native(dicom, film, syntax) for syntax in NATIVE}


def native(dicom: MakeDicom, film: np.ndarray, syntax: str) -> bytes:
    samples = film.astype(">u2") if syntax == ExplicitVRBigEndian else film
    return dicom(film, syntax=syntax, BitsStored=12, HighBit=11, PixelData=samples.tobytes(), **WINDOW)


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    found = stream.compress(data) + stream.flush()
    return found + b"\0" * (len(found) % 2)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_twins_are_equal(dicom: MakeDicom, film: np.ndarray, name: str) -> None:
    image = read_bytes(LOSSLESS[name](dicom, film))
    assert np.array_equal(image.pixels, film)
    plain = read_bytes(dicom(film, BitsStored=12, HighBit=11, **WINDOW))
    assert np.array_equal(image.display(), plain.display())


def test_twelve_bit_jpeg_is_near(dicom: MakeDicom, film: np.ndarray) -> None:
    frame = imagecodecs.jpeg8_encode(film, level=100, bitspersample=12)
    image = read_bytes(encoded(dicom, film, JPEGExtended12Bit, frame))
    assert np.abs(image.pixels.astype(int) - film).max() <= 3


@pytest.mark.parametrize(
    ("name", "values", "elements"),
    [
        ("MONOCHROME1", lambda v: 4095 - v, {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": 4096 - 1900}),
        (
            "rescaled",
            lambda v: v,
            {"RescaleSlope": 2, "RescaleIntercept": -300, "WindowCenter": 2 * 1900 - 300, "WindowWidth": 2 * 2600},
        ),
        ("shifted down", lambda v: v.astype(np.int16) - 2048, {"WindowCenter": 1900 - 2048}),
        ("rescaled back", lambda v: v // 2 + 100, {"RescaleSlope": 2, "RescaleIntercept": -200}),
        ("PresentationLUTShape", lambda v: 4095 - v, {"PresentationLUTShape": "INVERSE", "WindowCenter": 4096 - 1900}),
    ],
)
def test_twins_look_alike(
    dicom: MakeDicom, film: np.ndarray, name: str, values: Callable[[np.ndarray], np.ndarray], elements: dict
) -> None:
    plain = read_bytes(dicom(film, BitsStored=12, HighBit=11, **WINDOW)).display().astype(int)
    stored = np.ascontiguousarray(values(film))
    twin = read_bytes(dicom(stored, **(WINDOW | {"BitsStored": 13, "HighBit": 12} | elements)))
    assert np.abs(twin.display() - plain).max() <= 1, name


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_deflated_colours(dicom: MakeDicom, photometric: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    plain = read_bytes(dicom(colours, PhotometricInterpretation=photometric))
    data = encaps.encapsulate([deflated(colours.tobytes())])
    twin = read_bytes(dicom(colours, syntax=DEFLATED_FRAMES, PhotometricInterpretation=photometric, PixelData=data))
    assert np.array_equal(twin.pixels, plain.pixels)


def test_deflated_bits(dicom: MakeDicom) -> None:
    board = np.random.default_rng(0).integers(0, 2, (10, 11)).astype(np.uint8)
    packed = np.packbits(board, bitorder="little").tobytes()
    data = encaps.encapsulate([deflated(packed)])
    options = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": data}
    assert np.array_equal(read_bytes(dicom(board, syntax=DEFLATED_FRAMES, **options)).pixels, board)


@pytest.mark.parametrize("frame", [b"\0\0", b"no stream!", deflated(bytes(10)), deflated(bytes(1 << 22))[:-4]])
def test_a_deflated_frame_of_another_size_is_refused(dicom: MakeDicom, film: np.ndarray, frame: bytes) -> None:
    with pytest.raises(Refused, match="CODESTREAM_INVALID"):
        read_bytes(encoded(dicom, film, DEFLATED_FRAMES, frame))


def test_an_unknown_syntax_is_kept_as_metadata(dicom: MakeDicom, film: np.ndarray) -> None:
    with pytest.raises(Refused, match="METADATA_ONLY TS_UNSUPPORTED"):
        read_bytes(encoded(dicom, film, "1.2.3.4", b"abcd"))


SAMPLES = {
    "JPEG Baseline": "SC_rgb_jpeg_dcmtk.dcm",
    "JPEG Extended": "JPGExtended.dcm",
    "JPEG lossless": "SC_rgb_jpeg_gdcm.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "JPEG 2000": "693_J2KI.dcm",
    "JPEG 2000 lossless": "MR_small_jp2klossless.dcm",
    "RLE": "MR_small_RLE.dcm",
}


@pytest.fixture
def intruder() -> Iterator[Callable[[UID], None]]:
    """Install a decoder that makes everything black, ahead of all others."""
    module = types.ModuleType("intruding_decoder")
    module.is_available = lambda uid: True
    module.DECODER_DEPENDENCIES = {}
    module.decode = lambda src, runner: bytes(runner.frame_length(unit="bytes"))
    sys.modules[module.__name__] = module
    changed = []

    def install(syntax: UID) -> None:
        decoder = get_decoder(syntax)
        module.DECODER_DEPENDENCIES[syntax] = ("numpy",)
        changed.append((decoder, decoder._available))
        decoder.add_plugin("a_first", (module.__name__, "decode"))
        decoder._available = {"a_first": decoder._available["a_first"], **decoder._available}

    yield install
    for decoder, available in changed:
        decoder.remove_plugin("a_first")
        decoder._available = {name: plugin for name, plugin in available.items() if name != "a_first"}
    del sys.modules[module.__name__]


@pytest.mark.parametrize("name", SAMPLES)
def test_other_decoders_are_not_asked(pydicom_files: Path, intruder: Callable[[UID], None], name: str) -> None:
    path = next(pydicom_files.rglob(SAMPLES[name]))
    before = read(path)
    dataset: Dataset = dcmread(path)
    intruder(dataset.file_meta.TransferSyntaxUID)
    if dataset.file_meta.TransferSyntaxUID != JPEGBaseline8Bit:  # there, black is decoded as YCbCr
        assert not dataset.pixel_array.any(), "the intruder is not the one that pydicom would take"
    after = read(path)
    assert np.array_equal(after.pixels, before.pixels)
    assert after.pixels.any()
    assert after.render_recipe == before.render_recipe
