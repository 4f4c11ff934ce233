"""IU X-ray (Open-i): chest films of Indiana University with reports whose sections are marked, coded by people.

Two layouts: the XML of the National Library of Medicine, one file a report, and the two tables of the Kaggle copy.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path

from callosum.core.finding import Presence
from callosum.core.record import Attribute
from callosum.data.datasets.dataset import Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.tables import stream_csv
from callosum.data.sources import Source

CARD = Card(
    name="iu-xray",
    title="Indiana University Chest X-rays (Open-i)",
    summary="Frontal and lateral chest films with de-identified reports in sections, coded with MeSH terms by people.",
    size="3,955 reports, 7,470 images (14 GB as PNG)",
    licence="CC BY-NC-ND 4.0, as every XML file says: non-commercial, no derivatives to be shared",
    access="Open download from the National Library of Medicine (Open-i); the tables from Kaggle",
    layout="ecgen-radiology/*.xml with NLMCXR_png/*.png (either folder's files may lie in ROOT); or "
    "indiana_reports.csv and indiana_projections.csv with images/images_normalized/*.png (or images_normalized/, "
    "images/)",
    labels="The main headings of the people's MeSH codes, such as 'Cardiomegaly', are positive; 'normal' alone means "
    "that nothing was found. The vocabulary is open: what is not coded is unmentioned.",
    splits="none",
    patients="none are published; a report stands for a patient, and its images are kept together",
    notes=(
        "The text to be searched is findings and impression. 'XXXX' stands for words that were taken out.",
        "Many normal reports are equal word for word: retrieval of the one exact report is ill-posed.",
        "The headers of about half of its DICOM files say MONOCHROME1: look at the polarity of copies in PNG.",
    ),
    citation="Demner-Fushman et al., Preparing a collection of radiology examinations for distribution and retrieval, "
    "JAMIA 23(2), 2016",
)

MAX_XML_BYTES = 1 << 20
_ENTITY = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_IMAGES = ("images/images_normalized", "images_normalized", "images", "")
_SECTIONS = ("indication", "comparison", "findings", "impression")
_NOT_CODED = frozenset({"", "no indexing", "technical quality of image unsatisfactory"})


class IuXray(Dataset):
    """See the card."""

    card = CARD

    def _open(self) -> None:
        self._table = self._look("indiana_reports.csv")
        if self._table is not None:
            self._projections = self._find("indiana_projections.csv")
            return
        folder = self.root / "ecgen-radiology"
        self._reports = folder if folder.is_dir() else self.root
        if next(self._reports.glob("*.xml"), None) is None:
            self._find("ecgen-radiology", "indiana_reports.csv")
            self._find("ecgen-radiology/*.xml")
        png = self.root / "NLMCXR_png"
        self._images = png if png.is_dir() else self.root

    def _rows(self) -> Iterator[Row]:
        if self._table is not None:
            yield from self._from_tables(self._table)
            return
        for path in sorted(self._reports.glob("*.xml"), key=_natural):
            yield from self._from_xml(path)

    def _from_xml(self, path: Path) -> Iterator[Row]:
        root = _parse(path)
        if root is None:
            yield Skipped(name=path.name, lack=Lack.ROW_INVALID)
            return
        uid = next((node.get("id", "") for node in root.iter("uId")), "") or path.stem
        sections = {node.get("Label", "").lower(): node.text or "" for node in root.iter("AbstractText")}
        terms = [node.text or "" for node in root.iterfind("MeSH/major")]
        for image in root.iter("parentImage"):
            name = f"{image.get('id', '')}.png"
            caption = image.findtext("caption", "").strip()
            yield _example(uid, name, inside(self._images, name), sections, terms, {"view_caption": caption})

    def _from_tables(self, table: Path) -> Iterator[Row]:
        folder = next(f for name in _IMAGES if (f := self.root / name).is_dir())
        images: dict[str, list[Mapping[str, str]]] = {}
        for row in stream_csv(self._projections, needed=("uid", "filename")):
            images.setdefault(row["uid"], []).append(row)
        for row in stream_csv(table, needed=("uid", "findings", "impression")):
            terms = row.get("MeSH", "").split(";")
            for image in images.pop(row["uid"], ()):
                view: dict[str, Attribute] = {"view": image.get("projection", "").lower()}
                name = image.get("filename", "")
                yield _example(f"CXR{row['uid']}", name, inside(folder, name), row, terms, view)
        for rows in images.values():  # images whose report is not in the table
            for image in rows:
                name = image.get("filename", "")
                yield _example(f"CXR{image['uid']}", name, inside(folder, name), {}, [], {})


def _example(
    uid: str,
    name: str,
    location: Path | None,
    sections: Mapping[str, str],
    terms: list[str],
    view: dict[str, Attribute],
) -> Row:
    if location is None or location.name == ".png":
        return Skipped(name=name, lack=Lack.ROW_INVALID)
    plain = {key: " ".join(sections.get(key, "").split()) for key in _SECTIONS}
    coded = [term.strip() for term in terms if term.strip().lower() not in _NOT_CODED]
    attributes = view | {"mesh": "|".join(coded)}
    source = Source(
        name=name,
        location=location,
        text="\n".join(plain[key] for key in ("findings", "impression") if plain[key]),
        patient_id=uid,
        study_id=uid,
        modality="X-ray",
        body_part="CHEST",
        attributes={key: value for key, value in attributes.items() if value != ""},
    )
    report = "\n".join(f"{key.upper()}: {text}" for key, text in plain.items() if text)
    return Example(source=source, labels={term.split("/")[0]: Presence.PRESENT for term in coded}, report=report)


def _parse(path: Path) -> ET.Element | None:
    """The tree of a report; None for a file that is none, is too large, or declares entities."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_XML_BYTES + 1)
        if len(data) > MAX_XML_BYTES or _ENTITY.search(data):
            return None
        return ET.fromstring(data)
    except (OSError, ET.ParseError, ValueError, LookupError):
        return None


def _natural(path: Path) -> tuple[int, str]:
    """2 before 10, as the reports are numbered."""
    digits = re.sub(r"\D", "", path.stem)
    return (int(digits) if digits else 0, path.name)
