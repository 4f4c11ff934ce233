"""The flag for films that are stored as negatives: false alarms and hits on public chest films."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from callosum.data.readers.dicom_polarity import THRESHOLD, polarity


@pytest.mark.parametrize(("name", "hits"), [("cxr_nih14", 0.97), ("cxr_pediatric", 0.98)])
def test_negatives_are_told_from_films(data_root: Path, name: str, hits: float) -> None:
    with (data_root / name / "manifest.csv").open(newline="") as stream:
        members = {row["path"].split(":")[-1] for row in csv.DictReader(stream)}
    found = []
    with tarfile.open(data_root / name / "images.tar") as archive:
        for n, member in enumerate(archive):
            if member.name in members and n % 4 == 0:
                stream = archive.extractfile(member)
                assert stream is not None
                picture = Pil.open(io.BytesIO(stream.read())).convert("L").resize((128, 128))
                shown = np.asarray(picture)
                found.append((polarity(shown) < THRESHOLD, polarity(255 - shown) < THRESHOLD))
    false_alarms, hit = np.mean(found, axis=0)
    assert len(found) >= 150
    assert false_alarms <= 0.005
    assert hit >= hits
