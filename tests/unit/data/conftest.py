"""DICOM files made for one purpose: pixels in, bytes out, any element replaced."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

MakeDicom = Callable[..., bytes]


def make_dicom(pixels: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> bytes:
    """A file with pixels `[H, W]`, `[H, W, 3]` or, with NumberOfFrames, `[N, H, W]`; None leaves an element out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    samples = 3 if pixels.ndim == 3 and pixels.shape[-1] == 3 and "NumberOfFrames" not in elements else 1
    shape = pixels.shape[1:3] if "NumberOfFrames" in elements else pixels.shape[:2]
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": "1.2.3.4.5",
        "PatientID": "PID-SECRET",
        "PatientName": "Canary^Name",
        "Modality": "OT",
        "Rows": shape[0],
        "Columns": shape[1],
        "SamplesPerPixel": samples,
        "PhotometricInterpretation": "RGB" if samples == 3 else "MONOCHROME2",
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8,
        "HighBit": pixels.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2),
    }
    if samples == 3:
        values["PlanarConfiguration"] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in (values | elements).items():
            if keyword.startswith("x"):  # a repeating group: x60000102=12
                dataset.add_new(int(keyword[1:], 16), "US", value)
            elif value is not None:
                setattr(dataset, keyword, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
        options: dict[str, Any] = {"enforce_file_format": True}
        if not UID(syntax).is_transfer_syntax:  # pydicom writes what it does not know when it is told how
            dataset["PixelData"].is_undefined_length = True
            dataset.preamble = bytes(128)
            options = {"implicit_vr": False, "little_endian": True, "force_encoding": True}
        stream = io.BytesIO()
        dcmwrite(stream, dataset, **options)
    return stream.getvalue()


@pytest.fixture(scope="session")
def dicom() -> MakeDicom:
    return make_dicom


@pytest.fixture
def ramp() -> np.ndarray:
    """int16 `[32, 64]` from -1024 to 1023, every value once."""
    return np.arange(-1024, 1024, dtype=np.int16).reshape(32, 64)
