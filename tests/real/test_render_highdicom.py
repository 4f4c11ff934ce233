"""Our pictures against highdicom's, wherever it can read the file: physical values, windows, polarity and colours.

highdicom is asked not to apply real world values or an ICC profile, which we do not apply either. Where a file has a
window or a VOI LUT, whole pictures are compared, within a grey level; otherwise samples in physical units are.
"""

import io
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from callosum.core.errors import Refused
from callosum.core.record import Image
from callosum.core.windowing import resolve_windowing
from callosum.data.manifest import read_manifest
from callosum.data.readers.dicom import read_images

highdicom = pytest.importorskip("highdicom", reason="the oracle is not here: pip install highdicom")

EXPLAINED = {
    "d0_rescale_slope_zero": "a slope of 0 makes a flat picture; we ignore it and say so (SLOPE_ZERO)",
    "mlut_18.dcm": "highdicom 0.28 takes the signed first mapped value of a modality LUT for an unsigned one",
}
PLAIN = {"apply_real_world_transform": False, "apply_icc_profile": False, "dtype": np.float64}
NUM_FRAMES = 2

pytestmark = pytest.mark.filterwarnings("ignore")


def shown_by_highdicom(frames: "highdicom.Image", image: Image, *, window: int = 0) -> np.ndarray:
    """The same frame as highdicom shows it, 0..255; it leaves palettes and colours in their own number of bits."""
    options = (
        {}
        if image.pixels.ndim == 3
        else {"apply_voi_transform": True, "voi_output_range": (0, 255), "voi_transform_selector": window}
    )
    shown = frames.get_frame(int(image.attributes["frame"]) + 1, **PLAIN, **options)
    if frames.PhotometricInterpretation == "PALETTE COLOR":
        return shown // 256 if shown.max() > 255 else shown
    return shown * (255 / ((1 << frames.BitsStored) - 1)) if image.pixels.ndim == 3 else shown


def difference(data: bytes, image: Image) -> float | None:
    """Largest difference from highdicom, in grey levels, or in units of the samples; None where it cannot read it."""
    try:
        frames = highdicom.imread(io.BytesIO(data))
        dataset = pydicom.dcmread(io.BytesIO(data))
        has_voi = any("WindowWidth" in each or "VOILUTSequence" in each for each in [dataset, *items(dataset)])
        if image.pixels.ndim == 3 or (has_voi and not {"WINDOW_INVALID", "NO_HU"} & {f.code for f in image.flags}):
            pairs = [(image.display(), shown_by_highdicom(frames, image))]
            for index in range(1, len(image.other_windows) + 1):
                shown = image.windowed(resolve_windowing(f"file:{index}")).display()
                pairs.append((shown, shown_by_highdicom(frames, image, window=index)))
        else:
            values = frames.get_frame(
                int(image.attributes["frame"]) + 1, apply_voi_transform=False, apply_presentation_lut=False, **PLAIN
            )
            pairs = [(image.pixels, np.where(is_padding(dataset, image), image.pixels, values))]
    except Exception:  # big endian, invalid headers, missing modules
        return None
    return max(float(np.abs(ours.astype(np.float64) - theirs).max()) for ours, theirs in pairs)


def items(dataset: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    for element in dataset.iterall():
        if element.VR == "SQ":
            yield from element.value


def is_padding(dataset: pydicom.Dataset, image: Image) -> np.ndarray:
    """Where padding is, which we replace where there is no window."""
    if "PixelPaddingValue" not in dataset:
        return np.zeros((), bool)
    stored = dataset.pixel_array
    stored = stored[int(image.attributes["frame"])] if image.attributes["num_frames"] > 1 else stored
    return stored == dataset.PixelPaddingValue


def judged(files: dict[str, bytes]) -> Counter[str]:
    """How many frames agree; the test fails when one differs and is not explained above."""
    logging.disable(logging.CRITICAL)
    counts: Counter[str] = Counter()
    surprises = {}
    try:
        for name, data in files.items():
            try:
                images = list(read_images(data, limit=NUM_FRAMES))
            except Refused:
                continue
            for image in images:
                found = difference(data, image)
                counts["not compared" if found is None else "compared"] += 1
                limit = 1.0 if image.pixels.dtype.kind in "iu" else 1e-3 * max(1.0, float(np.abs(image.pixels).max()))
                if found is not None and not found <= limit and Path(name).name not in EXPLAINED:
                    surprises[name] = found
    finally:
        logging.disable(logging.NOTSET)
    assert not surprises
    return counts


def test_files_of_pydicom(pydicom_files: Path) -> None:
    paths = [path for path in sorted(pydicom_files.rglob("*.dcm")) if path.is_file()]
    assert judged({path.name: path.read_bytes() for path in paths})["compared"] >= 55


def test_files_of_the_zoo(data_root: Path) -> None:
    found = {source.record_id: source for source in read_manifest(data_root / "dicom_zoo" / "manifest.csv")}
    files = {name: source.read_bytes() for name, source in found.items() if not name.startswith("pydicom/")}
    counts = judged({name: data for name, data in files.items() if data[128:132] == b"DICM"})
    assert counts["compared"] >= 110
    assert counts["not compared"] <= 20, "big endian, masks and damaged headers are all that highdicom does not read"
