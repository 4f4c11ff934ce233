"""Small pictures, reports and manifests for the tests of training data."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CONCEPTS = ("Effusion", "Edema", "No Finding")
REPORT = "FINDINGS: There is a pleural effusion on the left. The heart is normal in size. No edema is seen."


def write_picture(path: Path, number: int, *, side: int = 40) -> None:
    """A grey picture whose left half is brighter, different for every number."""
    pixels = np.random.default_rng(number).integers(0, 60, (side, side)).astype(np.uint8)
    pixels[:, : side // 2] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_manifest(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """A CSV file with the columns of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def labels(number: int) -> dict[str, object]:
    """Labels that differ from row to row."""
    return {"Effusion": number % 2, "Edema": (number // 2) % 2, "No Finding": int(number % 4 == 0)}


def image_manifest(folder: Path, num: int = 12, *, name: str = "images", **extra: object) -> Path:
    """Pictures with labels, of a patient each."""
    rows = []
    for n in range(num):
        write_picture(folder / name / f"{n}.png", n)
        row = {"id": f"i{n}", "path": f"{name}/{n}.png", "patient_id": f"p{n}", "split": "train"}
        rows.append({**row, **labels(n), **extra})
    return write_manifest(folder / f"{name}.csv", rows)


def text_manifest(folder: Path, num: int = 12, *, name: str = "texts", first_patient: int = 100) -> Path:
    """Reports with labels, of a patient each."""
    rows = [
        {
            "id": f"t{n}",
            "path": f"{n}.txt",
            "patient_id": f"p{first_patient + n}",
            "split": "train",
            "text": f"{REPORT} This is report {n}.",
            **labels(n),
        }
        for n in range(num)
    ]
    return write_manifest(folder / f"{name}.csv", rows)


def pair_manifest(folder: Path, num: int = 12, *, name: str = "pairs") -> Path:
    """Pictures with reports, of a patient each."""
    rows = []
    for n in range(num):
        write_picture(folder / name / f"{n}.png", 1000 + n)
        row = {"id": f"r{n}", "path": f"{name}/{n}.png", "patient_id": f"q{n}", "split": "train"}
        rows.append({**row, "text": f"{REPORT} This is report {n}.", **labels(n)})
    return write_manifest(folder / f"{name}.csv", rows)


def same_columns() -> dict[str, str]:
    """Concepts in columns of their own names."""
    return {concept: concept for concept in CONCEPTS}
