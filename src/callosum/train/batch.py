"""Batches: rows of every pack in fixed numbers, a caption each, and prompts for the classes the rows have."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from callosum.train.captions import Caption, Captioner
from callosum.train.facts import truth_matrix
from callosum.train.packs import Row

MODALITY_CLASSES = ("xray", "ct", "mri", "ultrasound", "histology", "smear")
ORGAN_CLASSES = (
    "xray:chest",
    "xray:hand",
    "ct:chest",
    "ct:abdomen",
    "ct:head",
    "mri:head",
    "mri:breast",
    "ultrasound:heart",
    "ultrasound:breast",
    "ultrasound:lung",
)
MNIST_CLASSES = ("ct:abdomen", "mri:breast", "xray:chest", "ct:chest", "xray:hand", "ct:head")
FILM_FINDINGS = ("pneumonia", "effusion", "infiltration", "atelectasis", "edema", "cardiomegaly", "consolidation")


class Sampler:
    """Draws rows pack by pack, each pack without replacement until it is used up."""

    def __init__(self, rows: Sequence[Row], batch_rows: Mapping[str, int], *, rng: np.random.Generator) -> None:
        self.batch_rows = batch_rows
        self.rng = rng
        self.members = {p: np.array([n for n, r in enumerate(rows) if r.pack == p]) for p in batch_rows}
        self.queue: dict[str, list[int]] = {p: [] for p in batch_rows}

    def draw(self) -> Int64[np.ndarray, " B"]:
        """Row numbers of one batch."""
        chosen: list[int] = []
        for pack, wanted in self.batch_rows.items():
            if len(self.members[pack]) == 0:
                continue
            while len(self.queue[pack]) < wanted:
                self.queue[pack] += self.rng.permutation(self.members[pack]).tolist()
            chosen += [self.queue[pack].pop(0) for _ in range(wanted)]
        return np.array(chosen, np.int64)


@dataclass(frozen=True, kw_only=True)
class PromptTask:
    """Prompts that exclude each other, and which of them is true of which row.

    Attributes:
        texts: One prompt per class.
        truth: 1 true, 0 false, NaN not known; rows without any true prompt do not count.
        weight: Weight of the task.
    """

    texts: tuple[str, ...]
    truth: Float[Tensor, "B K"]
    weight: float


def caption_batch(rows: Sequence[Row], captioner: Captioner) -> tuple[list[Caption], Float[Tensor, "B B"]]:
    """One caption per row and the truth of every caption for every row."""
    captions = [captioner.for_row(row) for row in rows]
    truth = truth_matrix(
        [row.facts for row in rows],
        [c.asserts for c in captions],
        picture_keys=[c.key or f"#{n}" for n, c in enumerate(captions)],
        caption_keys=[c.key for c in captions],
    )
    np.fill_diagonal(truth, 1.0)
    return captions, torch.from_numpy(truth)


def prompt_tasks(rows: Sequence[Row], captioner: Captioner, *, rng: random.Random) -> list[PromptTask]:
    """Tasks of one step, each with newly worded prompts."""
    plans: list[tuple[list[tuple[str, str]], tuple[str, ...], float]] = [
        ([("modality", name) for name in MODALITY_CLASSES], (), 0.5),
        ([("organ", name) for name in ORGAN_CLASSES], (), 0.5),
        ([("organ", name) for name in MNIST_CLASSES], ("medical_mnist",), 0.5),
        ([("histology", n) for n in ("adenocarcinoma", "squamous", "benign")], ("path_lc25000",), 1.0),
        ([("breast", n) for n in ("normal", "benign", "malignant")], ("us_breast_busi",), 1.0),
        ([("child", "normal"), ("child", "pneumonia")], ("cxr_pediatric",), 0.3),
        ([("child", "normal"), ("child", "bacterial"), ("child", "viral")], ("cxr_pediatric",), 0.3),
        ([("film", "normal"), ("film", "pneumonia")], ("cxr_pediatric", "cxr_nih14", "cxr_notes"), 0.4),
        ([("film", "normal"), ("not_film", "normal")], ("cxr_nih14", "cxr_pediatric"), 0.8),
    ]
    finding = rng.choice(FILM_FINDINGS)
    plans.append(([("film", finding), ("not_film", finding)], ("cxr_nih14",), 0.4))
    plans.append(([("film", "normal"), ("film", finding)], ("cxr_nih14",), 0.3))
    tasks = []
    for classes, packs, weight in plans:
        prompts = [captioner.for_class(task, name) for task, name in classes]
        truth = truth_matrix([r.facts for r in rows], [p.asserts for p in prompts])
        if packs:
            outside = np.array([row.pack not in packs for row in rows])
            truth[outside] = np.nan
        tasks.append(PromptTask(texts=tuple(p.text for p in prompts), truth=torch.from_numpy(truth), weight=weight))
    return tasks


def drop_words(
    ids: Sequence[Sequence[int]], share: Sequence[float], *, mask_id: int, vocab_size: int, rng: random.Random
) -> list[list[int]]:
    """Mask two in five of a share of the word pieces, replace one in five, leave the others out; one always stays."""
    out = []
    for row, rate in zip(ids, share, strict=True):
        kept: list[int] = []
        for piece in row:
            if rng.random() >= rate:
                kept.append(piece)
            elif (roll := rng.random()) < 0.4:
                kept.append(mask_id)
            elif roll < 0.6:
                kept.append(rng.randrange(mask_id + 1, vocab_size))
        out.append(kept or [rng.choice(row)])
    return out
