"""`open_clip_config.json`: what it says about towers and preprocessing; what is not computed is refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from callosum.core.errors import InputError
from callosum.models.checkpoints.bert_sizes import bert_config
from callosum.models.checkpoints.remap import split
from callosum.models.checkpoints.stock import as_published, timm_depth, with_depth
from callosum.models.layers import Activation
from callosum.models.preprocess import Fit, Preprocess, Resample
from callosum.models.text.clip_text import ClipTextConfig
from callosum.models.text.pooling import Pool
from callosum.models.towers import DualConfig, Projection
from callosum.models.vision.clip_resnet import clip_resnet_config
from callosum.models.vision.vit import clip_vit_config, vit_config

SETTINGS = "open_clip_config.json"
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
HEAD_WIDTH = 64
NUM_HEADS = 8
"""Of CLIP's text tower in a folder whose settings do not say, as in open_clip."""
CLIP_RESNET_STRIDE = 32
FITS = {"shortest": Fit.CROP, "squash": Fit.SQUEEZE}
Shapes = Mapping[str, Sequence[int]]

KNOWN: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "model": {
        "embed_dim": None,
        "vision_cfg": None,
        "text_cfg": None,
        "quick_gelu": (True, False),
        "custom_text": None,
        "init_logit_scale": None,
        "init_logit_bias": None,
        "cast_dtype": None,
    },
    "vision": {
        "image_size": None,
        "timm_model_name": None,
        "timm_model_pretrained": None,
        "timm_pool": ("", "token"),
        "timm_proj": ("linear", "", "none"),
        "timm_proj_bias": (True, False),
        "timm_drop": None,
        "timm_drop_path": None,
        "layers": None,
        "width": None,
        "head_width": None,
        "patch_size": None,
        "mlp_ratio": None,
        "patch_dropout": None,
        "ls_init_value": (None,),
        "attentional_pool": (False,),
        "pool_type": ("tok",),
        "final_ln_after_pool": (False,),
        "no_ln_pre": (True, False),
        "pos_embed_type": ("learnable",),
        "output_tokens": (False,),
    },
    "text": {
        "context_length": None,
        "vocab_size": None,
        "width": None,
        "heads": None,
        "layers": None,
        "mlp_ratio": None,
        "hf_model_name": None,
        "hf_tokenizer_name": None,
        "hf_model_pretrained": None,
        "hf_proj_type": ("mlp", "linear", "none", "", None),
        "hf_pooler_type": (Pool.CLS.value, Pool.MEAN.value, Pool.MAX.value),
        "tokenizer_kwargs": (None, {}),
        "ls_init_value": (None,),
        "embed_cls": (False,),
        "pool_type": ("argmax",),
        "no_causal_mask": (False,),
        "final_ln_after_pool": (False,),
        "proj_bias": (False,),
        "proj_type": ("linear",),
        "pad_id": None,
        "output_tokens": (False,),
    },
    "preprocess": {
        "size": None,
        "mode": ("RGB",),
        "mean": None,
        "std": None,
        "interpolation": ("bicubic", "bilinear"),
        "resize_mode": tuple(FITS),
        "fill_color": None,
    },
}
"""Settings by section, with the values that are computed; None where any value is, or none matters."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `open_clip_config.json` says.

    Attributes:
        dim: Width of the shared space.
        vision: Settings of the image tower.
        text: Settings of the text tower.
        activation: Of CLIP's own towers.
        preprocess: From a picture to the tower's input.
    """

    dim: int
    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    activation: Activation
    preprocess: Preprocess
    size_px: int = field(default=224)

    @property
    def family(self) -> str:
        """`biomedclip` for towers of its names and sizes; a text tower of its name alone is no sign, many have it."""
        name = str(self.text.get("hf_model_name", "")).lower()
        is_its_size = str(self.vision.get("timm_model_name")).startswith("vit_base_patch16_224") and self.dim == 512
        return "biomedclip" if "biomednlp" in name and is_its_size else "open_clip"


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Check every setting and keep what is needed.

    Raises:
        InputError: a setting is missing, unknown, or has a value that is not computed; it is named.
    """
    model = values.get("model_cfg")
    if not isinstance(model, Mapping) or not {"embed_dim", "vision_cfg", "text_cfg"} <= set(model):
        message = f"{SETTINGS} must hold model_cfg with embed_dim, vision_cfg and text_cfg."
        raise InputError(message)
    vision, text, preprocess = model["vision_cfg"], model["text_cfg"], values.get("preprocess_cfg", {})
    for section, found in {"model": model, "vision": vision, "text": text, "preprocess": preprocess}.items():
        _check(section, found)
    dim = _whole(model["embed_dim"], "model_cfg.embed_dim", 1)
    if "timm_model_name" in vision and vision.get("timm_pool") is None:
        message = "vision_cfg has no timm_pool, which then is 'avg' and not computed."
        raise InputError(message, hint="Towers whose feature is the class token have timm_pool ''.")
    _whole(text.get("context_length", 77), "text_cfg.context_length", 3)
    side = _square(vision.get("image_size", 224), "vision_cfg.image_size")
    return Settings(
        dim=dim,
        vision=vision,
        text=text,
        activation=Activation.QUICK_GELU if model.get("quick_gelu") else Activation.GELU,
        preprocess=Preprocess(
            size_px=_square(preprocess.get("size", side), "preprocess_cfg.size"),
            fit=FITS[preprocess.get("resize_mode", "shortest")],
            resample=Resample(preprocess.get("interpolation", "bicubic")),
            keeps_mode=True,
            mean=_channels(preprocess.get("mean", OPENAI_MEAN), "mean"),
            std=_channels(preprocess.get("std", OPENAI_STD), "std"),
        ),
        size_px=side,
    )


def dual_config(
    settings: Settings, state: Mapping[str, Tensor], *, folder: Path, context_length: int | None
) -> DualConfig:
    """Sizes of both towers, from the settings and the shapes of the weights.

    Raises:
        InputError: weights and settings disagree, or a tower is not known.
    """
    shapes: Shapes = {name: tuple(value.shape) for name, value in state.items()}
    visual, rest = split(shapes, "visual.")
    text, text_head = _text(settings, rest, folder=folder, context_length=context_length)
    vision, image_head = _vision(settings, visual)
    return DualConfig(
        dim=settings.dim,
        vision=vision,
        text=text,
        image_head=image_head,
        text_head=text_head,
        has_logit_bias="logit_bias" in state,
    )


def clip_config(shapes: Shapes, *, activation: Activation) -> DualConfig:
    """Sizes of a bare CLIP."""
    visual, rest = split(shapes, "visual.")
    dim = int(shapes["text_projection"][1])
    side = clip_size_px(shapes)
    if "class_embedding" in visual:
        vision: Any = as_published(clip_vit_config(size_px=side, state=visual, activation=activation))
        head = Projection.LINEAR
    else:
        vision, head = clip_resnet_config(size_px=side, state=visual), Projection.NONE
    text = as_published(_clip_text(rest, activation=activation))
    return DualConfig(dim=dim, vision=vision, text=text, image_head=head)


def clip_size_px(shapes: Shapes) -> int:
    """Side of the pictures a CLIP was trained with, from its table of positions.

    Raises:
        InputError: there is no such table.
    """
    if "visual.positional_embedding" in shapes and "visual.conv1.weight" in shapes:
        return isqrt(shapes["visual.positional_embedding"][0] - 1) * int(shapes["visual.conv1.weight"][-1])
    if "visual.attnpool.positional_embedding" in shapes:
        return isqrt(shapes["visual.attnpool.positional_embedding"][0] - 1) * CLIP_RESNET_STRIDE
    message = "CLIP's image tower has a table of positions; there is none."
    raise InputError(message)


def clip_preprocess(size_px: int) -> Preprocess:
    """What OpenAI's CLIP and open_clip do with a picture."""
    return Preprocess(
        size_px=size_px,
        fit=Fit.CROP,
        resample=Resample.BICUBIC,
        keeps_mode=True,
        mean=OPENAI_MEAN,
        std=OPENAI_STD,
    )


def _check(section: str, found: Any) -> None:
    if not isinstance(found, Mapping):
        message = f"{section}_cfg holds settings by name; found {type(found).__name__}."
        raise InputError(message)
    for key, value in found.items():
        if key not in KNOWN[section]:
            message = f"{section}_cfg has a setting {key!r} that is not known."
            raise InputError(message, hint="A part that is not known might change every vector; it is not guessed.")
        allowed = KNOWN[section][key]
        if allowed is not None and value not in allowed:
            shown = ", ".join(repr(one) for one in allowed)
            message = f"{section}_cfg.{key} is {value!r}; known are {shown}."
            raise InputError(message)


def _whole(value: Any, name: str, least: int) -> int:
    if type(value) is not int or value < least:
        message = f"{name} is a whole number of at least {least}; found {value!r}."
        raise InputError(message)
    return value


def _channels(value: Any, name: str) -> tuple[float, ...]:
    """Three numbers, of which those that divide are positive."""
    least = 0.0 if name == "std" else -inf
    is_list = isinstance(value, (list, tuple)) and len(value) == 3
    if not is_list or not all(type(one) in (int, float) and least < one < inf for one in value):
        message = f"preprocess_cfg.{name} is a number for each of three channels; found {value!r}."
        raise InputError(message)
    return tuple(float(one) for one in value)


def _square(value: Any, name: str) -> int:
    sides = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(set(sides)) != 1 or not isinstance(sides[0], int) or sides[0] < 1:
        message = f"{name} is one side of a square; found {value!r}."
        raise InputError(message)
    return sides[0]


def _vision(settings: Settings, visual: Shapes) -> tuple[Any, Projection]:
    side, values = settings.size_px, settings.vision
    if "timm_model_name" in values:
        trunk, _ = split(visual, "trunk.")
        name = str(values["timm_model_name"])
        has_head = values.get("timm_proj", "linear") == "linear"
        head = (
            Projection.NONE
            if not has_head
            else Projection.AFFINE
            if values.get("timm_proj_bias")
            else Projection.LINEAR
        )
        return with_depth(vit_config(name, size_px=side, state=trunk), timm_depth(name)), head
    if isinstance(depths := values.get("layers"), (list, tuple)):
        found = clip_resnet_config(size_px=side, state=visual)
        _agree("vision", {"layers": list(depths)}, {"layers": list(found.depths)})
        return found, Projection.NONE
    width = _whole(values.get("head_width", HEAD_WIDTH), "vision_cfg.head_width", 1)
    tower = clip_vit_config(size_px=side, state=visual, activation=settings.activation, head_width=width)
    _agree("vision", values, {"width": tower.width, "patch_size": tower.patch_px})
    tower = with_depth(tower, _whole(values.get("layers", tower.num_blocks), "vision_cfg.layers", 1))
    return tower, Projection.LINEAR


def _text(settings: Settings, shapes: Shapes, *, folder: Path, context_length: int | None) -> tuple[Any, Projection]:
    values = settings.text
    if "hf_model_name" not in values:
        plain = {name.removeprefix("text."): shape for name, shape in shapes.items()}
        heads = _whole(values.get("heads", NUM_HEADS), "text_cfg.heads", 1)
        clip = _clip_text(plain, activation=settings.activation, num_heads=heads)
        sizes = {"width": clip.width, "vocab_size": clip.vocab_size, "context_length": clip.context_length}
        _agree("text", values, sizes)
        return with_depth(clip, _whole(values.get("layers", clip.num_blocks), "text_cfg.layers", 1)), Projection.LINEAR
    bert, _ = split(shapes, "text.transformer.")
    said = values.get("context_length", 77)
    text = bert_config(
        bert,
        settings=folder / "config.json",
        context_length=context_length or said,
        pool=Pool(values.get("hf_pooler_type", Pool.MEAN)),
    )
    if not context_length:
        _agree("text", {"context_length": said}, {"context_length": text.context_length})
    heads_by_name = {"mlp": Projection.MLP, "linear": Projection.LINEAR}
    return text, heads_by_name.get(values.get("hf_proj_type", "mlp"), Projection.NONE)


def _agree(section: str, said: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Refuse settings that the weights do not have."""
    for key, value in found.items():
        if key in said and (type(said[key]) is not type(value) or said[key] != value):
            message = f"{section}_cfg.{key} is {said[key]!r}; the weights have {value!r}."
            raise InputError(message, hint="The weights are of another model, or the settings are.")


def _clip_text(shapes: Shapes, *, activation: Activation, num_heads: int | None = None) -> ClipTextConfig:
    try:
        vocab_size, width = shapes["token_embedding.weight"]
        context_length = shapes["positional_embedding"][0]
        hidden = shapes["transformer.resblocks.0.mlp.c_fc.weight"][0]
    except KeyError as error:
        message = f"CLIP's text tower was expected; it has no {error.args[0]}."
        raise InputError(message) from error
    layers = [name for name in shapes if name.startswith("transformer.resblocks.") and name.endswith(".ln_1.weight")]
    heads = num_heads or width // HEAD_WIDTH
    if not heads or width % heads:
        message = f"A text tower {width} wide cannot have {heads} heads."
        raise InputError(message, hint="The settings' text_cfg.heads says how many it has.")
    return ClipTextConfig(
        vocab_size=vocab_size,
        width=width,
        num_blocks=len(layers),
        num_heads=heads,
        context_length=context_length,
        mlp_ratio=hidden / width,
        activation=activation,
    )
