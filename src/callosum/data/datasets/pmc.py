"""Figures and captions of PubMed Central as JSON lines: PMC-OA, openPMC and the PMC-15M pipeline."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from callosum.core.record import Attribute
from callosum.data.datasets.dataset import TEST, TRAIN, VALIDATION, Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.tables import stream_json
from callosum.data.sources import Source

CARD = Card(
    name="pmc-jsonl",
    title="PubMed Central figure-caption JSONL",
    summary="Figures of open-access articles with captions, one JSON object a line, as several collections publish.",
    size="PMC-OA: 1.6 million pairs; others up to 24 million",
    licence="That of each article",
    access="Open download of PMC-OA from Hugging Face; others are built with published programs",
    layout="*.jsonl (or *.jsonl.gz) in ROOT, or ROOT is such a file. A line names its image under image, media_name, "
    "image_path, graphic_ref or file_name and its text under caption, fig_caption, text or alt_text; lines with a list "
    "'figures' hold several. Images are looked for in the folder of the table, in images/, figures/ and in "
    "caption_T060_filtered_top4_sep_v0_subfigures/",
    labels="None.",
    splits="that in the name of the table: train.jsonl, valid.jsonl (val, validation), test.jsonl; else none",
    patients="none; the article (PMC number), where a line or the name of the image tells it, is given as the study",
    notes=("The key names are those of three public programs; a line with others is counted as invalid.",),
    citation="Lin et al., PMC-CLIP, MICCAI 2023, arXiv:2303.07240; Zhang et al., BiomedCLIP, NEJM AI 2025, "
    "arXiv:2303.00915",
)

_IMAGE = ("image", "media_name", "image_path", "graphic_ref", "file_name", "image_file_name")
_TEXT = ("caption", "fig_caption", "text", "alt_text")
_ARTICLE_KEYS = ("pmcid", "PMC_ID", "pmc_id", "article_accession_id")
_FOLDERS = ("", "images", "figures", "caption_T060_filtered_top4_sep_v0_subfigures")
_ARTICLE = re.compile(r"PMC\d+")
_SPLITS = {"train": TRAIN, "valid": VALIDATION, "val": VALIDATION, "validation": VALIDATION, "test": TEST}


class PmcJsonl(Dataset):
    """See the card."""

    card = CARD

    def _open(self) -> None:
        if self.root.is_file():
            self._tables = [self.root]
        else:
            self._tables = sorted(p for p in self.root.iterdir() if p.name.endswith((".jsonl", ".jsonl.gz")))
        if not self._tables:
            self._find("*.jsonl")
        top = self._tables[0].parent
        self._folders = [folder for name in _FOLDERS if (folder := top / name).is_dir()]

    def _rows(self) -> Iterator[Row]:
        for table in self._tables:
            words = re.split(r"[^a-z]+", table.name.lower())
            split = next((_SPLITS[word] for word in words if word in _SPLITS), "")
            for line, row in enumerate(stream_json(table), start=1):
                if row is None:
                    yield Skipped(name=f"line {line}", lack=Lack.ROW_INVALID)
                    continue
                figures = row.get("figures")
                for figure in figures if isinstance(figures, list) else [row]:
                    yield self._row(row | figure if isinstance(figure, dict) else {}, line, split)

    def _row(self, row: Mapping[str, Any], line: int, split: str) -> Row:
        image = _first(row, _IMAGE)
        places = [place for folder in self._folders if (place := inside(folder, image)) is not None]
        if not image or not places:
            return Skipped(name=f"line {line}", lack=Lack.ROW_INVALID)
        article = _first(row, _ARTICLE_KEYS) or image
        found = _ARTICLE.search(article if article.startswith("PMC") or not article.isdecimal() else f"PMC{article}")
        location: Path = next((place for place in places if place.is_file()), places[0])
        licence = _first(row, ("license", "licence", "article_license"))
        attributes: dict[str, Attribute] = {"licence": licence} if licence else {}
        source = Source(
            name=image,
            location=location,
            text=_first(row, _TEXT).strip(),
            study_id=found[0] if found else "",
            split=split,
            attributes=attributes,
        )
        return Example(source=source)


def _first(row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The first of `keys` that holds text or a number."""
    return next((str(row[key]) for key in keys if isinstance(row.get(key), (str, int)) and row[key] != ""), "")
