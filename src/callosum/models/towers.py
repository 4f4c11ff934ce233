"""Which towers there are, by the name of their kind; sizes are read here without torch, networks are built with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any

from callosum.core.config import config_from
from callosum.core.errors import InputError

_KINDS = {
    "hybrid": ("vision.sizes", "HybridConfig", "vision.hybrid", "Hybrid"),
    "vit": ("vision.vit", "ViTConfig", "vision.vit", "ViT"),
    "swin": ("vision.swin", "SwinConfig", "vision.swin", "Swin"),
    "resnet": ("vision.resnet", "ResNetConfig", "vision.resnet", "ResNet"),
    "clip_resnet": ("vision.clip_resnet", "ClipResNetConfig", "vision.clip_resnet", "ClipResNet"),
    "small": ("text.sizes", "SmallTextConfig", "text.small", "SmallText"),
    "bert": ("text.bert", "BertConfig", "text.bert", "Bert"),
    "clip_text": ("text.clip_text", "ClipTextConfig", "text.clip_text", "ClipText"),
}


class Projection(StrEnum):
    """What leads from a tower's features to the shared space; the first three are `open_clip`'s `hf_proj_type`."""

    NONE = "none"
    LINEAR = "linear"
    MLP = "mlp"
    AFFINE = "affine"
    """Linear with a bias (GLoRIA's image side)."""
    RELU = "relu"
    """Two linear layers with biases, and a ReLU between them (ConVIRT)."""


@dataclass(frozen=True, kw_only=True)
class DualConfig:
    """Sizes of both towers and of what joins them, as in `config.json`.

    Attributes:
        dim: Width of the shared space.
        vision: Sizes of the image tower.
        text: Sizes of the text tower.
        image_head: From image features to the space.
        text_head: From text features to the space.
        has_regions: Whether regions of a picture are projected to the space too (GLoRIA).
        has_logit_bias: Whether similarities have a bias (SigLIP).
        max_logit_scale: Bound of one over the temperature.
    """

    dim: int
    vision: Any
    text: Any
    image_head: Projection = Projection.LINEAR
    text_head: Projection = Projection.LINEAR
    has_regions: bool = False
    has_logit_bias: bool = False
    max_logit_scale: float = 100.0

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DualConfig:
        """Read what `to_json` wrote.

        Raises:
            InputError: a tower of an unknown kind.
            UsageError: an unknown setting.
        """
        towers = {side: tower_config(values[side]) for side in ("vision", "text")}
        return config_from(cls, {**values, **towers})

    def to_json(self) -> dict[str, Any]:
        """A JSON value that names each tower's kind."""
        towers = {side: {"kind": kind_of(getattr(self, side)), **asdict(getattr(self, side))} for side in _SIDES}
        return {**asdict(self), **towers}


_SIDES = ("vision", "text")


def tower_config(values: Mapping[str, Any]) -> Any:
    """Sizes of a tower from their JSON value, whose `kind` says which.

    Raises:
        InputError: the kind is not known.
        UsageError: an unknown setting.
    """
    kind = values.get("kind")
    if kind not in _KINDS:
        message = f"A tower is of one of the kinds {', '.join(_KINDS)}; found {kind!r}."
        raise InputError(message)
    module, name, _, _ = _KINDS[kind]
    sizes = {key: value for key, value in values.items() if key != "kind"}
    return config_from(getattr(import_module(f"callosum.models.{module}"), name), sizes)


def kind_of(config: Any) -> str:
    """Name of the kind of tower with these sizes."""
    return next(kind for kind, (_, name, _, _) in _KINDS.items() if type(config).__name__ == name)


def build_tower(config: Any) -> Any:
    """The tower with these sizes, its weights random until others are loaded."""
    _, _, module, name = _KINDS[kind_of(config)]
    return getattr(import_module(f"callosum.models.{module}"), name)(config)
