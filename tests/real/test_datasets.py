"""Adapters, splits and near-duplicates on the real packs."""

import csv
import tarfile
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest

from callosum.core.finding import Presence
from callosum.data.datasets import open_dataset
from callosum.data.datasets.nih14 import FINDINGS
from callosum.data.split import verify_split, write_split
from callosum.service.near_duplicates import find_near_duplicates


def manifest(pack: Path) -> list[dict[str, str]]:
    with (pack / "manifest.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_iu_reports_in_their_published_layout(data_root: Path, tmp_path: Path) -> None:
    pack = data_root / "iu_reports"
    folder = tmp_path / "ecgen-radiology"
    with tarfile.open(pack / "xml.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    known = {row["id"]: row for row in manifest(pack)}
    dataset = open_dataset("iu-xray", tmp_path)
    missing = [row.name for row in dataset.rows()]  # the pack has no pixels: every image is reported missing
    (tmp_path / "NLMCXR_png").mkdir()
    for name in missing:
        (tmp_path / "NLMCXR_png" / name).touch()
    seen = defaultdict(int)
    for example in open_dataset("iu-xray", tmp_path):
        row = known[example.source.study_id]
        expected = "\n".join(" ".join(row[key].split()) for key in ("findings", "impression") if row[key].split())
        assert example.source.text == expected
        coded = [term for term in row["mesh_major"].split("|") if term and term.lower() != "no indexing"]
        assert ("normal" in example.labels) == ("normal" in coded)
        seen[example.source.study_id] += 1
    assert {uid: int(row["n_images"]) for uid, row in known.items() if int(row["n_images"])} == seen


def test_nih_in_its_published_layout(data_root: Path, tmp_path: Path) -> None:
    pack = data_root / "cxr_nih14"
    rows = manifest(pack)
    with tarfile.open(pack / "images.tar") as tar:
        tar.extractall(tmp_path / "flat", filter="data")
    (tmp_path / "images_001" / "images").mkdir(parents=True)
    header = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,X[W,H],Y[x,y],\n"
    )
    lines = []
    for row in rows:
        source = tmp_path / "flat" / row["path"].split(":")[1]
        source.rename(tmp_path / "images_001" / "images" / row["nih_file"])
        cells = (row["nih_file"], row["findings"] or "No Finding", row["followup"], row["patient_id"], row["age"])
        lines.append(",".join((*cells, row["sex"], row["view"], "1,1,1,1,")))
    (tmp_path / "Data_Entry_2017.csv").write_text(header + "\n".join(lines))
    found = list(open_dataset("nih-chestxray14", tmp_path))
    assert len(found) == len(rows)
    for example, row in zip(found, rows, strict=True):
        positive = {name for name in FINDINGS if example.labels[name] is Presence.PRESENT}
        assert positive == {name for name in FINDINGS if row[name] == "1"}
        assert example.source.patient_id == row["patient_id"]


def test_a_split_of_real_patients(data_root: Path, tmp_path: Path) -> None:
    header = write_split(open_dataset("manifest", data_root / "cxr_nih14"), tmp_path)
    assert header["published"]["num_straddling_patients"] == 0
    assert sum(header["num_groups"].values()) == 687
    assert verify_split(tmp_path)["num_rows"] == 1433


def test_known_near_duplicates_are_found(data_root: Path) -> None:
    """The pack's clusters were made by another hash; films of one class that are no copies must not be swept in."""
    pack = data_root / "us_breast_busi"
    groups = defaultdict(list)
    for row in manifest(pack):
        groups[row["group"]].append(row["path"])
    known = {tuple(sorted(pair)) for names in groups.values() for pair in combinations(names, 2)}
    report = find_near_duplicates(example.source for example in open_dataset("manifest", pack))
    found = {tuple(sorted((pair.first, pair.second))) for pair in report.pairs}
    assert report.num_read == 556
    assert len(known & found) >= 0.95 * len(known)
    assert len(found - known) <= 0.3 * len(known)


@pytest.mark.parametrize("name", ["cxr_nih14"])
def test_films_of_different_patients_are_seldom_taken_for_copies(data_root: Path, name: str) -> None:
    pack = data_root / name
    patient = {row["path"]: row["patient_id"] for row in manifest(pack)}
    report = find_near_duplicates(example.source for example in open_dataset("manifest", pack))
    apart = [pair for pair in report.pairs if patient[pair.first] != patient[pair.second]]
    assert len(apart) <= 10  # of a million pairs
