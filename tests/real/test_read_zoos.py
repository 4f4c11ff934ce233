"""The two zoos of conformance files, when the data packs are here: answers, lossless pixels, equal renderings."""

import csv
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from callosum.core.errors import Refused
from callosum.core.record import Image
from callosum.data.manifest import read_manifest
from callosum.data.readers import dicom_header, dicom_pixels, prescan, read_bytes
from callosum.data.slides import expand, read_tiles
from callosum.data.sources import Source

PICTURE = {"ACCEPT", "ACCEPT+FLAG"}
REFUSED = {"QUARANTINE", "REJECT"}
ANSWERS = {
    "image": PICTURE,
    "image_with_phi": PICTURE,
    "image_nonstandard_header": PICTURE,
    "image_or_unsupported": PICTURE,
    "duplicate_uid_conflict": PICTURE,  # only the archive knows the other one
    "not_medical": PICTURE,
    "medical_or_phantom": PICTURE,
    "not_dicom": PICTURE,  # a PNG under another name is a PNG
    "codec_dependent": {*PICTURE, "METADATA_ONLY"},
    "non_image": {"METADATA_ONLY"},
    "malformed": REFUSED,
    "truncated": {"REJECT"},
    "too_large": {"REJECT"},
    "volume": PICTURE,
}
DIFFERENT = {
    "fo-dicom/GH179A.dcm": "REJECT",  # elements longer than the file
    "fo-dicom/GH179B.dcm": "REJECT",
    "fo-dicom/GH626.dcm": "REJECT",
    "pydicom-data/emri_small_jpeg_2k_lossless_too_short.dcm": "QUARANTINE",  # cut before its pixels
    "pydicom/test_files/badVR.dcm": "QUARANTINE",  # has pixels, and a Number of Frames that is no number
}
LOSSY_12_BIT = {"pydicom/test_files/JPGExtended.dcm", "pylibjpeg-data/JPEGExtended/RG2_JPLY_fixed.dcm"}


def rows(root: Path, name: str) -> list[dict[str, str]]:
    with (root / name / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def sources(root: Path, name: str) -> dict[str, Source]:
    return {source.record_id: source for source in read_manifest(root / name / "manifest.csv")}


def result(source: Source) -> tuple[str, Image | Refused]:
    try:
        image = read_bytes(source.read_bytes())
    except Refused as refused:
        return str(refused.answer), refused
    assert image.display().dtype == np.uint8
    return ("ACCEPT+FLAG" if image.flags else "ACCEPT"), image


def slide_result(path: Path) -> tuple[str, list[Image] | Refused]:
    """Whole slides are opened by path and read in tiles."""
    try:
        plan = expand(path)
        images = [image for batch in plan.batches() for image in read_tiles(path, batch)]
    except Refused as refused:
        return str(refused.answer), refused
    assert images
    return ("ACCEPT+FLAG" if plan.flags else "ACCEPT"), images


@pytest.mark.parametrize("name", ["dicom_zoo", "image_zoo"])
def test_answers(data_root: Path, tmp_path: Path, name: str) -> None:
    found = sources(data_root, name)
    surprises = {}
    for row in rows(data_root, name):
        if row.get("kind") == "wsi":
            (tmp_path / "slide").write_bytes(found[row["id"]].read_bytes())
            answer, _ = slide_result(tmp_path / "slide")
        else:
            answer, _ = result(found[row["id"]])
        different = DIFFERENT.get(row["id"])
        allowed = {different} if different else ANSWERS.get(row["expected"])
        if allowed and answer not in allowed:
            surprises[row["id"]] = (row["expected"], answer)
    assert not surprises


def frames(data: bytes) -> Iterator[np.ndarray]:
    layout = prescan.lay_out(data)
    dataset = pydicom.dcmread(io.BytesIO(layout.data), force=not layout.has_meta)
    numbers = {keyword: dicom_header.as_int(dataset, keyword) for keyword in dicom_header.PIXEL_NUMBERS}
    photometric = dicom_header.as_text(dataset, "PhotometricInterpretation")
    pixels = dicom_pixels.pixel_layout(dataset, numbers, photometric)
    for index in range(pixels.num_frames):
        yield dicom_pixels.decode_frame(dataset, pixels, index)[0]


@pytest.mark.filterwarnings("ignore")
def test_decoded_samples_are_those_of_the_reference(data_root: Path) -> None:
    found = sources(data_root, "dicom_zoo")
    num_equal, different = 0, set()
    for row in rows(data_root, "dicom_zoo"):
        if not row["pixel_sha256"] or not row["transfer_syntax"]:
            continue
        stack = np.stack(list(frames(found[row["id"]].read_bytes())))
        stored = np.ascontiguousarray((stack if len(stack) > 1 else stack[0]).astype(row["dtype"]))
        if hashlib.sha256(stored.tobytes()).hexdigest() == row["pixel_sha256"]:
            num_equal += 1
        else:
            different.add(row["id"])
    assert different <= LOSSY_12_BIT  # two inverse cosine transforms differ by one
    assert num_equal >= 180


def test_render_groups_look_alike(data_root: Path) -> None:
    found = sources(data_root, "dicom_zoo")
    group = [row for row in rows(data_root, "dicom_zoo") if row["render_group"] == "render-d0"]
    pictures = {row["id"]: read_bytes(found[row["id"]].read_bytes(), frame=0).display() for row in group}
    reference = pictures["authored/d0_mono2_12bit"].astype(int)
    for row in group:
        shown = pictures[row["id"]]
        difference = np.abs((shown if shown.ndim == 2 else shown[..., 0]) - reference)
        assert difference.max() <= float(row["render_tolerance"]), row["id"]


def test_no_identity_leaves_the_header(data_root: Path) -> None:
    """Names, ids, dates and free text of the authored headers are in `identifiers` only."""
    with tarfile.open(data_root / "dicom_zoo" / "dicom.tar.gz") as archive:
        member = archive.extractfile("authored/d0_phi_full_header")
        assert member is not None
        data = member.read()
    header = pydicom.dcmread(io.BytesIO(data))
    image = read_bytes(data)
    told = f"{dict(image.attributes)} {image.flags} {image.render_recipe} {image!r}".lower()
    texts = [str(e.value) for e in header.iterall() if e.VR in ("PN", "LO", "SH", "DA", "UI", "LT", "ST", "UT")]
    standard = [text for text in texts if text.startswith("1.2.840.10008.")]
    secrets = {text.lower() for text in texts if len(text) >= 6} - set(standard)
    assert len(secrets) > 10
    assert not {secret for secret in secrets if secret in told}
