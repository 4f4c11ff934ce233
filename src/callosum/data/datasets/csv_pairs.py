"""Pairs in a table of your own: a column that says where the image is, and one that says what is on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from callosum.core.errors import InputError
from callosum.data.datasets.dataset import Card, Dataset, Example, Lack, Row, Skipped
from callosum.data.datasets.tables import read_header, stream_csv
from callosum.data.sources import Source

CARD = Card(
    name="csv-pairs",
    title="CSV of image-text pairs",
    summary="A table with a column of image files and one of texts.",
    size="any",
    licence="Yours",
    access="Your own",
    layout="ROOT is a .csv or .tsv file, or a folder with exactly one. The image column is one of path, image, "
    "image_path, img_path, filepath, file, filename; the text column one of text, caption, report, title, "
    "description. Images are relative to the table; cells are separated by commas, or by tabs when the header has some",
    labels="None: every other column becomes an attribute.",
    splits="the column split, when there is one",
    patients="the columns patient_id (or patient, subject_id) and study_id (or study), when they are there",
    notes=("A callosum manifest, with members of archives and typed columns, is read as 'manifest'.",),
)

_TABLES = (".csv", ".tsv", ".tab")
_COLUMNS = {
    "image": ("path", "image", "image_path", "img_path", "filepath", "file", "filename"),
    "text": ("text", "caption", "report", "title", "description"),
    "patient_id": ("patient_id", "patient", "subject_id"),
    "study_id": ("study_id", "study"),
    "record_id": ("id",),
    "modality": ("modality",),
    "body_part": ("body_part",),
    "split": ("split",),
}


class CsvPairs(Dataset):
    """See the card."""

    card = CARD

    def _open(self) -> None:
        found = [self.root] if self.root.is_file() else [p for p in self.root.iterdir() if p.suffix.lower() in _TABLES]
        if len(found) != 1:
            message = f"{CARD.title}: expected one .csv or .tsv file in ROOT, and found {len(found)}."
            raise InputError(message, hint="Name the file itself as ROOT.")
        self._table = found[0]
        self._delimiter = "\t" if any("\t" in name for name in read_header(self._table)) else ","
        header = read_header(self._table, delimiter=self._delimiter)
        lower = {name.lower(): name for name in reversed(header)}
        taken = {field: next((lower[n] for n in names if n in lower), "") for field, names in _COLUMNS.items()}
        for field in ("image", "text"):
            if not taken[field]:
                message = f"{CARD.title}: the table has no column for the {field}."
                raise InputError(message, hint=f"It is called one of: {', '.join(_COLUMNS[field])}.")
        self._taken = taken

    def _rows(self) -> Iterator[Row]:
        for number, row in enumerate(stream_csv(self._table, delimiter=self._delimiter), start=1):
            yield self._row(row, number)

    def _row(self, row: Mapping[str, str], number: int) -> Row:
        known = {field: row.get(name, "").strip() for field, name in self._taken.items() if name}
        image = known.pop("image")
        if not image or "\0" in image:
            return Skipped(name=f"row {number}", lack=Lack.ROW_INVALID)
        place = self._table.parent / image  # the user's own table: an absolute path, or one that leads up, is meant
        extra = {k: v for k, v in row.items() if k not in self._taken.values() and k and v}
        return Example(
            source=Source(
                name=image,
                location=place,
                record_id=known.get("record_id", ""),
                text=known.get("text", ""),
                patient_id=known.get("patient_id", ""),
                study_id=known.get("study_id", ""),
                modality=known.get("modality", ""),
                body_part=known.get("body_part", ""),
                split=known.get("split", ""),
                attributes=extra,
            )
        )
