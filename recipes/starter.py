"""The starter model, from the open data packs to the folder that ships with the package.

    python -m recipes.starter --data DIR --out DIR [--seed N]

Two idle CPU cores need about an hour and a half. An interrupted run continues when the command is given again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from callosum.models.checkpoints.cards import Card
from callosum.models.checkpoints.save import save_checkpoint
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.tokenizer import WordPiece
from callosum.models.vision.sizes import HybridConfig
from callosum.train.config import TrainConfig
from callosum.train.examination import quick_scores
from callosum.train.loop import Material, Trainer
from callosum.train.packs import Row, read_rows, read_text_only
from callosum.train.pixels import load_pixels
from callosum.train.state import load_state, save_state
from callosum.train.temper import temper_text, tempering
from callosum.train.vocabulary import build_wordpiece

CARD_TEXT = Path(__file__).parent / "starter_card.json"
MNIST_PER_CLASS = 320
"""medical_mnist is easy and large; this many pictures of each of its six classes are enough."""
LEFT_OUT = frozenset({("medical_mnist", "CXR_003876"), ("medical_mnist", "CXR_006203")})
"""Training rows that are a validation row of cxr_nih14: the films nih_00001992_016 and nihlo_00000239_005.

The second was found after the run whose weights ship; its card says so.
"""
MIXED_LICENCE = "covid-image-data-collection"
"""Rows of cxr_notes from this collection are open pictures under a table of notes that is not: left out."""
SAVE_EVERY = 100
SHIPPED_CONTEXT = 40
TEMPER_POWER, TEMPER_RIDGE = 0.5, 0.3
REDUCING_GAP = 2.0


def config(seed: int) -> TrainConfig:
    """Every choice of the run that shipped."""
    return TrainConfig(
        vision=HybridConfig(
            size_px=128,
            stem=32,
            widths=(48, 96, 192),
            depths=(2, 2, 2),
            token_width=256,
            num_blocks=1,
            num_heads=4,
            thumbnail_px=16,
            dropout=0.1,
        ),
        text_width=256,
        text_blocks=1,
        dim=256,
        vocab_size=5000,
        context_length=96,
        window=40,
        store_px=160,
        batch_rows={
            "roco_open": 96,
            "cxr_nih14": 52,
            "cxr_pediatric": 18,
            "medical_mnist": 14,
            "path_lc25000": 24,
            "us_breast_busi": 28,
            "blood_bccd": 4,
            "cxr_notes": 4,
            "us_lung_pocus": 4,
        },
        num_steps=1600,
        learning_rate=1.5e-3,
        weight_decay=0.1,
        warmup_share=0.05,
        ema_decay=0.998,
        views=1,
        word_dropout=0.2,
        template_dropout=0.08,
        prompt_weight=1.0,
        words_weight=0.3,
        view_weight=0.3,
        smoothing=0.2,
        text_dropout=0.1,
        seed=seed,
        num_threads=2,
    )


def split_rows(rows: Sequence[Row], *, seed: int) -> tuple[list[Row], list[Row]]:
    """Training and validation rows; medical_mnist is thinned out.

    A training row is left out when its group (patient, article, near-duplicates) has rows outside the training split.
    """
    elsewhere = {(row.pack, row.group) for row in rows if row.split != "train"}
    rows = [row for row in rows if row.split != "train" or (row.pack, row.group) not in elsewhere]
    rows = [row for row in rows if (row.pack, row.row_id) not in LEFT_OUT and row.source != MIXED_LICENCE]
    rng = random.Random(seed)
    shuffled = rng.sample(list(rows), k=len(rows))
    taken: Counter[tuple[str, str]] = Counter()
    kept = set()
    for row in shuffled:
        taken[row.split, row.label] += 1
        if row.pack != "medical_mnist" or taken[row.split, row.label] <= MNIST_PER_CLASS:
            kept.add((row.pack, row.row_id))
    chosen = [row for row in rows if (row.pack, row.row_id) in kept]
    return [r for r in chosen if r.split == "train"], [r for r in chosen if r.split == "val"]


def vocabulary(settings: TrainConfig, rows: Sequence[Row], extra_texts: Sequence[str], *, path: Path) -> WordPiece:
    """The run's word pieces: equal rows, texts and seed give equal ones."""
    wordpiece = build_wordpiece(
        rows,
        extra_texts,
        vocab_size=settings.vocab_size,
        context_length=settings.context_length,
        seed=settings.seed,
    )
    wordpiece.save(path)
    return wordpiece


def examine(trainer: Trainer, wordpiece: WordPiece, rows: Sequence[Row], pixels: np.ndarray) -> dict[str, float]:
    """Validation scores of the averaged weights."""
    model = trainer.average.eval()

    def encode_text(texts: Sequence[str]) -> np.ndarray:
        ids, mask = wordpiece(texts)
        with torch.inference_mode():
            return model.encode_text(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()

    with torch.inference_mode():
        parts = [model.encode_image(torch.from_numpy(pixels[n : n + 64])).numpy() for n in range(0, len(pixels), 64)]
    return quick_scores(np.concatenate(parts), rows, encode_text)


def train(data: Path, out: Path, *, seed: int, num_steps: int | None = None) -> Path:
    """Read the packs, train, and write the checkpoint folder, its card and the validation scores."""
    settings = config(seed)
    if num_steps:
        settings = TrainConfig(**{**vars(settings), "num_steps": num_steps})
    torch.set_num_threads(settings.num_threads)
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # lets oneDNN choose the kernel; towers run in bfloat16 anyway
    out.mkdir(parents=True, exist_ok=True)
    train_rows, validation_rows = split_rows(read_rows(data), seed=seed)
    extra_texts = read_text_only(data)
    wordpiece = vocabulary(settings, train_rows, extra_texts, path=out / "tokenizer.json")
    preprocess = Preprocess(size_px=settings.vision.size_px, reducing_gap=REDUCING_GAP)
    pixels = load_pixels(train_rows, replace(preprocess, size_px=settings.store_px))
    validation_pixels = load_pixels(validation_rows, preprocess)
    material = Material(rows=train_rows, pixels=pixels, wordpiece=wordpiece, extra_texts=extra_texts)
    torch.manual_seed(seed)
    trainer = Trainer(settings, material)
    state = out / "state.safetensors"
    if state.exists():
        load_state(trainer, state)
        torch.manual_seed(seed + trainer.step)
    terms: Counter[str] = Counter()

    def report(step: int, values: dict[str, float]) -> None:
        terms.update(values)
        if step % 20 == 0:
            shown = "  ".join(f"{name} {total / 20:.3f}" for name, total in terms.items())
            terms.clear()
            done = f"[{'#' * int(30 * step / settings.num_steps):<30}] {step}/{settings.num_steps}"
            print(f"{done}  {trainer.seconds:.0f} s  {shown}", file=sys.stderr, flush=True)

    while trainer.step < settings.num_steps:
        trainer.run(until=min(settings.num_steps, trainer.step + SAVE_EVERY), report=report)
        save_state(trainer, state)
        if trainer.step % 300 == 0 or trainer.step == settings.num_steps:
            scores = examine(trainer, wordpiece, validation_rows, validation_pixels)
            text = json.dumps({"step": trainer.step, **scores}, indent=1)
            (out / f"scores-{trainer.step}.json").write_text(text + "\n", encoding="utf-8")
            print(text, file=sys.stderr, flush=True)
            trainer.model.train()
    wordpiece = shorten(trainer.average, wordpiece, path=out / "tokenizer.json")
    temper(trainer.average, wordpiece, train_rows, preprocess)
    card = starter_card(settings, train_rows, seconds=trainer.seconds)
    folder = out / "starter"
    save_checkpoint(folder, trainer.average, wordpiece=wordpiece, preprocess=preprocess, card=card)
    (folder / "LICENSES.md").write_text(attribution(card), encoding="utf-8")
    return folder


def shorten(model: DualEncoder, wordpiece: WordPiece, *, path: Path) -> WordPiece:
    """Keep the first `SHIPPED_CONTEXT` places of the text tower: as many as it saw at once in training."""
    model.text.place = torch.nn.Parameter(model.text.place.detach()[:SHIPPED_CONTEXT].clone())
    model.text.config = replace(model.text.config, context_length=SHIPPED_CONTEXT)
    model.config = replace(model.config, text=model.text.config)
    return WordPiece.from_file(path, context_length=SHIPPED_CONTEXT)


def temper(model: DualEncoder, wordpiece: WordPiece, rows: Sequence[Row], preprocess: Preprocess) -> None:
    """Turn down the directions that all ROCO training captions and figures share; power chosen on an earlier run."""
    figures = [row for row in rows if row.pack == "roco_open"]
    pixels = torch.from_numpy(load_pixels(figures, preprocess))
    captions = [row.texts[0] for row in figures]
    parts = []
    with torch.inference_mode():
        for start in range(0, len(figures), 64):
            part = slice(start, start + 64)
            ids, mask = wordpiece(captions[part])
            parts.append(model.encode_image(pixels[part]).numpy())
            parts.append(model.encode_text(torch.from_numpy(ids), torch.from_numpy(mask)).numpy())
    temper_text(model, tempering(np.concatenate(parts), power=TEMPER_POWER, ridge=TEMPER_RIDGE))


def starter_card(settings: TrainConfig, rows: Sequence[Row], *, seconds: float) -> Card:
    """The card without measured quality, which `benchmarks/starter.py` adds."""
    values = json.loads(CARD_TEXT.read_text(encoding="utf-8"))
    counts = Counter(row.pack for row in rows)
    for entry in values["data"]:
        entry["training_rows"] = counts[entry["pack"]]
    hyper_parameters = {**asdict(settings), "medical_mnist_per_class": MNIST_PER_CLASS}
    hyper_parameters |= {
        "shipped_context": SHIPPED_CONTEXT,
        "temper_power": TEMPER_POWER,
        "temper_ridge": TEMPER_RIDGE,
        "reducing_gap": REDUCING_GAP,
        "training_s": round(seconds),
    }
    return Card(**values, hyper_parameters=hyper_parameters)


def attribution(card: Card) -> str:
    """Licences and sources of the card as a page that travels with the weights."""
    lines = [f"# Licences of {card.name}", "", f"Weights: {card.licence}", "", "Trained on, with thanks to:", ""]
    for entry in card.data:
        lines.append(f"- **{entry['pack']}** ({entry['training_rows']} pictures): {entry['what']}.")
        lines.append(f"  Licence: {entry['licence']}. Source: {entry['attribution']}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("CALLOSUM_DATA"), help="folder of the packs")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="fewer steps, to try the recipe")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the folder of the packs with --data or CALLOSUM_DATA")
    print(train(arguments.data, arguments.out, seed=arguments.seed, num_steps=arguments.steps))


if __name__ == "__main__":
    main()
