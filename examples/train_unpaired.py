"""Train on pictures and texts that are no pairs: films with labels from one place, sentences from another.

    python -m examples.train_unpaired [--out FOLDER]

The pictures are made here: a bright disc low on the left stands for an effusion, a wide oval in the middle for a large
heart. The texts are sentences of other patients. Nothing but the findings joins the two (Wang et al. 2022, MedCLIP);
afterwards the checkpoint finds pictures by words. Less than a minute on one core.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import callosum
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.towers import DualConfig
from callosum.models.vision.sizes import HybridConfig
from callosum.train.optim import OptimConfig
from callosum.train.recipe import BatchConfig, RunConfig, WatchConfig
from callosum.train.recipes import medclip
from callosum.train.run import train
from callosum.train.supply import Kind, Supply

FINDINGS = ("Effusion", "Cardiomegaly", "No Finding")
"""The last one gives normal pictures and normal sentences something in common: without it they would match nothing."""
SENTENCES = {
    (True, False): ("There is a pleural effusion on the left.", "Effusion at the left base."),
    (False, True): ("The heart is enlarged.", "There is cardiomegaly."),
    (True, True): ("Enlarged heart with a left effusion.", "Cardiomegaly and pleural effusion."),
    (False, False): ("The lungs are clear and the heart is normal.", "No acute finding."),
}
SIDE_PX = 64


def picture(finding: tuple[bool, bool], rng: np.random.Generator) -> Image.Image:
    """A film that shows these findings."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    film = 60 + 25 * rng.random((SIDE_PX, SIDE_PX)) + 20 * x
    if finding[0]:
        film[(x - 0.25) ** 2 + (y - 0.8) ** 2 < rng.uniform(0.02, 0.04)] += 110
    width = 0.12 if finding[1] else 0.02
    film[((x - 0.5) / width) ** 2 + ((y - 0.6) / 0.18) ** 2 < rng.uniform(0.9, 1.6)] += 90
    return Image.fromarray(film.clip(0, 255).astype(np.uint8))


def labels(finding: tuple[bool, bool]) -> list[str]:
    """The cells of the label columns."""
    return ["positive" if is_there else "negative" for is_there in (*finding, not any(finding))]


def write(folder: Path, *, num_images: int = 240, num_texts: int = 120, seed: int = 0) -> tuple[Path, Path]:
    """Two manifests of different patients: pictures with labels, and sentences with labels."""
    rng = np.random.default_rng(seed)
    images, texts = folder / "films.csv", folder / "sentences.csv"
    found = list(SENTENCES)
    with images.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "patient_id", "split", *FINDINGS])
        for n in range(num_images):
            finding = found[rng.integers(len(found))]
            picture(finding, rng).save(folder / f"{n}.png")
            side = "train" if n % 4 else "val"
            rows.writerow([f"{n}.png", f"film{n}", side, *labels(finding)])
    with texts.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "patient_id", "split", "text", *FINDINGS])
        for n in range(num_texts):
            finding = found[rng.integers(len(found))]
            side = "train" if n % 4 else "val"
            rows.writerow([f"t{n}", f"report{n}", side, rng.choice(SENTENCES[finding]), *labels(finding)])
    return images, texts


def recipe(*, num_steps: int = 150) -> RunConfig:
    """MedCLIP's objective on towers small enough for a minute."""
    small = medclip()
    towers = DualConfig(
        dim=64,
        vision=HybridConfig(size_px=64, stem=16, widths=(24, 32, 48), depths=(1, 1, 1), token_width=64, dropout=0.0),
        text=SmallTextConfig(vocab_size=400, width=64, context_length=24, dropout=0.0),
    )
    return replace(
        small,
        name="example.unpaired",
        architecture=replace(small.architecture, config=towers, preprocess=Preprocess(size_px=64)),
        objective_settings={"target_temperature": 0.1},
        concepts=FINDINGS,
        num_steps=num_steps,
        ema_decay=0.9,
        num_threads=1,
        batch=BatchConfig(num_pairs=0, num_images=48, num_texts=48, num_channels=1),
        optim=OptimConfig(learning_rate=2e-3),
        watch=WatchConfig(validate_every=50),
    )


def main() -> None:
    """Make the data, train, and look for an effusion among new pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=None, help="folder to keep the checkpoint in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images, texts = write(folder)
        columns = {name: name for name in FINDINGS}
        supplies = [
            Supply(manifest=images, kind=Kind.IMAGES, labels=columns, population="films"),
            Supply(manifest=texts, kind=Kind.TEXTS, labels=columns, population="reports", is_report=False),
        ]
        out = arguments.out or folder / "model"
        result = train(recipe(), supplies, out)
        print(
            f"{result.steps} steps in {result.seconds:.0f} s, validation loss {result.figures['validation_loss']:.3f}"
        )
        encoder = callosum.load_encoder(f"local-dir:{out}")
        rng = np.random.default_rng(1)
        truth = [bool(n % 2) for n in range(100)]
        films = encoder.encode_image([np.asarray(picture((is_there, False), rng)) for is_there in truth]).matrix
        words = encoder.encode_text(["There is a pleural effusion on the left.", "No acute finding."]).matrix
        found = (films @ words.T).argmax(axis=1) == 0
        accuracy = float(np.mean(found == np.array(truth)))
        print(f"effusion or none, by words, on 100 new pictures: accuracy {accuracy:.2f}")
        if accuracy < 0.8:
            message = "the example learnt less than it should"
            raise SystemExit(message)


if __name__ == "__main__":
    main()
