"""Teach a checkpoint one's own words in seconds: both towers run once, then only the projections are trained.

    python -m examples.finetune_projection [--out FOLDER]

The pictures are made here: four patterns that the starter has never seen, under names that are made up. The run watches
validation pairs, and how much of the words it knew is retained; weights between the start and the end are measured too
(Wortsman et al. 2022, WiSE-FT). Less than a minute on one core.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import callosum
from callosum.train.recipe import BatchConfig
from callosum.train.recipes import projection
from callosum.train.run import RUN, train
from callosum.train.supply import Kind, Supply

NAMES = {"stripes": "Zebrine striation", "rings": "Anular sign", "dots": "Pointillate foci", "wedge": "Cuneate shadow"}
SHORT = ("stripes", "rings", "dots", "wedge")
KNOWN = {"tissue": "H&E stained section of tissue", "head": "CT of the head"}


def picture(name: str, rng: np.random.Generator) -> Image.Image:
    """One pattern at a place and of a size of its own; or something like stained tissue, or a slice of a head."""
    y, x = np.mgrid[0:96, 0:96] / 96
    x0, y0, size = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.7, 1.3)
    radius = np.hypot(x - x0, y - y0)
    noise = 30 * rng.random(x.shape)
    if name == "tissue":
        nuclei = (rng.random((24, 24)) > 0.8).repeat(4, axis=0).repeat(4, axis=1)[..., None]
        return Image.fromarray((np.where(nuclei, (95, 60, 140), (220, 150, 190)) + noise[..., None]).astype(np.uint8))
    if name == "head":
        skull = np.hypot((x - 0.5) / size, (y - 0.5) / size / 1.2) * 96
        return Image.fromarray(
            (np.select([skull < 30, skull < 35], [90, 255], 0) + noise / 2).clip(0, 255).astype(np.uint8)
        )
    pattern = {
        "stripes": np.sin(x * 40 / size) > 0,
        "rings": np.sin(radius * 50 / size) > 0,
        "dots": (np.sin(x * 45 / size) > 0.6) & (np.sin(y * 45 / size) > 0.6),
        "wedge": np.abs(x - x0) < (y - 0.2) * 0.5 * size,
    }[name]
    return Image.fromarray((60 + noise + 130 * pattern).clip(0, 255).astype(np.uint8))


def write(folder: Path, names: dict[str, str], *, num: int, seed: int) -> Path:
    """A manifest of pictures, each with a text that tells what it shows."""
    rng = np.random.default_rng(seed)
    path = folder / f"{'-'.join(names)}.csv"
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "patient_id", "split", "text"])
        for n in range(num):
            name = list(names)[n % len(names)]
            picture(name, rng).save(folder / f"{name}{n}.png")
            rows.writerow([f"{name}{n}.png", f"{path.stem}{n}", "val" if n % 5 == 0 else "train", names[name]])
    return path


def main() -> None:
    """Make the data, train the projections, and classify new pictures by the new words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="folder to keep the checkpoint in")
    arguments = parser.parse_args()
    config = projection()
    config = replace(
        config,
        name="example.projection",
        num_steps=200,
        num_threads=1,
        batch=BatchConfig(num_pairs=64),
        watch=replace(config.watch, chooses_interpolation=True),
    )
    rng = np.random.default_rng(9)
    classes = list(NAMES) * 10
    unseen = [np.asarray(picture(name, rng)) for name in classes]

    def accuracy(model: str) -> float:
        encoder = callosum.load_encoder(model)
        scores = encoder.encode_image(unseen).matrix @ encoder.encode_text(list(NAMES.values())).matrix.T
        return float(np.mean([SHORT[n] == name for n, name in zip(scores.argmax(axis=1), classes, strict=True)]))

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        own = Supply(manifest=write(folder, NAMES, num=160, seed=0), kind=Kind.PAIRS, is_report=False)
        known = Supply(manifest=write(folder, KNOWN, num=40, seed=1), kind=Kind.PAIRS, is_report=False)
        out = arguments.out or folder / "model"
        result = train(config, [own], out, retain=[known])
        before, after = accuracy("starter"), accuracy(f"local-dir:{out}")
        kept = f"{result.figures['retained_accuracy']:.2f}"
        print(f"{result.steps} steps in {result.seconds:.1f} s")
        print(f"four new words on 40 new pictures: accuracy {before:.2f} before, {after:.2f} after; retained {kept}")
        trace = json.loads((out / RUN / "trace.json").read_text())
        for share, figures in zip(*(trace["interpolation"][key] for key in ("shares", "figures")), strict=True):
            told = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            print(f"  {share:.2f} of the way: {told}")
        if after < 0.8 or after <= before:
            message = "the example learnt less than it should"
            raise SystemExit(message)


if __name__ == "__main__":
    main()
