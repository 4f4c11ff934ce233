"""Slides made on the spot: pyramids in TIFF with tissue, glass, a label and damage, and DICOM slides."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from callosum.data.slides import close_all
from tests.unit.data.slides.made import LABEL, MakeSlide, reduced

SM_IMAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def make_tiff(tmp_path: Path) -> MakeSlide:
    """Write a tiled pyramid: `mpp` as a resolution tag, or in Aperio's words with `aperio`, which adds a label."""

    def make(
        pixels: np.ndarray,
        *,
        factors: tuple[int, ...] = (1, 4),
        mpp: float | None = 0.5,
        aperio: bool = False,
        compression: str | None = None,
        sub_ifds: bool = False,
        name: str = "slide.tiff",
    ) -> Path:
        path = tmp_path / name
        options: dict = {"photometric": "rgb", "tile": (256, 256), "compression": compression, "metadata": None}
        if mpp and not aperio:
            options |= {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": 3}
        height, width = pixels.shape[:2]
        words = f"Aperio Image Library v11\r\n{width}x{height} (256x256) J2K Q=70" + (f"|MPP = {mpp}" if mpp else "")
        with tifffile.TiffWriter(path) as writer:
            for factor in factors:
                level = pixels if factor == 1 else reduced(pixels, factor)
                kind = {"subfiletype": 0 if aperio or factor == 1 else 1}
                if factor == 1:
                    kind["subifds"] = len(factors) - 1 if sub_ifds else 0
                writer.write(level, **options, **kind, description=words if aperio else None)
                if aperio and factor == 1:  # Aperio's second page
                    writer.write(reduced(pixels, 8), photometric="rgb", description=words, metadata=None)
            if aperio:
                label = np.full((200, 180, 3), LABEL, np.uint8)
                text = "Aperio Image Library v11\r\nlabel 180x200"
                writer.write(label, photometric="rgb", subfiletype=1, description=text, metadata=None)
                text = "Aperio Image Library v11\r\nmacro 180x200"
                writer.write(label, photometric="rgb", subfiletype=9, description=text, metadata=None)
        return path

    return make


@pytest.fixture
def make_dicom(tmp_path: Path) -> MakeSlide:
    """Write one instance of a slide: tiles of 64 pixels, native RGB, `flavour` as Image Type value 3."""
    series, study, frame_of_reference = (generate_uid(entropy_srcs=[word]) for word in ("series", "study", "frame"))

    def make(
        pixels: np.ndarray, *, flavour: str = "VOLUME", reduced_by: int = 1, sparse: bool = False, name: str = "0.dcm"
    ) -> Path:
        side = 64
        height, width = pixels.shape[:2]
        down, across = -(-height // side), -(-width // side)
        padded = np.pad(pixels, ((0, down * side - height), (0, across * side - width), (0, 0)))
        tiles = padded.reshape(down, side, across, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        order = np.arange(len(tiles))[::-1] if sparse else np.arange(len(tiles))
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = UID(SM_IMAGE)
        meta.MediaStorageSOPInstanceUID = generate_uid()
        path = tmp_path / name
        header = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
        header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        header.StudyInstanceUID, header.SeriesInstanceUID, header.FrameOfReferenceUID = (
            study,
            series,
            frame_of_reference,
        )
        header.PatientID, header.AccessionNumber, header.Modality = "P-17", "A-4", "SM"
        header.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE" if reduced_by == 1 else "RESAMPLED"]
        header.Rows = header.Columns = side
        header.TotalPixelMatrixRows, header.TotalPixelMatrixColumns = height, width
        header.ImagedVolumeWidth, header.ImagedVolumeHeight = width * reduced_by / 2000, height * reduced_by / 2000
        header.NumberOfFrames, header.SamplesPerPixel, header.PlanarConfiguration = len(tiles), 3, 0
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
        header.PhotometricInterpretation = "RGB"
        header.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
        header.NumberOfOpticalPaths, header.TotalPixelMatrixFocalPlanes = 1, 1
        measures, shared = Dataset(), Dataset()
        measures.PixelSpacing = [0.0005 * reduced_by] * 2
        shared.PixelMeasuresSequence = [measures]
        header.SharedFunctionalGroupsSequence = [shared]
        if sparse:
            header.PerFrameFunctionalGroupsSequence = [_place(*divmod(int(n), across), side) for n in order]
        header.PixelData = tiles[order].tobytes()
        header.save_as(path, enforce_file_format=True)
        return path

    return make


def _place(row: int, column: int, side: int) -> Dataset:
    place, frame = Dataset(), Dataset()
    place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix = (
        column * side + 1,
        row * side + 1,
    )
    place.XOffsetInSlideCoordinateSystem = place.YOffsetInSlideCoordinateSystem = "0"
    frame.PlanePositionSlideSequence = [place]
    return frame
