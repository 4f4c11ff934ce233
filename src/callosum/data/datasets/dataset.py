"""What every adapter is: a card, and examples that are read row by row from the published tables.

An `Example` is a `Source` with labels: whatever indexes files can read it. Rows that give none are `Skipped`, each
with its reason, so that a reader can count them; nothing that is missing stops a run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import ClassVar

from callosum.core.errors import InputError
from callosum.core.finding import Presence
from callosum.data.sources import Source

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What a dataset is, before anything of it is read.

    Attributes:
        name: As the command line and `open_dataset` know it.
        title: As its authors call it.
        summary: What it holds, in a sentence.
        size: How much of it.
        licence: Terms of use; they bind whoever uses the data, not this program.
        access: How to get it.
        layout: Files that are expected below ROOT.
        labels: What its labels mean, and how the four values come about.
        splits: What split is published.
        patients: What tells patients apart, and so what a split can keep together.
        notes: Traps.
        citation: How to cite it.
    """

    name: str
    title: str
    summary: str
    size: str
    licence: str
    access: str
    layout: str
    labels: str
    splits: str
    patients: str
    notes: tuple[str, ...] = ()
    citation: str = ""


class Lack(StrEnum):
    """Why a row of a table gives no example."""

    MISSING_IMAGE = "MISSING_IMAGE"
    DUPLICATE_ROW = "DUPLICATE_ROW"
    ROW_INVALID = "ROW_INVALID"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _LACKS[self]


_LACKS = {
    Lack.MISSING_IMAGE: "The table names an image file that is not there.",
    Lack.DUPLICATE_ROW: "An earlier row names the same image; the first one counts.",
    Lack.ROW_INVALID: "The row cannot be read: a cell that is needed is empty, or holds what the format does not have.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle on the picture as it was published, in its pixels."""

    x_px: float
    y_px: float
    width_px: float
    height_px: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One picture of a dataset with what is said of it.

    Attributes:
        source: Where the picture is; its `name` is unique in the dataset, and its `text` is what is to be searched:
            the caption, or findings and impression of the report.
        labels: Concept to presence. A concept of the dataset that is not a key was not looked at for this picture.
        report: The report as it was published, before anything was taken out of it.
        boxes: Where it is, for datasets that tell.
    """

    source: Source
    labels: Mapping[str, Presence] = field(default_factory=dict)
    report: str = field(default="", repr=False)
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A row that gives no example; `name` is for the caller's eyes only."""

    name: str
    lack: Lack


Row = Example | Skipped


class Dataset(ABC):
    """A dataset on the disk. Iterating gives its examples in the order of its tables, each time from the beginning.

    Attributes:
        card: What it is.
        concepts: The concepts of its labels; empty when their vocabulary is open.
        root: Where it lies.
    """

    card: ClassVar[Card]
    concepts: tuple[str, ...] = ()

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.exists():
            message = "ROOT does not exist."
            raise InputError(message, hint="Check its spelling, and that its disk is mounted.")
        self._open()

    def __iter__(self) -> Iterator[Example]:
        """The examples alone."""
        return (row for row in self.rows() if isinstance(row, Example))

    def rows(self) -> Iterator[Row]:
        """Every row of the tables: an example, or why it gives none.

        Raises:
            InputError: a table cannot be read to its end.
        """
        seen: set[int] = set()  # hashes, not names: a dataset has up to millions of rows
        for row in self._rows():
            if isinstance(row, Skipped):
                yield row
                continue
            key = hash((row.source.location, row.source.member))
            if key in seen:
                yield Skipped(name=row.source.name, lack=Lack.DUPLICATE_ROW)
            elif not row.source.member and not row.source.location.is_file():
                yield Skipped(name=row.source.name, lack=Lack.MISSING_IMAGE)
            else:
                seen.add(key)
                yield row

    @abstractmethod
    def _open(self) -> None:
        """Find the files of the layout.

        Raises:
            InputError: one is not there; the message names it.
        """

    @abstractmethod
    def _rows(self) -> Iterator[Row]:
        """What the tables say, whether or not the files are there."""

    def _find(self, *names: str, folders: tuple[str, ...] = ("",)) -> Path:
        """The first of `names` in the first of `folders` below ROOT that has one.

        Raises:
            InputError: none is there.
        """
        found = self._look(*names, folders=folders)
        if found is None:
            expected = " or ".join(f"'{name}'" for name in names)
            message = f"{self.card.title}: expected {expected} below ROOT, and did not find it."
            raise InputError(message, hint=f"The layout that is read: {self.card.layout}")
        return found

    def _look(self, *names: str, folders: tuple[str, ...] = ("",)) -> Path | None:
        """As `_find`, and None when none is there."""
        return next((at for f in folders for name in names if (at := self.root / f / name).exists()), None)


def inside(folder: Path, relative: str) -> Path | None:
    """A path that a table names below `folder`; None when it is empty or would lead out of it."""
    path = PurePosixPath(relative.strip().replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in relative:
        return None
    return folder / path
