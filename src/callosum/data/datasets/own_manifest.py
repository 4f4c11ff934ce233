"""A manifest as `callosum index --manifest` takes it, as a dataset: to check and to split what has no adapter."""

from __future__ import annotations

from collections.abc import Iterator

from callosum.core.errors import InputError
from callosum.core.finding import PRESENCE_WORDS, Presence
from callosum.data.datasets.dataset import Card, Dataset, Example, Row
from callosum.data.manifest import count_rows, read_manifest

CARD = Card(
    name="manifest",
    title="callosum manifest",
    summary="A CSV or Parquet table with a column path, as `callosum index --manifest` reads it.",
    size="any",
    licence="Yours",
    access="Your own, or written by `callosum dataset manifest`",
    layout="ROOT is the file, or a folder that holds manifest.csv or manifest.parquet",
    labels="A cell that reads positive, negative, uncertain or unmentioned is a label of the concept that its column "
    "is called after; every column that has no meaning of its own is an attribute.",
    splits="the column split",
    patients="the column patient_id",
)


class Manifest(Dataset):
    """See the card."""

    card = CARD

    def _open(self) -> None:
        self._table = self.root if self.root.is_file() else self._find("manifest.csv", "manifest.parquet")
        if not self._table.is_file():
            message = "ROOT is not a file."
            raise InputError(message)
        count_rows(self._table)

    def _rows(self) -> Iterator[Row]:
        for source in read_manifest(self._table):
            labels = {
                name: Presence(str(value)) for name, value in source.attributes.items() if value in PRESENCE_WORDS
            }
            yield Example(source=source, labels=labels)
