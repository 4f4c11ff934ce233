"""Depths of stock towers, where no setting says them.

Blocks that a file lacks at its end would not be missed if those that are there were counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from callosum.models.towers import kind_of

TIMM = {
    "tiny": 12,
    "xsmall": 12,
    "small": 12,
    "medium": 12,
    "betwixt": 12,
    "base": 12,
    "so150m": 18,
    "large": 24,
    "so400m": 27,
    "huge": 32,
    "giant": 40,
    "gigantic": 48,
}
"""Blocks by timm's word for the size."""
BERT = {768: 12, 1024: 24}
"""Layers of BERT-base and BERT-large, by width."""
BY_WIDTH: dict[str, dict[int, Any]] = {
    "bert": BERT,
    "vit": {768: 12, 1024: 24},
    "clip_text": {512: 12, 640: 12, 768: 12, 1024: 12},
    "swin": {96: (2, 2, 6, 2)},
    "resnet": {64: (3, 4, 6, 3)},
}
"""Of what OpenAI, MedCLIP and GLoRIA published, by kind of tower and width."""


def timm_depth(timm_name: str) -> int | None:
    """Blocks of one of timm's vision transformers; None where the name is not one of stock."""
    return TIMM.get(timm_name.split(".")[0].split("_")[1]) if "_" in timm_name else None


def as_published(tower: Any) -> Any:
    """The sizes of a tower with the depth that all published ones of its width have."""
    kind = kind_of(tower)
    depth = BY_WIDTH.get(kind, {}).get(tower.stem if kind == "resnet" else getattr(tower, "width", 0))
    return with_depth(tower, depth)


def with_depth(tower: Any, depth: Any) -> Any:
    """The sizes of a tower with this depth, where it is known; its weights are then compared with that."""
    if depth is None:
        return tower
    return replace(tower, **{"depths" if hasattr(tower, "depths") else "num_blocks": depth})
