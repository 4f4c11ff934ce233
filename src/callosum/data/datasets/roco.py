"""ROCO and ROCOv2: radiology figures of open-access articles with their captions.

ROCO has one folder for each of train, validation and test; ROCOv2 has three tables. An article gives several figures,
so an article, where it is known, is what a split must keep together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from callosum.core.finding import Presence
from callosum.data.datasets.dataset import TEST, TRAIN, VALIDATION, Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.tables import stream_csv, stream_lines
from callosum.data.sources import Source

_LABELS = (
    "UMLS concepts (CUI) that a program found in the caption are positive. The vocabulary is open: every other concept "
    "is unmentioned, and a concept that the caption denies may stand as positive."
)
_PATIENTS = (
    "none; the article (PMC number) is given as the study where a table tells it, and keeps its figures together"
)

CARD_1 = Card(
    name="roco",
    title="ROCO (Radiology Objects in COntext)",
    summary="Figures of PubMed Central articles with captions, and UMLS concepts found in them.",
    size="81,825 radiology and 6,127 other figures",
    licence="That of each article: CC BY and CC0, but also NC, ND and none; the attribute 'licence' tells",
    access="Tables on GitHub, whose script fetches the figures from PubMed Central; a packed copy on Kaggle",
    layout="data/ or all_data/ (or ROOT itself) with train/, validation/ and test/, each with radiology/captions*.txt "
    "(ROCO_ID, tab, caption) and radiology/images/; licences*.txt, dlinks*.txt and cuis*.txt are read when there. "
    "An image is called ROCO_ID.jpg, or PMC_ARTICLE_FIGURE.jpg as the fetching script names it",
    labels=_LABELS,
    splits="train, validation, test; by figure, so that an article can be on two sides",
    patients=_PATIENTS,
    notes=("The figures in non-radiology/ are not read.", "Some captions are not English; some speak of other panels."),
    citation="Pelka et al., Radiology Objects in COntext (ROCO): A Multimodal Image Dataset, LABELS at MICCAI 2018",
)

CARD_2 = Card(
    name="roco-v2",
    title="ROCOv2",
    summary="The second edition of ROCO: only figures under Creative Commons licences, with curated concepts.",
    size="79,789 figures: train 59,958, valid 9,904, test 9,927 (2023 edition)",
    licence="license_information.csv names that of each figure; see the record on Zenodo for the collection",
    access="Open download from Zenodo (10.5281/zenodo.10821435)",
    layout="{train,valid,test}_captions.csv (ID, Caption), {split}_concepts.csv (ID, CUIs with ';'), images as ID.jpg "
    "or ID.png in {split}_images/, {split}_images/{split}/, {split}/ or images/; license_information.csv and "
    "cui_mapping.csv are read when they are there",
    labels=_LABELS,
    splits="train, validation (published as 'valid'), test",
    patients=_PATIENTS,
    notes=("Columns of the tables may have spaces around their names.", "It shares figures with ROCO and MedICaT."),
    citation="Rückert et al., ROCOv2: Radiology Objects in COntext Version 2, Scientific Data 11:688, 2024",
)

_SPLITS = ((TRAIN, "train"), (VALIDATION, "validation"), (TEST, "test"))
_ARTICLE = re.compile(r"PMC\d+")
_CUI = re.compile(r"C\d{7}")


class Roco(Dataset):
    """See the card."""

    card = CARD_1

    def _open(self) -> None:
        folders = [
            (split, folder)
            for top in ("data", "all_data", "")
            for split, name in _SPLITS
            if _first(folder := self.root / top / name / "radiology", "captions*.txt") is not None
        ]
        if not folders:
            self._find("data/train/radiology/captions.txt", "all_data/train/radiology/captions.txt")
        self._folders = folders

    def _rows(self) -> Iterator[Row]:
        for split, folder in self._folders:
            figures = _figures(folder)
            concepts = _concepts(folder)
            captions = _first(folder, "captions*.txt")
            for line in stream_lines(captions) if captions is not None else ():
                if line.strip():
                    yield self._row(line, split, folder, figures, concepts)

    def _row(
        self,
        line: str,
        split: str,
        folder: Path,
        figures: Mapping[str, tuple[str, str]],
        concepts: Mapping[str, str],
    ) -> Row:
        roco_id, tab, caption = line.partition("\t")
        roco_id = roco_id.strip()
        figure, licence = figures.get(roco_id, ("", ""))
        named = inside(folder / "images", f"{roco_id}.jpg")
        if not tab or not roco_id or named is None:
            return Skipped(name=roco_id, lack=Lack.ROW_INVALID)
        fetched = inside(folder / "images", figure) if figure else None
        location = fetched if fetched is not None and not named.is_file() else named
        article = _ARTICLE.match(figure)
        return _example(roco_id, location, split, caption, cuis=concepts.get(roco_id, ""), about=(article, licence))


class RocoV2(Dataset):
    """See the card."""

    card = CARD_2

    def _open(self) -> None:
        found = ((split, name) for split, name in ((TRAIN, "train"), (VALIDATION, "valid"), (TEST, "test")))
        self._tables = [(split, name) for split, name in found if self._look(f"{name}_captions.csv") is not None]
        if not self._tables:
            self._find("train_captions.csv", "valid_captions.csv", "test_captions.csv")

    def _rows(self) -> Iterator[Row]:
        about = self._read_licences()
        for split, name in self._tables:
            concepts = self._read_concepts(name)
            folders = [
                self.root / part
                for part in (f"{name}_images/{name}", f"{name}_images", name, "images", "")
                if (self.root / part).is_dir()
            ]
            for row in stream_csv(self.root / f"{name}_captions.csv", needed=("ID", "Caption")):
                figure = row["ID"].strip()
                location = _with_suffix(folders, figure)
                if location is None:
                    yield Skipped(name=figure, lack=Lack.ROW_INVALID)
                    continue
                licence = about.get(figure, "")
                cuis = concepts.get(figure, "")
                where = (_ARTICLE.search(licence), licence)
                yield _example(figure, location, split, row.get("Caption", ""), cuis=cuis, about=where)

    def _read_concepts(self, name: str) -> dict[str, str]:
        path = self._look(f"{name}_concepts.csv")
        rows = stream_csv(path, needed=("ID", "CUIs")) if path is not None else iter(())
        return {row["ID"].strip(): row.get("CUIs", "") for row in rows}

    def _read_licences(self) -> dict[str, str]:
        """Figure to the other cells of its row: article, attribution and link, under whatever names."""
        path = self._look("license_information.csv")
        rows = stream_csv(path, needed=("ID",)) if path is not None else iter(())
        return {row["ID"].strip(): " ".join(cell for name, cell in row.items() if name != "ID") for row in rows}


def _example(
    name: str, location: Path, split: str, caption: str, *, cuis: str, about: tuple[re.Match[str] | None, str]
) -> Example:
    article, licence = about
    found = _CUI.findall(cuis)
    attributes = {"cuis": "|".join(found), "licence": licence}
    source = Source(
        name=f"{split}/{name}",
        location=location,
        record_id=name,
        text=caption.strip(),
        study_id=article[0] if article else "",
        split=split,
        attributes={key: value for key, value in attributes.items() if value},
    )
    return Example(source=source, labels=dict.fromkeys(found, Presence.PRESENT))


def _first(folder: Path, pattern: str) -> Path | None:
    return next(iter(sorted(folder.glob(pattern))), None)


def _figures(folder: Path) -> dict[str, tuple[str, str]]:
    """ROCO id to the file of the figure, which begins with the article, and to its licence."""
    figures: dict[str, tuple[str, str]] = {}
    if (links := _first(folder, "dlinks*.txt")) is not None:
        for line in stream_lines(links):  # ROCO_00002 <tab> wget ... /PMC4083729.tar.gz ... <tab> AMHSR-4-14-g002.jpg
            parts = line.split("\t")
            if len(parts) > 1 and (article := _ARTICLE.search(parts[1])):
                figures[parts[0].strip()] = (f"{article[0]}_{parts[-1].strip()}", "")
    if (licences := _first(folder, "licences*.txt")) is not None:
        for row in stream_csv(licences, needed=("ROCO_ID", "PMC_ID")):
            figures[row["ROCO_ID"].strip()] = (row.get("PMC_ID", "").strip(), row.get("CC", "").strip())
    return figures


def _concepts(folder: Path) -> dict[str, str]:
    path = _first(folder, "cuis*.txt")
    lines = stream_lines(path) if path is not None else ()
    return {roco_id.strip(): rest for roco_id, _, rest in (line.partition("\t") for line in lines)}


def _with_suffix(folders: list[Path], name: str) -> Path | None:
    """Where an image of this name lies; where it should be, when it is nowhere; None for a name that leads out."""
    places = [place for folder in folders for suffix in (".jpg", ".png") if (place := inside(folder, name + suffix))]
    return next((place for place in places if place.is_file()), places[0] if name and places else None)
