"""RSNA Pneumonia Detection Challenge 2018: NIH chest films with boxes around lung opacities.

`stage_2_train_labels.csv` has one row for each box, and one row without a box for an image that has none: the rows of
an image are gathered into one example. Its `patientId` names an image, not a patient.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from callosum.core.finding import Presence
from callosum.core.record import Attribute
from callosum.data.datasets.dataset import TEST, TRAIN, Box, Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.tables import stream_csv
from callosum.data.sources import Source

OPACITY, NORMAL = "Lung Opacity", "Normal"

CARD = Card(
    name="rsna-pneumonia",
    title="RSNA Pneumonia Detection Challenge (2018)",
    summary="Frontal chest films of the NIH with boxes that radiologists drew around opacities suggesting pneumonia.",
    size="26,684 labelled and 3,000 unlabelled DICOM files of 1024 x 1024 pixels (about 4 GB)",
    licence="Terms of the challenge; the NIH puts no restriction on its images",
    access="Kaggle account, and consent to the rules of the competition; also from the RSNA",
    layout="stage_2_train_labels.csv, stage_2_train_images/IMAGE.dcm; stage_2_detailed_class_info.csv and "
    "stage_2_test_images/ are read when they are there, and so is pneumonia-challenge-dataset-mappings_2018.json",
    labels="Target 1: 'Lung Opacity' positive, with one box a row; 0: negative. 'Normal' is positive for the detailed "
    "class Normal and negative for the other two; without that table it is unmentioned. Readers judged every image, "
    "so none is uncertain. Test images have no labels.",
    splits="train (labelled), test (unlabelled)",
    patients="patientId is the name of the image. With the mapping of the RSNA, patients are those of ChestX-ray14, "
    "of whom many have several images; without it, none are known",
    notes=(
        "All images are of NIH ChestX-ray14: a model trained on that has seen them.",
        "An opacity is not a pneumonia; 'No Lung Opacity / Not Normal' holds effusions, masses, large hearts and more.",
    ),
    citation="Shih et al., Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert "
    "Annotations of Possible Pneumonia, Radiology: Artificial Intelligence 1(1), 2019",
)

_LABELS, _CLASSES = "stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"
_MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
_PATIENT_DIGITS = 8


class RsnaPneumonia(Dataset):
    """See the card."""

    card = CARD
    concepts = (OPACITY, NORMAL)

    def _open(self) -> None:
        self._table = self._find(_LABELS)
        self._classes, self._mapping = self._look(_CLASSES), self._look(_MAPPING)

    def _rows(self) -> Iterator[Row]:
        classes = self._read_classes()
        nih = self._read_mapping()
        images: dict[str, list[Box]] = {}
        for row in stream_csv(self._table, needed=("patientId", "Target")):
            image, target = row["patientId"], row.get("Target", "")
            boxes = _boxes(row) if target == "1" else []
            if not image or target not in ("0", "1") or boxes is None:
                yield Skipped(name=image, lack=Lack.ROW_INVALID)
                continue
            images.setdefault(image, []).extend(boxes)
        for image, boxes in images.items():
            yield self._example(image, boxes, classes.get(image, ""), nih.get(image, ""))
        for path in sorted(self.root.glob("stage_2_test_images/*.dcm")):
            yield Example(source=_source(path, f"stage_2_test_images/{path.name}", TEST, nih.get(path.stem, ""), {}))

    def _example(self, image: str, boxes: list[Box], detail: str, nih: str) -> Row:
        name = f"stage_2_train_images/{image}.dcm"
        location = inside(self.root, name)
        if location is None:
            return Skipped(name=image, lack=Lack.ROW_INVALID)
        normal = Presence.UNMENTIONED
        if detail:
            normal = Presence.PRESENT if detail == NORMAL else Presence.ABSENT
        labels = {OPACITY: Presence.PRESENT if boxes else Presence.ABSENT, NORMAL: normal}
        attributes: dict[str, Attribute] = {"num_boxes": len(boxes)}
        if detail:
            attributes["detailed_class"] = detail
        source = _source(location, name, TRAIN, nih, attributes)
        return Example(source=source, labels=labels, boxes=tuple(boxes))

    def _read_classes(self) -> dict[str, str]:
        """Image to detailed class; its table repeats an image for each box."""
        if self._classes is None:
            return {}
        return {row["patientId"]: row.get("class", "") for row in stream_csv(self._classes, needed=("patientId",))}

    def _read_mapping(self) -> dict[str, str]:
        """Image to its name in ChestX-ray14, such as `00014177_021.png`."""
        if self._mapping is None:
            return {}
        try:
            entries = json.loads(self._mapping.read_bytes())
            return {str(each["subset_img_id"]): str(each["img_id"]) for each in entries}
        except (OSError, ValueError, TypeError, KeyError):  # without it, images stay without patient
            return {}


def _boxes(row: dict[str, str]) -> list[Box] | None:
    try:
        x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return None
    return [Box(x_px=x, y_px=y, width_px=width, height_px=height)]


def _source(location: Path, name: str, split: str, nih: str, attributes: dict[str, Attribute]) -> Source:
    return Source(
        name=name,
        location=location,
        record_id=location.stem,
        patient_id=nih[:_PATIENT_DIGITS],
        study_id=nih.split(".")[0],
        body_part="CHEST",
        split=split,
        attributes=attributes,
    )
