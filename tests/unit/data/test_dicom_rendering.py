"""Stored samples to the picture a person sees, against the formulas of PS3.3 C.11 written out one value at a time."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from callosum.core.display import Window, WindowFunction
from callosum.core.errors import Refused, UsageError
from callosum.core.record import Image, PixelUnit
from callosum.data.readers import read_bytes
from callosum.data.readers.dicom_render import rescale

MakeDicom = Callable[..., bytes]


def codes(image: Image) -> set[str]:
    return {flag.code for flag in image.flags}


def standard(value: float, center: float, width: float, function: str) -> float:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, with an output range of 0..255."""
    if function == "SIGMOID":
        return 255.0 / (1.0 + math.exp(min(-4.0 * (value - center) / width, 700.0)))
    if function == "LINEAR_EXACT":
        low, high = center - width / 2, center + width / 2
        middle = ((value - center) / width + 0.5) * 255.0
    else:
        low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
        middle = ((value - (center - 0.5)) / (width - 1) + 0.5) * 255.0 if width > 1 else 255.0
    return 0.0 if value <= low else 255.0 if value > high else middle


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(40, 400), (-600, 1500), (0, 2), (0, 1)])
def test_windows_are_those_of_the_standard(
    dicom: MakeDicom, ramp: np.ndarray, function: str, center: int, width: int
) -> None:
    image = read_bytes(dicom(ramp, WindowCenter=center, WindowWidth=width, VOILUTFunction=function))
    assert image.window == Window(center=center, width=width, function=WindowFunction(function))
    expected = np.array([standard(float(v), center, width, function) for v in ramp.ravel()]).reshape(ramp.shape)
    assert np.abs(image.display() - expected).max() <= 0.51


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
    ],
)
def test_polarity_is_applied_once(
    dicom: MakeDicom, ramp: np.ndarray, photometric: str, shape: str | None, is_inverted: bool
) -> None:
    plain = read_bytes(dicom(ramp, WindowCenter=0, WindowWidth=2048)).display()
    data = dicom(
        ramp, WindowCenter=0, WindowWidth=2048, PhotometricInterpretation=photometric, PresentationLUTShape=shape
    )
    shown = read_bytes(data).display()
    assert np.abs(shown.astype(int) - (255 - plain.astype(int) if is_inverted else plain)).max() <= 1


def test_eight_bit_monochrome1_is_inverted_once(dicom: MakeDicom) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(read_bytes(dicom(pixels, PhotometricInterpretation="MONOCHROME1")).display(), 255 - pixels)
    image = read_bytes(dicom(pixels))
    assert image.unit is PixelUnit.DISPLAY
    assert np.array_equal(image.display(), pixels)


def test_ct_is_in_hounsfield_units(dicom: MakeDicom) -> None:
    stored = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    image = read_bytes(dicom(stored, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024, BitsStored=12, HighBit=11))
    assert image.unit is PixelUnit.HU
    assert np.array_equal(image.pixels, stored.astype(int) - 1024)
    assert not image.flags


def test_ct_without_rescale_is_raw_and_shown_between_percentiles(dicom: MakeDicom, ramp: np.ndarray) -> None:
    image = read_bytes(dicom(ramp, Modality="CT", WindowCenter=40, WindowWidth=400))
    assert (image.unit, image.window, codes(image)) == (PixelUnit.RAW, None, {"NO_HU"})


def test_only_ct_has_hounsfield_units(dicom: MakeDicom, ramp: np.ndarray) -> None:
    assert read_bytes(dicom(ramp, Modality="PT", RescaleSlope=2.5, RescaleIntercept=0)).unit is PixelUnit.RAW
    image = read_bytes(dicom(ramp, Modality="CT", RescaleSlope=1, RescaleIntercept=0, RescaleType="US"))
    assert image.unit is PixelUnit.RAW


def test_slope_of_zero_is_ignored(dicom: MakeDicom, ramp: np.ndarray) -> None:
    image = read_bytes(dicom(ramp, RescaleSlope=0, RescaleIntercept=5, WindowCenter=1, WindowWidth=2))
    assert codes(image) == {"SLOPE_ZERO"}
    assert np.array_equal(image.pixels, ramp)
    assert image.window is None


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([np.uint8, np.int8, np.uint16, np.int16, np.int32]),
    st.sampled_from([1.0, -1.0, 2.0, 0.5, 0.00390625, 3.0, 1000.0]),
    st.sampled_from([0.0, -1024.0, 1024.0, 40000.0, -70000.0, 0.25]),
    st.integers(0, 2**32 - 1),
)
def test_rescale_never_wraps(dtype: type, slope: float, intercept: float, seed: int) -> None:
    limits = np.iinfo(dtype)
    stored = np.random.default_rng(seed).integers(limits.min, limits.max, (4, 4), endpoint=True).astype(dtype)
    expected = stored.astype(np.float64) * slope + intercept
    assert np.allclose(rescale(stored, slope, intercept), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": 40, "WindowWidth": -10},
        {"WindowCenter": 40, "WindowWidth": 0.5},
        {"WindowCenter": [40, 50], "WindowWidth": 400},
        {"WindowWidth": 400},
        {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "LOGARITHM"},
    ],
)
def test_unusable_window_falls_back_to_percentiles(dicom: MakeDicom, ramp: np.ndarray, window: dict) -> None:
    image = read_bytes(dicom(ramp, **window))
    assert codes(image) == {"WINDOW_INVALID"}
    shown = image.display()
    assert (shown.min(), shown.max()) == (0, 255)


def test_first_of_several_windows(dicom: MakeDicom, ramp: np.ndarray) -> None:
    image = read_bytes(dicom(ramp, WindowCenter=[40, 500], WindowWidth=[400, 2000]))
    assert image.window == Window(center=40, width=400)


def lut(descriptor: list[int], entries: np.ndarray) -> Sequence:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return Sequence([item])


def test_voi_lut_sequence_makes_a_finished_picture(dicom: MakeDicom) -> None:
    stored = np.arange(0, 64, dtype=np.uint16).reshape(8, 8)
    table = np.linspace(0, 4095, 32).astype(np.uint16)
    data = dicom(stored, VOILUTSequence=lut([32, 16, 12], table))
    image = read_bytes(data)
    expected = np.round(table[np.clip(stored.astype(int) - 16, 0, 31)] / 4095 * 255)
    assert image.unit is PixelUnit.DISPLAY
    assert np.array_equal(image.display(), expected)
    inverted = read_bytes(
        dicom(stored, VOILUTSequence=lut([32, 16, 12], table), PhotometricInterpretation="MONOCHROME1")
    )
    assert np.array_equal(inverted.display(), 255 - expected)


def test_modality_lut_sequence_precedes_the_window(dicom: MakeDicom) -> None:
    stored = np.arange(0, 64, dtype=np.uint16).reshape(8, 8)
    table = np.arange(64, dtype=np.uint16)[::-1] * 10
    image = read_bytes(dicom(stored, ModalityLUTSequence=lut([64, 0, 16], table), WindowCenter=320, WindowWidth=640))
    assert np.array_equal(image.pixels, table[stored])
    assert image.window == Window(center=320, width=640)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_outside_the_percentiles_and_black(dicom: MakeDicom, photometric: str) -> None:
    pixels = np.random.default_rng(0).integers(1000, 1100, (64, 64)).astype(np.int16)
    pixels[:16] = -2000
    image = read_bytes(dicom(pixels, PixelPaddingValue=-2000, PhotometricInterpretation=photometric))
    shown = image.display()
    assert image.window is not None
    assert image.window.width < 110
    assert (shown[:16] == 0).all()
    assert shown[16:].max() == 255


def test_a_window_of_the_file_shows_padding_as_any_value(dicom: MakeDicom, ramp: np.ndarray) -> None:
    image = read_bytes(dicom(ramp, PixelPaddingValue=0, WindowCenter=0, WindowWidth=2048))
    assert np.array_equal(image.pixels, ramp)
    assert image.window == Window(center=0, width=2048)


def test_padding_range(dicom: MakeDicom) -> None:
    pixels = np.full((16, 16), 500, np.uint16)
    pixels[0], pixels[1], pixels[2], pixels[3] = 0, 3, 7, 900
    image = read_bytes(dicom(pixels, PixelPaddingValue=0, PixelPaddingRangeLimit=7))
    assert int(image.pixels.min()) == 500


def test_overlay_in_unused_bits_is_masked(dicom: MakeDicom) -> None:
    clean = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16)
    drawn = clean.copy()
    drawn[8:16, 8:16] |= 0x8000
    overlay = {"x60000010": 32, "x60000011": 32, "x60000100": 16, "x60000102": 15}
    data = dicom(drawn, BitsStored=12, HighBit=11, **overlay)
    assert np.array_equal(read_bytes(data).pixels, clean)


def test_too_small_bits_stored_keeps_the_picture(dicom: MakeDicom) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.int16) * 16 + 128  # 128 to 2144, as seen in the wild
    image = read_bytes(dicom(smooth, BitsStored=12, HighBit=11))
    assert np.array_equal(image.pixels, smooth)
    assert codes(image) == {"BITS_INCONSISTENT"}


def test_negative_samples_without_sign_extension(dicom: MakeDicom) -> None:
    signed = (np.add.outer(np.arange(32), np.arange(32)) - 31).astype(np.int16)
    data = dicom(signed & 0x0FFF, BitsStored=12, HighBit=11)
    assert np.array_equal(read_bytes(data).pixels, signed)


def test_high_bit_that_does_not_fit_is_flagged(dicom: MakeDicom) -> None:
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    assert codes(read_bytes(dicom(pixels, BitsStored=12, HighBit=13))) == {"HIGH_BIT_INCONSISTENT"}


def test_samples_below_a_high_bit_are_moved_down(dicom: MakeDicom) -> None:
    for values in (np.arange(4096, dtype=np.uint16), np.arange(-2048, 2048, dtype=np.int16)):
        pixels = values.reshape(64, 64)
        image = read_bytes(dicom(pixels << 4, BitsStored=12, HighBit=15))
        assert np.array_equal(image.pixels, pixels)
        assert "HIGH_BIT_INCONSISTENT" in codes(image)


def test_a_codestream_that_is_signed_is_believed(dicom: MakeDicom, ramp: np.ndarray) -> None:
    dataset = dcmread(io.BytesIO(dicom(ramp)))
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    for representation in (1, 0):
        dataset.PixelRepresentation = representation
        dataset.save_as(stream := io.BytesIO())
        image = read_bytes(stream.getvalue())
        assert np.array_equal(image.pixels, ramp)
        assert ("SIGN_SUSPECT" in codes(image)) == (representation == 0)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_voi_lut_of_negative_values(dicom: MakeDicom, syntax: str) -> None:
    """Stored values are unsigned, those that the table maps are not; implicit VR does not say so."""
    item = Dataset()
    item.add_new(0x00283002, "SS", [2048, -1024, 16])
    item.add_new(0x00283006, "OW", np.linspace(0, 65535, 2048).astype("<u2").tobytes())
    pixels = np.arange(2048, dtype=np.uint16).reshape(32, 64)
    elements = {"Modality": "CT", "RescaleSlope": "1", "RescaleIntercept": "-1024", "VOILUTSequence": Sequence([item])}
    shown = read_bytes(dicom(pixels, syntax=syntax, **elements)).display()
    assert np.abs(shown - pixels * (255 / 2047)).max() <= 1


def test_groups_of_the_frames_alone(dicom: MakeDicom, ramp: np.ndarray) -> None:
    groups = []
    for slope in (1, 2):
        group, values = Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = str(slope), "0", "HU"
        group.PixelValueTransformationSequence = Sequence([values])
        groups.append(group)
    data = dicom(
        np.stack([ramp, ramp]), NumberOfFrames="2", Modality="CT", PerFrameFunctionalGroupsSequence=Sequence(groups)
    )
    for frame, slope in enumerate((1, 2)):
        image = read_bytes(data, frame=frame)
        assert image.unit is PixelUnit.HU
        assert np.array_equal(image.pixels, ramp * slope)


def test_wrong_sign_of_a_ct_is_suspected(dicom: MakeDicom) -> None:
    pixels = np.arange(-2048, 2048, dtype=np.int16).reshape(64, 64).view(np.uint16)
    data = dicom(pixels, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    assert codes(read_bytes(data)) == {"SIGN_SUSPECT"}


def palette(bits: int, entries: np.ndarray) -> dict:
    found: dict = {"PhotometricInterpretation": "PALETTE COLOR"}
    for n, name in enumerate(["Red", "Green", "Blue"]):
        found[f"{name}PaletteColorLookupTableDescriptor"] = [len(entries), 0, bits]
        found[f"{name}PaletteColorLookupTableData"] = entries[:, n].astype("<u2" if bits == 16 else "u1").tobytes()
    return found


@pytest.mark.parametrize("bits", [8, 16])
def test_palette_becomes_rgb(dicom: MakeDicom, bits: int) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (256, 3))
    colours[0] = 255
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = read_bytes(dicom(index, **palette(bits, colours * 257 if bits == 16 else colours)))
    assert image.unit is PixelUnit.DISPLAY
    assert np.array_equal(image.display(), colours[index])


def test_palette_without_table(dicom: MakeDicom) -> None:
    with pytest.raises(Refused, match="PALETTE_MISSING") as caught:
        read_bytes(dicom(np.zeros((8, 8), np.uint8), PhotometricInterpretation="PALETTE COLOR"))
    assert caught.value.answer == "QUARANTINE"


def test_planar_configuration(dicom: MakeDicom) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    planes = np.ascontiguousarray(colours.transpose(2, 0, 1)).tobytes()
    image = read_bytes(dicom(colours, PlanarConfiguration=1, PixelData=planes))
    assert np.array_equal(image.display(), colours)


def test_rgb_of_sixteen_bits_is_scaled_by_its_bits(dicom: MakeDicom) -> None:
    colours = np.random.default_rng(0).integers(0, 4096, (8, 12, 3)).astype(np.uint16)
    shown = read_bytes(dicom(colours, BitsStored=12, HighBit=11)).display()
    assert np.array_equal(shown, np.round(colours / 4095 * 255))


def test_ybr_full(dicom: MakeDicom) -> None:
    ybr = np.array([[[255, 128, 128], [0, 128, 128], [76, 85, 255], [150, 44, 21]]] * 8, np.uint8)
    ybr = np.repeat(ybr, 2, axis=1)
    shown = read_bytes(dicom(ybr, PhotometricInterpretation="YBR_FULL")).display().astype(int)
    expected = [[255, 255, 255], [0, 0, 0], [254, 0, 0], [0, 255, 1]]
    assert np.abs(shown[0, ::2] - expected).max() <= 2


def test_frames(dicom: MakeDicom) -> None:
    frames = np.arange(5, dtype=np.uint16)[:, None, None] * 100 + np.arange(64, dtype=np.uint16).reshape(8, 8)
    data = dicom(frames, NumberOfFrames=5)
    middle = read_bytes(data)
    assert (middle.attributes["frame"], middle.attributes["num_frames"]) == (2, 5)
    assert codes(middle) == {"MULTI_FRAME"}
    assert np.array_equal(middle.pixels, frames[2])
    asked = read_bytes(data, frame=4)
    assert np.array_equal(asked.pixels, frames[4])
    assert not asked.flags
    with pytest.raises(UsageError, match="counted from 0"):
        read_bytes(data, frame=5)


def test_functional_groups_of_the_frame(dicom: MakeDicom) -> None:
    frames = np.arange(3 * 64, dtype=np.uint16).reshape(3, 8, 8)
    groups = []
    for n in range(3):
        group, values, voi = Dataset(), Dataset(), Dataset()
        values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 1, -100 * n, "HU"
        voi.WindowCenter, voi.WindowWidth = n, 100 + n
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = Sequence([values]), Sequence([voi])
        groups.append(group)
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 3
    shared.PixelMeasuresSequence = Sequence([measures])
    data = dicom(
        frames,
        NumberOfFrames=3,
        Modality="CT",
        SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )
    image = read_bytes(data, frame=2)
    assert image.unit is PixelUnit.HU
    assert np.array_equal(image.pixels, frames[2].astype(int) - 200)
    assert image.window == Window(center=2, width=102)
    assert image.attributes["spacing_row_mm"] == 0.5
    assert image.attributes["spacing_column_mm"] == 0.75
    assert image.attributes["slice_thickness_mm"] == 3.0


@pytest.mark.parametrize(
    ("elements", "is_flagged"),
    [
        ({}, True),
        ({"PhotometricInterpretation": "MONOCHROME1"}, False),
        ({"ViewPosition": "LL"}, False),
        ({"ViewPosition": None}, False),
        ({"BodyPartExamined": "HAND"}, False),
        ({"Modality": "MR"}, False),
    ],
)
def test_a_chest_film_stored_as_a_negative_is_flagged(dicom: MakeDicom, elements: dict, is_flagged: bool) -> None:
    """A chest as a drawing: dark air, grey body, dark lungs, bright spine; then its negative."""
    film = np.full((200, 180), 500, np.uint16)
    film[30:, 15:165] = 2500
    film[45:120, 32:68] = film[45:120, 112:148] = 1000
    film[40:, 80:100] = 3500
    chest = {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "WindowCenter": 2048}
    negative = dicom(4095 - film, WindowWidth=4096, **(chest | elements))
    assert ("POLARITY_SUSPECT" in codes(read_bytes(negative))) is is_flagged
    assert "POLARITY_SUSPECT" not in codes(read_bytes(dicom(film, WindowWidth=4096, **chest)))


def test_further_windows_are_kept_up_to_the_first_unusable_one(dicom: MakeDicom, ramp: np.ndarray) -> None:
    image = read_bytes(dicom(ramp, WindowCenter=[40, 500, 7, 9], WindowWidth=[400, 2000, 0, 10]))
    assert image.window == Window(center=40, width=400)
    assert image.other_windows == (Window(center=500, width=2000),)
    assert not image.flags
