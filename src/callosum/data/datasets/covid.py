"""COVID-19 Radiography Database: chest films of four classes, gathered from several sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from callosum.core.finding import Presence
from callosum.core.record import Attribute
from callosum.data.datasets.dataset import Card, Dataset, Example, Row
from callosum.data.sources import Source

COVID, OPACITY, VIRAL, NORMAL = "COVID-19", "Lung Opacity", "Viral Pneumonia", "Normal"

CARD = Card(
    name="covid-radiography",
    title="COVID-19 Radiography Database",
    summary="Chest films in four folders: COVID-19, other lung opacity, viral pneumonia and normal, with lung masks.",
    size="21,165 PNG of 299 x 299 pixels: 3,616 COVID, 6,012 Lung_Opacity, 1,345 Viral Pneumonia, 10,192 Normal",
    licence="See its page; it is gathered from sources with terms of their own",
    access="Kaggle account",
    layout="COVID/, Lung_Opacity/, Normal/ and Viral Pneumonia/ (at least one of them) in ROOT or in "
    "ROOT/COVID-19_Radiography_Dataset, each with images/ and, if kept, masks/. Spaces may be underscores, and images/ "
    "may be absent",
    labels="The folder is the one class that is positive. Of a normal film the other three are negative; of another, "
    "Normal is negative and the other two are unmentioned, for nobody says that they were looked for.",
    splits="none",
    patients="none are known: a split by record is the best there is, and one patient may be on both sides",
    notes=(
        "Class and source hospital go together (RSNA, PadChest, a children's hospital, a German school): a network can "
        "tell classes by their source. Results on it say little about COVID-19.",
        "The *.metadata.xlsx tables name sources and are not read.",
    ),
    citation="Chowdhury et al., IEEE Access 8, 2020; Rahman et al., Computers in Biology and Medicine 132, 2021",
)

_FOLDERS = {"COVID": COVID, "Lung_Opacity": OPACITY, "Normal": NORMAL, "Viral Pneumonia": VIRAL}
_SUFFIXES = (".png", ".jpg", ".jpeg")


class CovidRadiography(Dataset):
    """See the card."""

    card = CARD
    concepts = (COVID, OPACITY, VIRAL, NORMAL)

    def _open(self) -> None:
        inner = self.root / "COVID-19_Radiography_Dataset"
        self._top = inner if inner.is_dir() else self.root
        self._classes = {}
        for folder, concept in _FOLDERS.items():
            names = (folder, folder.replace(" ", "_"), folder.replace("_", " "))
            found = next((self._top / name for name in names if (self._top / name).is_dir()), None)
            if found is not None:
                self._classes[found] = concept
        if not self._classes:
            self._find("COVID", "Normal")

    def _rows(self) -> Iterator[Row]:
        for folder, concept in self._classes.items():
            images = folder / "images" if (folder / "images").is_dir() else folder
            for path in sorted(images.iterdir()):
                if path.suffix.lower() in _SUFFIXES:
                    yield self._example(path, folder, concept)

    def _example(self, path: Path, folder: Path, concept: str) -> Example:
        attributes: dict[str, Attribute] = {}
        mask = folder / "masks" / path.name
        if mask.is_file():
            attributes["mask"] = mask.relative_to(self._top).as_posix()
        source = Source(
            name=path.relative_to(self._top).as_posix(),
            location=path,
            modality="X-ray",
            body_part="CHEST",
            attributes=attributes,
        )
        return Example(source=source, labels=_labels(concept))


def _labels(concept: str) -> dict[str, Presence]:
    if concept == NORMAL:
        others = dict.fromkeys((COVID, OPACITY, VIRAL), Presence.ABSENT)
    else:
        others = dict.fromkeys((COVID, OPACITY, VIRAL), Presence.UNMENTIONED) | {NORMAL: Presence.ABSENT}
    return others | {concept: Presence.PRESENT}
