"""NIH ChestX-ray14: frontal chest films with fourteen findings mined from reports that were never published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from callosum.core.errors import InputError
from callosum.core.finding import Presence
from callosum.core.record import Attribute
from callosum.data.datasets.dataset import TEST, TRAIN, Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.tables import stream_csv, stream_lines
from callosum.data.sources import Source

NO_FINDING = "No Finding"
FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)

CARD = Card(
    name="nih-chestxray14",
    title="NIH ChestX-ray14",
    summary="Frontal chest films with 14 findings mined from the reports, which were not published.",
    size="112,120 PNG of 1024 x 1024 pixels of 30,805 patients (about 42 GB)",
    licence="No restriction on use; the NIH Clinical Center asks to be acknowledged and cited",
    access="Open download from the NIH Clinical Center; also on Kaggle",
    layout="Data_Entry_2017.csv or Data_Entry_2017_v2020.csv; images in images/, images_001/ ... images_012/, each "
    "with or without an inner images/, or in ROOT; train_val_list.txt and test_list.txt are read when they are there",
    labels="A finding that is listed is positive. One that is not listed is unmentioned: the table does not tell what "
    "was denied from what was not spoken of. 'No Finding' is positive where it stands, else negative.",
    splits="train (train_val_list.txt, which holds training and validation) and test; by patient",
    patients="Patient ID. 'Follow-up #' counts the images of a patient; studies are not published, so each image is "
    "one study",
    notes=(
        "Labels were mined from text: its authors estimate a precision above 90 %; others found less.",
        "'Pneumothorax' films often show the drain that treats it.",
        "RSNA Pneumonia and SIIM-ACR are made of its images: they are no independent test.",
        "Ages above 100 occur, and are typing errors: they are given as they are written.",
    ),
    citation="Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised "
    "Classification and Localization of Common Thorax Diseases, CVPR 2017, arXiv:1705.02315",
)

_TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_LISTS = ((TRAIN, "train_val_list.txt"), (TEST, "test_list.txt"))


class NihChestXray14(Dataset):
    """See the card."""

    card = CARD
    concepts = (*FINDINGS, NO_FINDING)

    def _open(self) -> None:
        self._table = self._find(*_TABLES)
        parts = [*sorted(self.root.glob("images_[0-9][0-9][0-9]")), self.root / "images", self.root]
        self._folders = [folder for part in parts for folder in (part / "images", part) if folder.is_dir()]

    def _rows(self) -> Iterator[Row]:
        splits = self._read_lists()
        folder_of = {path.name: at for at, path in self._images()}
        for row in stream_csv(self._table, needed=("Image Index", "Finding Labels", "Patient ID")):
            yield self._row(row, splits, folder_of)

    def _images(self) -> Iterator[tuple[int, Path]]:
        """Every PNG with the number of its folder: asking twelve folders for each image would be slower."""
        for at, folder in enumerate(self._folders):
            yield from ((at, path) for path in folder.glob("*.png"))

    def _read_lists(self) -> dict[str, str]:
        splits: dict[str, str] = {}
        for split, name in _LISTS:
            path = self._look(name)
            for line in stream_lines(path) if path is not None else ():
                if splits.setdefault(line.strip(), split) != split:
                    message = "train_val_list.txt and test_list.txt name the same image."
                    raise InputError(message, hint="Get the two lists again.")
        return splits

    def _row(self, row: Mapping[str, str], splits: Mapping[str, str], folder_of: Mapping[str, int]) -> Row:
        name, patient = row["Image Index"], row.get("Patient ID", "")
        labels = _labels(row.get("Finding Labels", ""))
        location = inside(self._folders[folder_of.get(name, -1)], name)
        if labels is None or location is None or not patient:
            return Skipped(name=name, lack=Lack.ROW_INVALID)
        attributes: dict[str, Attribute] = {
            "view": "frontal",
            "projection": row.get("View Position", ""),
            "sex": row.get("Patient Gender", row.get("Patient Sex", "")),
        }
        for column, key in (("Patient Age", "age"), ("Follow-up #", "follow_up")):
            digits = row.get(column, "").removesuffix("Y")  # the first releases wrote 058Y
            if digits.isdecimal():
                attributes[key] = int(digits)
        source = Source(
            name=name,
            location=location,
            patient_id=patient,
            study_id=name.removesuffix(".png"),
            modality="X-ray",
            body_part="CHEST",
            split=splits.get(name, ""),
            attributes={key: value for key, value in attributes.items() if value != ""},
        )
        return Example(source=source, labels=labels)


def _labels(cell: str) -> dict[str, Presence] | None:
    found = [name.strip() for name in cell.split("|")]
    if not set(found) <= {*FINDINGS, NO_FINDING}:
        return None
    labels = {name: Presence.PRESENT if name in found else Presence.UNMENTIONED for name in FINDINGS}
    return labels | {NO_FINDING: Presence.PRESENT if NO_FINDING in found else Presence.ABSENT}
