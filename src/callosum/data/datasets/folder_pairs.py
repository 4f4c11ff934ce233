"""A folder of pairs: an image, and a text file of the same name beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from callosum.core.errors import InputError
from callosum.data.datasets.dataset import Card, Dataset, Example, Row
from callosum.data.sources import Source, iter_sources

CARD = Card(
    name="folder-pairs",
    title="Folder of image-text pairs",
    summary="Images with a .txt file of the same stem beside each.",
    size="any",
    licence="Yours",
    access="Your own",
    layout="any folders below ROOT; STEM.jpg (jpeg, png, tif, tiff, bmp, webp, gif, dcm) with STEM.txt in UTF-8. An "
    "image without a text is an example without one",
    labels="None.",
    splits="the first folder below ROOT when it is called train, val, valid, validation or test",
    patients="none",
)

_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".dcm"})
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_MAX_TEXT_BYTES = 1 << 20


class FolderPairs(Dataset):
    """See the card."""

    card = CARD

    def _open(self) -> None:
        if not self.root.is_dir():
            message = f"{CARD.title}: ROOT is not a folder."
            raise InputError(message, hint="A table of pairs is read as 'csv-pairs'.")

    def _rows(self) -> Iterator[Row]:
        for source in iter_sources([self.root]):
            path = source.location
            if path.suffix.lower() in _IMAGES:
                first = path.relative_to(self.root).parts[0].lower()
                text = _text(path.with_suffix(".txt"))
                yield Example(source=Source(name=source.name, location=path, text=text, split=_SPLITS.get(first, "")))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_TEXT_BYTES).decode("utf-8-sig", "replace").strip()
    except OSError:
        return ""
