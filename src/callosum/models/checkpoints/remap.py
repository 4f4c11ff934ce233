"""Names of whole published models and ours, both ways: one pair of pure functions per family.

Names of the towers are turned in `names_vision` and `names_text`; here prefixes, projections and the temperature. A
name that is not known stays as it is, so that the loader can list it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from callosum.models.checkpoints import names_text, names_vision

State = Mapping[str, Tensor]
T = TypeVar("T")
Turn = Callable[[State], dict[str, Tensor]]

VISION_IN: dict[str, Turn] = {
    "vit": names_vision.timm_vit_in,
    "clip_vit": names_vision.clip_vit_in,
    "swin": names_vision.hf_swin_in,
    "resnet": names_vision.torchvision_resnet_in,
    "clip_resnet": names_vision.clip_resnet_in,
}
VISION_OUT: dict[str, Turn] = {
    "vit": names_vision.timm_vit_out,
    "clip_vit": names_vision.clip_vit_out,
    "swin": names_vision.hf_swin_out,
    "resnet": names_vision.torchvision_resnet_out,
    "clip_resnet": names_vision.clip_resnet_out,
}
CLIP_TEXT_KEYS = (
    "token_embedding.weight",
    "positional_embedding",
    "text_projection",
    "ln_final.weight",
    "ln_final.bias",
    "attn_mask",
)
GLORIA_TEMPERATURE = 10.0
"""GLoRIA multiplies cosines by this constant; its checkpoints hold none."""


def split(state: Mapping[str, T], prefix: str) -> tuple[dict[str, T], dict[str, T]]:
    """Weights below a prefix, without it, and the others."""
    inside = {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}
    return inside, {name: value for name, value in state.items() if not name.startswith(prefix)}


def joined(prefix: str, state: State) -> dict[str, Tensor]:
    """Weights with a prefix."""
    return {prefix + name: value for name, value in state.items()}


def open_clip_in(state: State) -> dict[str, Tensor]:
    """`open_clip`'s layouts: a timm or CLIP image tower beside a Hugging Face BERT or CLIP text tower."""
    visual, rest = split(state, "visual.")
    out = _timm_in(visual) if any(name.startswith("trunk.") for name in visual) else _clip_visual_in(visual)
    bert, rest = split(rest, "text.transformer.")
    if any(name.startswith("embeddings.") for name in bert):
        projection, rest = split(rest, "text.proj.")
        out |= joined("text.", names_text.hf_bert_in(bert)) | joined("text_projection.", projection)
    else:
        custom, rest = split({**rest, **joined("text.transformer.", bert)}, "text.")
        plain = {n: v for n, v in rest.items() if n in CLIP_TEXT_KEYS or n.startswith("transformer.")}
        rest = {name: value for name, value in rest.items() if name not in plain}
        out |= _clip_text_in({**plain, **custom})
    return out | _scale_in(rest)


def open_clip_out(state: State, *, vision: str, text: str) -> dict[str, Tensor]:
    """Back to `open_clip`'s layout.

    Args:
        state: Weights under our names.
        vision: `vit` for timm's names, `clip_vit` or `clip_resnet` for CLIP's.
        text: `bert` or `clip_text`; a CLIP text tower beside a timm image tower is in the custom layout.
    """
    parts, rest = {}, dict(state)
    for part in ("vision.", "text.", "image_projection.", "text_projection."):
        parts[part], rest = split(rest, part)
    visual = VISION_OUT[vision](parts["vision."])
    if vision == "vit":
        out = joined("visual.trunk.", visual) | joined("visual.head.proj.", parts["image_projection."])
    else:
        out = joined("visual.", visual)
        if "weight" in parts["image_projection."]:
            out["visual.proj"] = parts["image_projection."]["weight"].T.contiguous()
    if text == "bert":
        out |= joined("text.transformer.", names_text.hf_bert_out(parts["text."]))
        out |= joined("text.proj.", parts["text_projection."])
    else:
        towers = {**parts["text."], **joined("text_projection.", parts["text_projection."])}
        out |= joined("text." if vision == "vit" else "", names_text.clip_text_out(towers))
    return out | _scale_out(rest)


def medclip_in(state: State) -> dict[str, Tensor]:
    """MedCLIP (Wang et al. 2022): Swin of transformers 4 or torchvision's ResNet-50, beside BERT."""
    vision, rest = split(state, "vision_model.model.")
    head, rest = split(rest, "vision_model.projection_head.")
    if "fc.weight" in vision:
        head = {**head, "weight": vision.pop("fc.weight")}
    turn = names_vision.hf_swin_in if "embeddings.norm.weight" in vision else names_vision.torchvision_resnet_in
    bert, rest = split(rest, "text_model.model.")
    projection, rest = split(rest, "text_model.projection_head.")
    out = joined("vision.", turn(vision)) | joined("image_projection.", head)
    out |= joined("text.", names_text.hf_bert_in(bert)) | joined("text_projection.", projection)
    return out | _scale_in(rest)


def medclip_out(state: State, *, vision: str) -> dict[str, Tensor]:
    """Back to MedCLIP's layout; `vision` is `swin` or `resnet`."""
    parts, rest = {}, dict(state)
    for part in ("vision.", "text.", "image_projection.", "text_projection."):
        parts[part], rest = split(rest, part)
    out = joined("vision_model.model.", VISION_OUT[vision](parts["vision."]))
    head = "vision_model.projection_head." if vision == "swin" else "vision_model.model.fc."
    out |= joined(head, parts["image_projection."])
    out |= joined("text_model.model.", names_text.hf_bert_out(parts["text."]))
    return out | joined("text_model.projection_head.", parts["text_projection."]) | _scale_out(rest)


def gloria_in(state: State) -> dict[str, Tensor]:
    """GLoRIA (Huang et al. 2021): torchvision's ResNet-50 with a global and a local embedder, beside BERT."""
    vision, rest = split(state, "gloria.img_encoder.model.")
    head, rest = split(rest, "gloria.img_encoder.global_embedder.")
    local, rest = split(rest, "gloria.img_encoder.local_embedder.")
    bert, rest = split(rest, "gloria.text_encoder.model.")
    out = joined("vision.", names_vision.torchvision_resnet_in(vision)) | joined("image_projection.", head)
    if "weight" in local and local["weight"].ndim == 4:
        local["weight"] = local["weight"].flatten(1)  # a convolution of one pixel is a matrix
    out |= joined("region_projection.", local) | joined("text.", names_text.hf_bert_in(bert))
    return {**out, "log_logit_scale": torch.tensor(math.log(GLORIA_TEMPERATURE)), **rest}


def gloria_out(state: State) -> dict[str, Tensor]:
    """Back to GLoRIA's layout; its constant temperature is left out."""
    parts, rest = {}, dict(state)
    for part in ("vision.", "text.", "image_projection.", "region_projection."):
        parts[part], rest = split(rest, part)
    rest.pop("log_logit_scale", None)
    out = joined("gloria.img_encoder.model.", names_vision.torchvision_resnet_out(parts["vision."]))
    out |= joined("gloria.img_encoder.global_embedder.", parts["image_projection."])
    local = {name: value[:, :, None, None] for name, value in parts["region_projection."].items()}
    out |= joined("gloria.img_encoder.local_embedder.", local)
    return out | joined("gloria.text_encoder.model.", names_text.hf_bert_out(parts["text."])) | rest


def _timm_in(visual: State) -> dict[str, Tensor]:
    trunk, rest = split(visual, "trunk.")
    head, rest = split(rest, "head.proj.")
    out = joined("vision.", names_vision.timm_vit_in(trunk)) | joined("image_projection.", head)
    return out | joined("visual.", rest)


def _clip_visual_in(visual: dict[str, Tensor]) -> dict[str, Tensor]:
    head = {}
    if "proj" in visual:
        head = {"image_projection.weight": visual.pop("proj").T.contiguous()}
    turn = names_vision.clip_vit_in if "class_embedding" in visual else names_vision.clip_resnet_in
    return joined("vision.", turn(visual)) | head


def _clip_text_in(state: State) -> dict[str, Tensor]:
    text = names_text.clip_text_in(state)
    head = {name: text.pop(name) for name in ["text_projection.weight"] if name in text}
    return joined("text.", text) | head


def _scale_in(rest: dict[str, Tensor]) -> dict[str, Tensor]:
    """The temperature's logarithm is a parameter everywhere; some files keep it as a vector of one."""
    turned = {"logit_scale": "log_logit_scale", "logit_bias": "logit_bias"}
    return {
        turned.get(n, n): value.reshape(()) if n in turned and value.numel() == 1 else value
        for n, value in rest.items()
    }


def _scale_out(rest: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"logit_scale" if name == "log_logit_scale" else name: value for name, value in rest.items()}
