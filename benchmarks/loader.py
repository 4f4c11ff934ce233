"""How fast training data come from a built cache: pictures a second of processor time, on one thread.

    python -m benchmarks.loader [--quick] [--json]

Building the cache is measured by the clock, for it happens in other processes. `share of a step` is the loader's
processor time over that of a whole step of a real run, loader included, for each recipe that reads pictures, with the
small towers it has: the cheapest step there is, so that larger towers leave the loader less.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.figures import Figure, arguments, save, show
from callosum.models.preprocess import Preprocess
from callosum.models.tokenizer import SubwordTokenizer, train_wordpiece
from callosum.train.augment_recipes import Recipe
from callosum.train.loader import Loader, LoaderConfig, RecipeOn
from callosum.train.material import read_material
from callosum.train.mixture import MixtureConfig
from callosum.train.pixel_cache import CacheConfig, PixelCache, build_cache
from callosum.train.recipe import with_settings
from callosum.train.recipes import find_recipe
from callosum.train.run import train
from callosum.train.sentences import SentenceConfig, Take
from callosum.train.sources import cache_config
from callosum.train.stock import Material
from callosum.train.supply import Kind, Supply

BATCH = 32
SIZE_PX = 224
SOURCE_PX = 512
MANIFEST = "manifest.csv"
MOST = 0.10
STEPS, FIRST = 9, 3
"""Steps of a run whose share is measured, and how many of them are not counted."""
SENTENCES = ("The heart is enlarged.", "There is no pleural effusion.", "The lungs are clear of consolidation.")


def synthetic(folder: Path, *, num: int) -> Material:
    """Pairs of noise films and reports."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(num):
        Image.fromarray(rng.integers(0, 256, (SOURCE_PX, SOURCE_PX), np.uint8)).save(folder / f"{n}.jpg")
        text = f"FINDINGS: {' '.join(SENTENCES)} This is film {n}."
        label = ("positive", "negative")[n % 2]
        rows.append({"path": f"{n}.jpg", "patient_id": f"p{n}", "split": "train", "text": text, "Large": label})
    with (folder / MANIFEST).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return read_material([Supply(manifest=folder / MANIFEST, kind=Kind.PAIRS)])


def seconds_per_batch(material: Material, cache: PixelCache, config: LoaderConfig, *, num_batches: int) -> float:
    """Processor time of a batch, all threads together, after those that were prepared."""
    texts = [sentence for text in material.texts for sentence in text.sentences]
    tokenizer = SubwordTokenizer(train_wordpiece(texts, vocab_size=2000), context_length=64)
    with Loader(material, cache, config, tokenizer=tokenizer) as loader:
        return seconds_each(loader, config.num_ahead, num_batches=num_batches)


def seconds_each(loader: Loader, num_ahead: int, *, num_batches: int) -> float:
    """Processor time of a batch, all threads together."""
    for _ in range(num_ahead + 2):
        next(loader)
    start = time.process_time()
    for _ in range(num_batches):
        next(loader)
    return (time.process_time() - start) / num_batches


def run(*, is_quick: bool) -> list[Figure]:
    """Every recipe on grey and on coloured squares; how fast the cache is built and opened."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material = synthetic(folder, num=64 if is_quick else 512)
        num_batches = 4 if is_quick else 24
        for num_channels, colours in ((1, "grey"), (3, "colour")):
            start = time.perf_counter()
            config = CacheConfig(num_channels=num_channels, num_processes=1)
            cache = build_cache(material.sources, folder / "cache", config)
            rate = len(material.pictures) / (time.perf_counter() - start)
            figures.append(Figure(name=f"cache built, {colours}, one process", value=rate, unit="images/s"))
            for recipe in Recipe:
                value = _rate(material, cache, recipe, RecipeOn.LOADER, num_batches=num_batches)
                figures.append(Figure(name=f"loader, {colours}, {recipe}", value=value, unit="images/s"))
            value = _rate(material, cache, Recipe.NONE, RecipeOn.LOOP, num_batches=num_batches)
            figures.append(Figure(name=f"loader, {colours}, bytes for the device", value=value, unit="images/s"))
        figures += [share(name, folder) for name in READING]
    return figures


READING = ("clip", "convirt", "medclip", "gloria", "finetune")


def share(name: str, folder: Path) -> Figure:
    """The loader's part of a step of a recipe, grey pictures, cache built."""
    settings = [f"num_steps={STEPS}", "num_threads=1", "watch.validate_every=0", "batch.num_channels=1"]
    config = with_settings(find_recipe(name), settings)
    labels = {"Large": "Large"} if name == "medclip" else {}
    supply = Supply(manifest=folder / MANIFEST, kind=Kind.PAIRS, labels=labels)
    times: list[float] = []

    def tell(event: Mapping[str, Any]) -> None:
        if event["kind"] == "step":
            times.append(time.process_time())

    out = folder / f"run-{name}"
    train(config, [supply], out, pixels=folder / "cache", tell=tell)
    step_s = (times[-1] - times[FIRST - 1]) / (len(times) - FIRST)
    material = read_material([supply])
    preprocess = Preprocess(size_px=128) if name == "gloria" else Preprocess()
    cache = build_cache(material.sources, folder / "cache", cache_config(config, preprocess))
    batch = config.batch
    mixture = MixtureConfig(num_pairs=batch.num_pairs, num_images=batch.num_images, num_texts=batch.num_texts)
    loading = LoaderConfig(
        mixture=mixture, sentences=config.sentences, recipe=batch.augmentation, size_px=preprocess.size_px
    )
    with Loader(material, cache, loading) as loader:
        loader_s = seconds_each(loader, loading.num_ahead, num_batches=STEPS - FIRST)
    return Figure(name=f"share of a step, {name}", value=loader_s / step_s, target=MOST, is_at_least=False)


def _rate(material: Material, cache: PixelCache, recipe: Recipe, on: RecipeOn, *, num_batches: int) -> float:
    config = LoaderConfig(
        mixture=MixtureConfig(num_pairs=BATCH),
        sentences=SentenceConfig(take=Take.ONE),
        recipe=recipe,
        recipe_on=on,
        size_px=SIZE_PX,
    )
    return BATCH / seconds_per_batch(material, cache, config, num_batches=num_batches)


def main() -> None:
    """Measure, print, and write `results/loader.json`."""
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    figures = run(is_quick=options.quick)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("loader", figures)


if __name__ == "__main__":
    main()
