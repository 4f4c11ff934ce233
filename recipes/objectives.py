"""The five objectives on the same towers with the same budget, so that they can be compared.

    callosum train recipes/objectives.py:medclip --data images:films.csv --data texts:reports.csv --out model

The towers have regions and words, which GLoRIA needs, and which the others do not look at. They are small, and so is
the budget: a run takes about a minute on one core. `python -m benchmarks.objectives` runs them.
"""

from __future__ import annotations

from dataclasses import replace

from callosum.models.architectures import Architecture
from callosum.models.preprocess import Preprocess
from callosum.models.text.bert import BertConfig
from callosum.models.text.pooling import Pool
from callosum.models.towers import DualConfig, Projection
from callosum.models.vision.resnet import ResNetConfig
from callosum.train import recipes
from callosum.train.augment_recipes import Recipe as Augmentation
from callosum.train.optim import OptimConfig
from callosum.train.precision import StepPrecision
from callosum.train.recipe import RunConfig, WatchConfig
from callosum.train.sentences import SentenceConfig, Take

NUM_STEPS, ROWS = 300, 64
SIDE_PX, WIDTH, PIECES = 64, 128, 32


def towers() -> Architecture:
    """A narrow ResNet of four blocks for 64 px, and a BERT of three layers for 32 word pieces."""
    config = DualConfig(
        dim=WIDTH,
        vision=ResNetConfig(stem=16, depths=(1, 1, 1, 1)),
        text=BertConfig(
            vocab_size=4000,
            width=WIDTH,
            num_blocks=3,
            num_heads=4,
            hidden=2 * WIDTH,
            max_positions=PIECES,
            context_length=PIECES,
            pool=Pool.GLORIA,
        ),
        image_head=Projection.AFFINE,
        has_regions=True,
    )
    return Architecture(config=config, preprocess=Preprocess(size_px=SIDE_PX), temperature=0.07)


def _same(config: RunConfig) -> RunConfig:
    """The recipe on the towers that all can use, with the budget, the pictures and the words that all have."""
    num_pairs = ROWS if config.batch.num_pairs else 0
    batch = replace(config.batch, num_pairs=num_pairs, num_images=ROWS - num_pairs, num_texts=ROWS - num_pairs)
    return replace(
        config,
        name=f"compared.{config.objective}",
        architecture=towers(),
        num_steps=NUM_STEPS,
        precision=StepPrecision.BF16,
        ema_decay=0.998,
        batch=replace(batch, augmentation=Augmentation.MEDCLIP, num_channels=1),
        sentences=SentenceConfig(take=Take.WHOLE),
        optim=OptimConfig(learning_rate=1e-3, weight_decay=0.1, warmup_share=0.05),
        watch=WatchConfig(validate_every=0, save_every=NUM_STEPS),
    )


def clip() -> RunConfig:
    """Radford et al. 2021."""
    return _same(recipes.clip())


def siglip() -> RunConfig:
    """Zhai et al. 2023."""
    return _same(recipes.siglip())


def convirt() -> RunConfig:
    """Zhang et al. 2020."""
    return _same(recipes.convirt())


def gloria() -> RunConfig:
    """Huang et al. 2021."""
    return _same(recipes.gloria())


def medclip() -> RunConfig:
    """Wang et al. 2022; pictures and texts need not be pairs. At the paper's temperature, 1, pairs teach little."""
    return _same(recipes.medclip())
