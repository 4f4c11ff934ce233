"""Pictures and sentences made for runs of a few steps, and towers that take milliseconds."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from callosum.models.architectures import Architecture
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.towers import DualConfig
from callosum.models.vision.sizes import HybridConfig
from callosum.train.adapt import AdaptConfig, Tune
from callosum.train.augment_recipes import Recipe
from callosum.train.recipe import BatchConfig, RunConfig, WatchConfig
from callosum.train.run import RUN
from callosum.train.sentences import SentenceConfig, Take
from callosum.train.supply import Kind, Supply

TEXTS = ("a disc at the top left", "a disc at the top right", "a disc at the bottom left", "a disc at the bottom right")


def write_pairs(folder: Path, *, num: int = 48, has_test_pictures: bool = False) -> Path:
    """A manifest of pairs: half to train on, a quarter to validate on, a quarter for tests, which is not there."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pairs.csv"
    y, x = np.mgrid[0:32, 0:32]
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "id", "patient_id", "split", "text", "Left", "Top"])
        for n in range(num):
            place = n % 4
            side = ("train", "train", "val", "test")[n // 4 % 4]
            film = 90 * rng.random((32, 32)) + 120 * (np.hypot(x - 8 - 16 * (place % 2), y - 8 - 16 * (place // 2)) < 6)
            if side != "test" or has_test_pictures:
                Image.fromarray(film.astype(np.uint8)).save(folder / f"{n}.png")
            labels = ["positive" if place % 2 == 0 else "negative", "positive" if place < 2 else "negative"]
            rows.writerow([f"{n}.png", f"record{n}", f"patient{n}", side, TEXTS[place], *labels])
    return path


def tiny(**changes: object) -> RunConfig:
    """A run of a second."""
    towers = DualConfig(
        dim=16,
        vision=HybridConfig(
            size_px=32, stem=4, widths=(8, 8), depths=(1, 1), token_width=16, num_heads=2, thumbnail_px=4, dropout=0.2
        ),
        text=SmallTextConfig(vocab_size=80, width=16, num_heads=2, context_length=16, dropout=0.2),
    )
    config = RunConfig(
        name="test.tiny",
        architecture=Architecture(config=towers, preprocess=Preprocess(size_px=32), temperature=0.07),
        num_steps=6,
        num_threads=1,
        ema_decay=0.9,
        batch=BatchConfig(num_pairs=8, num_channels=1),
        watch=WatchConfig(validate_every=3, save_every=2),
    )
    return replace(config, **changes)


def long(kind: str) -> RunConfig:
    """Steps enough to be interrupted: of pictures that are cropped, or of projections on features computed once."""
    config = tiny(num_steps=14, batch=BatchConfig(num_pairs=8, num_channels=1, augmentation=Recipe.CONVIRT))
    if kind == "crops":
        return config
    still = replace(config, architecture=None, start="starter", batch=BatchConfig(num_pairs=8, num_channels=1))
    return replace(still, adapt=AdaptConfig(tune=Tune.PROJECTION), sentences=SentenceConfig(take=Take.WHOLE))


def supply(path: Path, **changes: object) -> Supply:
    return replace(Supply(manifest=path, kind=Kind.PAIRS, is_report=False), **changes)


def events(out: Path, kind: str = "step") -> list[dict[str, float]]:
    lines = (out / RUN / "log.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def losses(out: Path) -> list[float]:
    return [event["loss"] for event in events(out)]
