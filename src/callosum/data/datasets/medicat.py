"""MedICaT: figures of biomedical articles with captions, many of them compound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from callosum.core.record import Attribute
from callosum.data.datasets.dataset import Card, Dataset, Example, Lack, Row, Skipped, inside
from callosum.data.datasets.tables import stream_json
from callosum.data.sources import Source

CARD = Card(
    name="medicat",
    title="MedICaT",
    summary="Medical figures of open-access articles with captions and sentences that refer to them.",
    size="217,060 figures of 131,410 articles; those that are not in ROCO are in the table that is read",
    licence="Non-commercial use; each article has its own licence, which the attribute 'licence' gives",
    access="A form of the Allen Institute for AI",
    layout="s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl and figures/PDFHASH_FIGURI, in ROOT or "
    "ROOT/release",
    labels="None. 'radiology' of the table says whether the figure is one, and is an attribute.",
    splits="none",
    patients="none; the article (pdf_hash) is given as the study and keeps its figures together",
    notes=(
        "Three of four figures are compound; subcaptions_public.jsonl, which takes some apart, is not read.",
        "The caption is s2_caption, read from the PDF; s2orc_caption takes its place where that is empty.",
    ),
    citation="Subramanian et al., MedICaT: A Dataset of Medical Images, Captions, and Textual References, "
    "Findings of EMNLP 2020",
)

_TABLE = "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl"


class Medicat(Dataset):
    """See the card."""

    card = CARD

    def _open(self) -> None:
        self._table = self._find(_TABLE, folders=("", "release"))

    def _rows(self) -> Iterator[Row]:
        for line, row in enumerate(stream_json(self._table), start=1):
            yield self._row(row, line)

    def _row(self, row: Mapping[str, Any] | None, line: int) -> Row:
        article, figure = (str((row or {}).get(key) or "") for key in ("pdf_hash", "fig_uri"))
        name = f"figures/{article}_{figure}"
        location = inside(self._table.parent, name)
        if row is None or not article or not figure or location is None:
            return Skipped(name=f"line {line}", lack=Lack.ROW_INVALID)
        attributes: dict[str, Attribute] = {"licence": _licence(row.get("oa_info"))}
        if isinstance(row.get("radiology"), bool):
            attributes["radiology"] = row["radiology"]
        source = Source(
            name=name,
            location=location,
            text=str(row.get("s2_caption") or row.get("s2orc_caption") or "").strip(),
            study_id=article,
            attributes={key: value for key, value in attributes.items() if value != ""},
        )
        return Example(source=source)


def _licence(info: Any) -> str:
    """The licence of the article, which stands in one object or in a list of them."""
    entries = info if isinstance(info, list) else [info]
    found = (each.get("license") for each in entries if isinstance(each, dict))
    return next((str(licence) for licence in found if licence), "")
