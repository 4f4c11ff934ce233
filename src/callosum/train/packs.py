"""The open rows of the starter's data packs: texts, facts and where the pixels are.

A pack is a folder with `manifest.csv` and an archive of images; `path` in the manifest reads `archive:member`.
Only rows whose `license_class` begins with `open` are returned.
"""

from __future__ import annotations

import csv
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from callosum.core.errors import InputError
from callosum.train.facts import NIH_FINDINGS, modality_facts, region_facts

PACKS = (
    "roco_open",
    "cxr_nih14",
    "cxr_pediatric",
    "medical_mnist",
    "path_lc25000",
    "us_breast_busi",
    "blood_bccd",
    "cxr_notes",
    "us_lung_pocus",
)
ADULT_YEARS = 18
ROCO_MODALITY = {"X-ray": "xray", "CT": "ct", "MRI": "mri", "Ultrasound": "ultrasound"}
ROCO_WORDS = {
    "chest": r"chest|thora[xc]|lung|pulmonary",
    "abdomen": r"abdom|liver|hepat|kidney|renal|pancrea|bowel|colon",
    "head": r"brain|head|crani|cerebr|skull|frontal lobe",
    "heart": r"echocardio|heart|cardiac|ventric|atri[au]|valve|mitral|aortic",
    "breast": r"breast|mammo",
    "hand": r"\bhands?\b|wrist|finger",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One picture of a pack.

    Attributes:
        pack: Name of the pack.
        row_id: Id in the manifest.
        split: `train` or `val`, as in the manifest.
        group: Patient, article or cluster: what must not be on two sides of a split.
        source: Collection inside the pack, empty where there is only one.
        label: Class name, empty where the pack has none.
        texts: Real sentences written for this picture.
        facts: What is known of the picture.
        archive: Archive with the pixels.
        member: Name inside the archive.
    """

    pack: str
    row_id: str
    split: str
    group: str = ""
    source: str = ""
    label: str = ""
    texts: tuple[str, ...] = ()
    facts: dict[str, bool] = field(default_factory=dict)
    archive: Path
    member: str


def read_rows(root: Path, *, packs: Sequence[str] = PACKS) -> list[Row]:
    """Read every open row of `packs` below `root`."""
    rows: list[Row] = []
    for pack in packs:
        with (root / pack / "manifest.csv").open(newline="", encoding="utf-8") as stream:
            for line in csv.DictReader(stream):
                if line["license_class"].startswith("open"):
                    rows.append(_row(root, pack, line))
    return rows


def read_text_only(root: Path) -> list[str]:
    """Captions of open ROCO figures without pixels here: text for the vocabulary and word vectors.

    Captions of articles that have figures outside the training split are left out.
    """
    import pyarrow.parquet as parquet

    with (root / "roco_open" / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        elsewhere = {line["pmcid"] for line in csv.DictReader(stream) if line["split"] != "train"}
    table = parquet.read_table(root / "roco_open" / "captions_textonly.parquet", columns=["pmcid", "text", "license"])
    return [
        row["text"]
        for row in table.to_pylist()
        if row["pmcid"] not in elsewhere and row["license"] in ("CC BY", "CC BY-SA", "CC0")
    ]


def iter_images(rows: Sequence[Row]) -> Iterator[tuple[int, Image.Image]]:
    """Decode the pictures of `rows`, archive by archive: position in `rows` and the picture.

    Raises:
        InputError: a picture is not in its archive.
    """
    num_found = 0
    wanted: dict[Path, dict[str, int]] = {}
    for n, row in enumerate(rows):
        wanted.setdefault(row.archive, {})[row.member] = n
    for archive, members in wanted.items():
        with tarfile.open(archive, "r:*") as tar:
            for info in tar:
                if info.name in members and (stream := tar.extractfile(info)) is not None:
                    num_found += 1
                    yield members[info.name], Image.open(io.BytesIO(stream.read()))
    if num_found != len(rows):
        message = f"{len(rows)} pictures are named by the manifests; {num_found} are in the archives."
        raise InputError(message, hint="Fetch the packs again.")


def _row(root: Path, pack: str, line: dict[str, str]) -> Row:
    archive, member = line["path"].split(":", 1)
    return Row(
        pack=pack,
        row_id=line["id"],
        split=line["split"],
        group=line.get("group") or line.get("patient_id") or line["id"],
        source=line.get("source", ""),
        label=line.get("label", ""),
        texts=_texts(pack, line),
        facts=_FACTS[pack](line),
        archive=root / pack / archive,
        member=member,
    )


def _texts(pack: str, line: dict[str, str]) -> tuple[str, ...]:
    if pack == "us_lung_pocus":
        candidates = (line["text"], line["text_md1"], line["text_md2"], line["text_web"])
        return tuple(dict.fromkeys(t for t in candidates if t and "ame video" not in t))
    if pack in ("roco_open", "cxr_notes"):
        return (line["text"],) if line["text"] else ()
    return ()


def _roco(line: dict[str, str]) -> dict[str, bool]:
    facts = {"histology": False, "smear": False}
    if line["modality"] in ROCO_MODALITY:
        facts |= modality_facts(ROCO_MODALITY[line["modality"]])
    elif line["modality"] == "Angiography":
        facts |= {"angiography": True, "ultrasound": False}
    elif line["modality"] == "PET":
        facts |= {"pet": True, "ultrasound": False}
    text = line["text"].lower()
    regions = [name for name, pattern in ROCO_WORDS.items() if re.search(pattern, text)]
    if len(regions) == 1:
        facts |= region_facts(regions[0])
    else:
        facts |= dict.fromkeys(regions, True)
    return facts


def _nih(line: dict[str, str]) -> dict[str, bool]:
    findings = {name: line[name.title() if "_" in name else name.capitalize()] == "1" for name in NIH_FINDINGS}
    return {
        **modality_facts("xray"),
        **region_facts("chest"),
        **findings,
        "frontal": True,
        "normal": line["No Finding"] == "1",
        "child": float(line["age"]) < ADULT_YEARS,
        "male": line["sex"] == "M",
        "projection_ap": line["view"] == "AP",
    }


def _pediatric(line: dict[str, str]) -> dict[str, bool]:
    normal = line["label"] == "normal"
    facts = {**modality_facts("xray"), **region_facts("chest"), "child": True, "frontal": True, "normal": normal}
    facts |= {"pneumonia": not normal}
    facts |= {"bacterial": line["label"].startswith("bacterial"), "viral": line["label"].startswith("viral")}
    if normal:
        facts |= dict.fromkeys(NIH_FINDINGS, False)
    return facts


def _mnist(line: dict[str, str]) -> dict[str, bool]:
    modality, region = {
        "AbdomenCT": ("ct", "abdomen"),
        "BreastMRI": ("mri", "breast"),
        "CXR": ("xray", "chest"),
        "ChestCT": ("ct", "chest"),
        "Hand": ("xray", "hand"),
        "HeadCT": ("ct", "head"),
    }[line["label"]]
    return {**modality_facts(modality), **region_facts(region)}


def _histology(line: dict[str, str]) -> dict[str, bool]:
    benign = line["label"].startswith("benign")
    return {
        **modality_facts("histology"),
        **region_facts("lung"),
        "benign": benign,
        "normal": benign,
        "malignant": not benign,
        "adenocarcinoma": line["label"].endswith("adenocarcinoma"),
        "squamous": "squamous" in line["label"],
    }


def _breast(line: dict[str, str]) -> dict[str, bool]:
    label = line["label"]
    return {
        **modality_facts("ultrasound"),
        **region_facts("breast"),
        "normal": label == "normal",
        "mass": label != "normal",
        "benign": label == "benign",
        "malignant": label == "malignant",
    }


def _blood(line: dict[str, str]) -> dict[str, bool]:
    return {
        **modality_facts("smear"),
        **dict.fromkeys(("chest", "abdomen", "head", "breast", "hand", "heart", "lung"), False),
        "platelets": int(line["n_platelets"]) > 0,
        "white_cells": int(line["n_wbc"]) > 0,
    }


def _notes(line: dict[str, str]) -> dict[str, bool]:
    facts = {**modality_facts("xray"), **region_facts("chest"), "child": False}
    for name, column in {"normal": "no_finding", "pneumonia": "pneumonia", "covid": "covid19"}.items():
        if line[column]:
            facts[name] = float(line[column]) == 1.0
    return facts


def _lung_ultrasound(line: dict[str, str]) -> dict[str, bool]:
    facts = {**modality_facts("ultrasound"), **region_facts("lung")}
    facts |= {"normal": line["label"] == "regular", "covid": line["label"] == "COVID-19"}
    facts |= {"pneumonia": "neumonia" in line["label"], "bacterial": line["label"].startswith("Bacterial")}
    columns = {
        "effusion": "finding_Effusion",
        "consolidation": "finding_Consolidations",
        "b_lines": "finding_B-lines",
        "a_lines": "finding_A-lines",
        "pleural_irregularity": "finding_Pleural line irregularities",
    }
    for name, column in columns.items():
        if line[column]:
            facts[name] = float(line[column]) == 1.0
    if facts["covid"]:
        del facts["pneumonia"]
    return facts


_FACTS = {
    "roco_open": _roco,
    "cxr_nih14": _nih,
    "cxr_pediatric": _pediatric,
    "medical_mnist": _mnist,
    "path_lc25000": _histology,
    "us_breast_busi": _breast,
    "blood_bccd": _blood,
    "cxr_notes": _notes,
    "us_lung_pocus": _lung_ultrasound,
}
