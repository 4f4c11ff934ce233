"""MIMIC-CXR-JPG and MIMIC-CXR: chest radiographs of one emergency department, with their reports.

Three tables of MIMIC-CXR-JPG are joined: metadata (one row an image), split (one row an image) and labels (one row a
study). MIMIC-CXR, the DICOM release, has a list of records instead; labels and split are used when they lie beside it.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from callosum.core.errors import InputError
from callosum.core.finding import Presence
from callosum.core.record import Attribute
from callosum.data.datasets.chexpert_labels import OBSERVATIONS, observations
from callosum.data.datasets.dataset import VALIDATION, Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.mimic_reports import Reports
from callosum.data.sources import Source

_ACCESS = "Credentialed access on PhysioNet: training in human-subjects research and a signed data use agreement"
_LICENCE = "PhysioNet Credentialed Health Data License 1.5.0: no sharing, no attempt to identify anyone"
_REPORTS = "reports as mimic-cxr-reports.zip, mimic-cxr-reports/files/... or files/pNN/pSUBJECT/sSTUDY.txt"
_LABELS = (
    "1 positive, 0 negative, -1 uncertain, empty unmentioned: the CheXpert labeller on the report of the study, so all "
    "images of a study share them. A study that is not in the table has no labels at all."
)
_NOTES = (
    "The text to be searched is findings and impression of the report; indication and history are not findings.",
    "Reports are of the study: a lateral image carries words about the frontal one.",
    "MS-CXR and many question-answering sets are parts of it: an evaluation on them is not independent.",
)

CARD_JPG = Card(
    name="mimic-cxr-jpg",
    title="MIMIC-CXR-JPG",
    summary="MIMIC-CXR as JPEG, with labels, view and the official split; reports when they are put beside it.",
    size="377,110 images, 227,827 labelled studies, 65,379 patients",
    licence=_LICENCE,
    access=_ACCESS,
    layout="mimic-cxr-2.0.0-metadata.csv.gz, mimic-cxr-2.0.0-split.csv.gz and mimic-cxr-2.0.0-chexpert.csv.gz (or "
    f"-negbio; unpacked .csv too; split and labels may be absent), files/pNN/pSUBJECT/sSTUDY/DICOM_ID.jpg; {_REPORTS}",
    labels=_LABELS,
    splits="train, validation (published as 'validate'), test; by patient",
    patients="subject_id",
    notes=_NOTES,
    citation="Johnson et al., MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs, 2019, "
    "arXiv:1901.07042",
)

CARD_DICOM = Card(
    name="mimic-cxr",
    title="MIMIC-CXR",
    summary="Chest radiographs as DICOM with free-text reports, de-identified.",
    size="377,110 images, 227,835 studies, 65,379 patients",
    licence=_LICENCE,
    access=_ACCESS,
    layout=f"cxr-record-list.csv.gz, files/pNN/pSUBJECT/sSTUDY/DICOM_ID.dcm; {_REPORTS}; the metadata, split and label "
    "tables of MIMIC-CXR-JPG are used when they lie in ROOT",
    labels=_LABELS,
    splits="none of its own; that of MIMIC-CXR-JPG when its table lies in ROOT",
    patients="subject_id",
    notes=_NOTES,
    citation="Johnson et al., MIMIC-CXR, a de-identified publicly available database of chest radiographs with "
    "free-text reports, Scientific Data 6:317, 2019",
)

_METADATA_ONLY = ("ViewPosition", "Rows", "Columns", "StudyDate")
_KEYS = ("dicom_id", "subject_id", "study_id")
_BATCH_ROWS = 4096
_DATE_DIGITS = 8


class MimicCxrJpg(Dataset):
    """See the card."""

    card = CARD_JPG
    concepts = OBSERVATIONS
    suffix = ".jpg"

    def _open(self) -> None:
        self._records = self._table("metadata") or self._find("mimic-cxr-2.0.0-metadata.csv.gz")
        self._metadata: Path | None = None
        self._open_beside()

    def _open_beside(self) -> None:
        self._split = self._table("split")
        self._labels = self._table("chexpert") or self._table("negbio")
        self._reports = Reports(self.root)

    def _table(self, kind: str) -> Path | None:
        """A table of MIMIC-CXR-JPG, whatever its release."""
        return next(iter(sorted(self.root.glob(f"mimic-cxr-2.*-{kind}.csv*"))), None)

    def _rows(self) -> Iterator[Row]:
        records = _read(self._records, (*_KEYS, *_METADATA_ONLY, "path"), needed=_KEYS)
        if self._metadata is not None:
            records = _join(records, _read(self._metadata, ("dicom_id", *_METADATA_ONLY)), on="dicom_id")
        if self._split is not None:
            records = _join(records, _read(self._split, ("dicom_id", "split")), on="dicom_id")
        if self._labels is not None:
            labels = _read(self._labels, ("study_id", *OBSERVATIONS))
            records = _join(records, labels.append_column("is_labelled", _ones(len(labels))), on="study_id")
        with self._reports:
            for batch in records.to_batches(max_chunksize=_BATCH_ROWS):
                for row in batch.to_pylist():
                    yield self._row({name: value or "" for name, value in row.items()})

    def _row(self, row: Mapping[str, str]) -> Row:
        dicom_id, subject, study = keys = tuple(row[key].removesuffix(".0") for key in _KEYS)
        row = {**row, **dict(zip(_KEYS, keys, strict=True))}
        name = row.get("path") or f"files/p{subject[:2]}/p{subject}/s{study}/{dicom_id}{self.suffix}"
        location = inside(self.root, name)
        labels = observations(row) if row.get("is_labelled") else {}
        if location is None or labels is None or not (dicom_id and subject.isdecimal() and study.isdecimal()):
            return Skipped(name=name, lack=Lack.ROW_INVALID)
        report, text = self._reports.of(subject, study)
        return self._example(row, labels, Source(name=name, location=location, text=text), report=report)

    def _example(
        self, row: Mapping[str, str], labels: Mapping[str, Presence], place: Source, *, report: str
    ) -> Example:
        split = row.get("split", "")
        view = row.get("ViewPosition", "")
        source = Source(
            name=place.name,
            location=place.location,
            record_id=row["dicom_id"],
            text=place.text,
            patient_id=row["subject_id"],
            study_id=row["study_id"],
            modality="X-ray" if self.suffix == ".jpg" else "",  # a DICOM header says more
            body_part="CHEST",
            split=VALIDATION if split == "validate" else split,
            attributes=_view(view) | _year(row.get("StudyDate", "")),
        )
        return Example(source=source, labels=labels, report=report)


class MimicCxr(MimicCxrJpg):
    """See the card."""

    card = CARD_DICOM
    suffix = ".dcm"

    def _open(self) -> None:
        self._records = self._find("cxr-record-list.csv.gz", "cxr-record-list.csv")
        self._metadata = self._table("metadata")
        self._open_beside()


def _view(position: str) -> dict[str, Attribute]:
    """Frontal or lateral, as CheXpert says it, beside the position of the header."""
    sides = {"AP": "frontal", "PA": "frontal", "LATERAL": "lateral", "LL": "lateral"}
    found: dict[str, Attribute] = {"projection": position} if position else {}
    return found | ({"view": sides[position]} if position in sides else {})


def _year(date: str) -> dict[str, Attribute]:
    """The year of the study, which de-identification has moved by a century, consistently for each patient."""
    digits = date.removesuffix(".0")
    is_year = len(digits) == _DATE_DIGITS and digits.isdecimal() and int(digits[:4]) >= datetime.MINYEAR
    return {"shifted_year": int(digits[:4])} if is_year else {}


def _read(path: Path, columns: tuple[str, ...], *, needed: tuple[str, ...] = ()) -> pa.Table:
    """The columns of a table that are there, as text.

    Raises:
        InputError: it cannot be read, or has not the columns that are needed, by default the first.
    """
    options: dict[str, Any] = {
        "read_options": pa.csv.ReadOptions(use_threads=False),
        "parse_options": pa.csv.ParseOptions(newlines_in_values=True),
    }
    try:
        with pa.csv.open_csv(path, read_options=pa.csv.ReadOptions(use_threads=False)) as reader:
            names = reader.schema.names
        for name in needed or columns[:1]:
            if name not in names:
                message = f"'{path.name}' has no column '{name}'."
                raise InputError(message, hint="Is it the table as it was published?")
        kept = [name for name in columns if name in names]
        types = pa.csv.ConvertOptions(
            include_columns=kept, column_types=dict.fromkeys(kept, pa.string()), strings_can_be_null=False
        )
        return pa.csv.read_csv(path, convert_options=types, **options)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        message = f"'{path.name}' cannot be read as CSV."
        raise InputError(message, hint="It may be damaged or half downloaded; get it again.") from error


def _join(records: pa.Table, other: pa.Table, *, on: str) -> pa.Table:
    """`records` with the columns of `other`, in the order of `records`; what has no partner is null."""
    at = pc.index_in(records.column(on), value_set=other.column(on).combine_chunks())
    for name in other.column_names:
        if name not in records.column_names:
            records = records.append_column(name, other.column(name).take(at))
    return records


def _ones(length: int) -> pa.Array:
    return pa.array(["1"] * length, pa.string())
