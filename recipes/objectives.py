"""The five objectives on the same towers with the same budget, so that they can be compared.

    callosum train recipes/objectives.py:medclip --data images:films.csv --data texts:reports.csv --out model

The towers have regions and words, which GLoRIA needs, and which the others do not look at.
"""

from __future__ import annotations

from dataclasses import replace

from callosum.models.towers import DualConfig
from callosum.train import recipes
from callosum.train.optim import OptimConfig
from callosum.train.recipe import RunConfig, WatchConfig

NUM_STEPS, ROWS = 1000, 64


def _same(config: RunConfig) -> RunConfig:
    """The recipe on the towers that all can use, with the budget that all have."""
    towers = recipes.region_towers()
    dual: DualConfig = replace(towers.config, has_logit_bias=config.objective == "siglip")
    is_paired = bool(config.batch.num_pairs)
    rows = {"num_pairs": ROWS} if is_paired else {"num_images": ROWS, "num_texts": ROWS}
    return replace(
        config,
        name=f"compared.{config.objective}",
        architecture=replace(towers, config=dual),
        num_steps=NUM_STEPS,
        ema_decay=0.998,
        batch=replace(config.batch, **rows),
        optim=OptimConfig(learning_rate=1e-3, weight_decay=0.1, warmup_share=0.05),
        watch=WatchConfig(validate_every=200, save_every=200),
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
    """Wang et al. 2022; pictures and texts need not be pairs."""
    return _same(recipes.medclip())
