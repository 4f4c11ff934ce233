"""CheXpert: chest radiographs of Stanford Hospital with labels mined from their reports.

`train.csv` and `valid.csv` name each image below a folder that is called like the release (`CheXpert-v1.0-small/...`
or `CheXpert-v1.0/...`), wherever the dataset really lies; patient and study are parts of that path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from callosum.core.record import Attribute
from callosum.data.datasets.chexpert_labels import OBSERVATIONS, observations
from callosum.data.datasets.dataset import TEST, TRAIN, VALIDATION, Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.tables import stream_csv
from callosum.data.sources import Source

CARD = Card(
    name="chexpert",
    title="CheXpert",
    summary="Frontal and lateral chest radiographs with 14 observations mined from the reports.",
    size="224,316 images of 65,240 patients; 223,414 in train.csv, 234 in valid.csv (11 GB small, 439 GB original)",
    licence="Stanford University Dataset Research Use Agreement: research only, no redistribution",
    access="Registration at the Stanford AIMI shared datasets portal",
    layout="train.csv and valid.csv (or one of them) beside train/ and valid/, in ROOT or in ROOT/CheXpert-v1.0-small, "
    "ROOT/CheXpert-v1.0 or the four folders 'CheXpert-v1.0 batch N (...)' of the original; test.csv or "
    "test_labels.csv is read when it is there",
    labels="1 positive, 0 negative, -1 uncertain, empty unmentioned. The training labels come from a labeller that "
    "read the reports; those of valid.csv are the majority of three radiologists who saw the images, and know "
    "neither uncertain nor unmentioned.",
    splits="train, validation (valid.csv), test (when its table is there)",
    patients="patientNNNNN in the path",
    notes=(
        "The reports are not part of CheXpert; CheXpert Plus, which has them, is another release and is not read.",
        "One patient has the sex 'Unknown', and an age of 0 occurs: both are given as they are written.",
        "'Lung Opacity' includes oedema, consolidation, pneumonia, lesion and atelectasis: labels are not exclusive.",
    ),
    citation="Irvin et al., CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert Comparison, "
    "AAAI 2019, arXiv:1901.07031",
)

_FOLDERS = ("", "CheXpert-v1.0-small", "CheXpert-v1.0", "CheXpert-v1.0 batch 1 (validate & csv)")
_TABLES = ((TRAIN, ("train.csv",)), (VALIDATION, ("valid.csv",)), (TEST, ("test.csv", "test_labels.csv")))
_RELEASE = re.compile(r"^CheXpert-v1\.0[^/]*/")
_PLACE = re.compile(r"(?P<patient>patient\d+)/(?P<study>study\d+)/[^/]+$")


class CheXpert(Dataset):
    """See the card."""

    card = CARD
    concepts = OBSERVATIONS

    def _open(self) -> None:
        found = [(split, self._look(*names, folders=_FOLDERS)) for split, names in _TABLES]
        self._tables = [(split, table) for split, table in found if table is not None]
        if not self._tables:
            self._find("train.csv", "valid.csv")
        self._batches = sorted(path for path in self.root.glob("CheXpert-v1.0 batch *") if path.is_dir())

    def _rows(self) -> Iterator[Row]:
        for split, table in self._tables:
            for row in stream_csv(table, needed=("Path",)):
                yield self._row(row, split, table.parent)

    def _row(self, row: Mapping[str, str], split: str, folder: Path) -> Row:
        name = _RELEASE.sub("", row.get("Path", "").strip())
        labels, place = observations(row), _PLACE.search(name)
        location = self._locate(folder, name)
        if labels is None or place is None or location is None:
            return Skipped(name=name, lack=Lack.ROW_INVALID)
        attributes: dict[str, Attribute] = {
            "view": row.get("Frontal/Lateral", "").lower(),
            "projection": row.get("AP/PA", ""),
            "sex": row.get("Sex", ""),
        }
        if row.get("Age", "").isdecimal():
            attributes["age"] = int(row["Age"])
        source = Source(
            name=name,
            location=location,
            patient_id=place["patient"],
            study_id=f"{place['patient']}/{place['study']}",
            modality="X-ray",
            body_part="CHEST",
            split=split,
            attributes={key: value for key, value in attributes.items() if value != ""},
        )
        return Example(source=source, labels=labels)

    def _locate(self, folder: Path, name: str) -> Path | None:
        """The file; of the original release, whose batches hold the patients of train/ at their top, where it is."""
        place = inside(folder, name)
        if place is None or not self._batches or place.is_file():
            return place
        short = name.split("/", 1)[-1]
        spread = (batch / part for batch in self._batches for part in (short, name))
        return next((path for path in spread if path.is_file()), place)
