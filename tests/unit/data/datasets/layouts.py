"""Tiny imitations of published layouts, made by the test that needs one."""

import csv
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as PilImage


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16), dtype=np.uint8)
    PilImage.fromarray(pixels).save(path)
    return path


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open(path, "wt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open("w", newline="")
    with opened as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return path
