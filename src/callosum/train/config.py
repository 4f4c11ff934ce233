"""Every choice of a run, in one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from callosum.models.vision.sizes import HybridConfig

BATCH_ROWS = {
    "roco_open": 88,
    "cxr_nih14": 52,
    "cxr_pediatric": 18,
    "medical_mnist": 18,
    "path_lc25000": 24,
    "us_breast_busi": 28,
    "blood_bccd": 4,
    "cxr_notes": 4,
    "us_lung_pocus": 4,
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of `train.loop`.

    Attributes:
        vision: Image tower.
        text_width: Width of the text tower.
        text_blocks: Transformer blocks of the text tower.
        dim: Width of the shared space.
        vocab_size: Word pieces.
        context_length: Longest text in word pieces.
        window: Longest run of word pieces of a text that is seen in one step.
        store_px: Side of the pictures kept in memory, from which crops are taken.
        batch_rows: Rows of each pack in every batch.
        num_steps: Optimiser steps.
        learning_rate: Peak of AdamW's rate, after a linear warm-up and before a cosine.
        weight_decay: Decay of matrices.
        warmup_share: Share of the steps that warm up.
        ema_decay: Decay of the averaged weights, which are the ones kept.
        views: Augmented views of each picture per step; two add an image-to-image term.
        word_dropout: Share of word pieces masked in free texts.
        template_dropout: The same in template captions.
        prompt_weight: Weight of the class-prompt term.
        words_weight: Weight of predicting caption words from features (head dropped after training).
        view_weight: Weight of the image-to-image term when there are two views.
        smoothing: Share of the target given to captions that resemble a free text.
        text_dropout: Dropout of the text tower.
        seed: Seed of every generator.
        num_threads: Threads of torch.
    """

    vision: HybridConfig = field(default_factory=HybridConfig)
    text_width: int = 256
    text_blocks: int = 1
    dim: int = 256
    vocab_size: int = 5000
    context_length: int = 96
    window: int = 40
    store_px: int = 144
    batch_rows: Mapping[str, int] = field(default_factory=lambda: dict(BATCH_ROWS))
    num_steps: int = 2000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.1
    warmup_share: float = 0.05
    ema_decay: float = 0.998
    views: int = 1
    word_dropout: float = 0.2
    template_dropout: float = 0.05
    prompt_weight: float = 1.0
    words_weight: float = 0.3
    view_weight: float = 0.3
    smoothing: float = 0.2
    text_dropout: float = 0.1
    seed: int = 0
    num_threads: int = 2
