"""A checkpoint as a folder that `open_clip` itself loads: the way back of an import.

`open_clip` (github.com/mlfoundations/open_clip) reads `open_clip_config.json`, `open_clip_model.safetensors`, the
tokenizer, and for a BERT text tower the `config.json` of transformers, which `hf_model_name` leads to. What is written
is read back and compared before the folder gets its name.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from callosum.core.errors import InputError
from callosum.models.checkpoints.bert_sizes import ACTIVATIONS
from callosum.models.checkpoints.cards import LICENCES, TOKENIZER, WEIGHTS, Card, read_card, verify_digests
from callosum.models.checkpoints.foreign import read_foreign
from callosum.models.checkpoints.load import read_sizes
from callosum.models.checkpoints.open_clip import FITS, SETTINGS
from callosum.models.checkpoints.published import NO_PATIENT, Published, published, write_origin
from callosum.models.checkpoints.remap import open_clip_out
from callosum.models.checkpoints.stage import hidden_folder, publish, require_free
from callosum.models.checkpoints.weights import write_weights
from callosum.models.layers import Activation
from callosum.models.preprocess import Preprocess, Resample
from callosum.models.text.pooling import Pool
from callosum.models.tokenizer import read_tokenizer
from callosum.models.tokenizer_files import BERT_NAMES, CLIP_VOCAB_SIZE
from callosum.models.towers import DualConfig, Projection, kind_of
from callosum.models.vision.vit import STOCK

VISION, TEXT = ("vit", "clip_resnet"), ("bert", "clip_text")
HEADS = {Projection.MLP: "mlp", Projection.LINEAR: "linear", Projection.NONE: None}
CLIP_EPS = 1e-5
INTERPOLATIONS = (Resample.BICUBIC, Resample.BILINEAR)
HERE = "./"
"""Where `open_clip` finds the text tower's settings when it is started in the folder."""
HINT = "open_clip's layout has timm's ViT or CLIP's image towers, beside BERT or CLIP's text tower."


def export_open_clip(checkpoint: Path, place: Path) -> None:
    """Write a checkpoint folder in `open_clip`'s layout to `place`, a new folder.

    Raises:
        InputError: the layout has no place for a part of this checkpoint; it is named.
        UsageError: there is something at `place` already.
        DigestMismatch: a file of the checkpoint is not the one its card names.
    """
    card = read_card(checkpoint)
    verify_digests(checkpoint, card)
    config, preprocess = read_sizes(checkpoint)
    vision, text = kind_of(config.vision), kind_of(config.text)
    if vision not in VISION or text not in TEXT:
        message = f"A checkpoint of the towers {vision} and {text} has no form in open_clip's layout."
        raise InputError(message, hint=HINT)
    require_free(place)
    settings = {"model_cfg": _model(config), "preprocess_cfg": _preprocess(preprocess)}
    state = load_file(checkpoint / WEIGHTS)
    with hidden_folder(place.absolute().parent) as folder:
        _write_json(folder / SETTINGS, settings)
        foreign = open_clip_out(state, vision=_layout(config), text=text)
        write_weights(folder / "open_clip_model.safetensors", foreign)
        shutil.copyfile(checkpoint / TOKENIZER, folder / TOKENIZER)
        if text == "bert":
            _write_json(folder / "config.json", _bert(config.text))
            _write_json(folder / "tokenizer_config.json", _tokenizer(checkpoint, config))
        if (checkpoint / LICENCES).is_file():
            shutil.copyfile(checkpoint / LICENCES, folder / LICENCES)
        write_origin(folder, *_origin(card))
        _require_equal(folder, config, preprocess, state)
        publish(folder, place.absolute())


def _origin(card: Card) -> tuple[str, Published]:
    """Family and card, as an import of the export shall have them again."""
    family = (card.space or card.name).split(".")[0]  # a card's name is its owner's choice, its space's is not
    return family, Published(
        summary=card.summary,
        source=card.source,
        licence=card.licence,
        not_for=card.not_for.removeprefix(NO_PATIENT).strip(),
        hub=published(family).hub,
    )


def _require_equal(folder: Path, config: DualConfig, preprocess: Preprocess, state: dict[str, torch.Tensor]) -> None:
    """Refuse an export that would be read as another model."""
    again = read_foreign(folder)
    parts = {"sizes": again.config == config, "preprocessing": again.preprocess == preprocess}
    parts["weights"] = set(again.state) == set(state) and all(torch.equal(again.state[n], state[n]) for n in state)
    if lost := [name for name, is_equal in parts.items() if not is_equal]:
        message = f"open_clip's layout cannot say all of this checkpoint's {' and '.join(lost)}."
        raise InputError(message, hint=HINT)


def _layout(config: DualConfig) -> str:
    """Whose names the image tower gets: timm's ViT and CLIP's differ in the epsilon of their norms."""
    if kind_of(config.vision) == "clip_resnet":
        return "clip_resnet"
    is_clip = config.vision.norm_eps == CLIP_EPS and config.image_head is Projection.LINEAR
    return "clip_vit" if is_clip and not config.vision.has_patch_bias else "vit"


def _model(config: DualConfig) -> dict[str, Any]:
    """`model_cfg`."""
    layout, is_bert = _layout(config), kind_of(config.text) == "bert"
    towers = [
        tower for tower, is_clip in ((config.vision, layout == "clip_vit"), (config.text, not is_bert)) if is_clip
    ]
    write = {"vit": _timm_vit, "clip_vit": _clip_vit, "clip_resnet": _clip_resnet}[layout]
    values = {
        "embed_dim": config.dim,
        "vision_cfg": write(config),
        "text_cfg": _hf_text(config) if is_bert else _clip_text(config),
        "quick_gelu": any(tower.activation == Activation.QUICK_GELU for tower in towers),
        "custom_text": is_bert or layout == "vit",
    }
    return {**values, "init_logit_bias": 0.0} if config.has_logit_bias else values


def _timm_vit(config: DualConfig) -> dict[str, Any]:
    tower = config.vision
    size = next((word for word, sizes in STOCK.items() if sizes == (tower.width, tower.num_heads)), None)
    if size is None:
        message = f"timm has no name for a ViT of width {tower.width} with {tower.num_heads} heads."
        raise InputError(message, hint=HINT)
    words = ["vit", size, f"patch{tower.patch_px}", "clip" * tower.has_pre_norm]
    words += ["quickgelu" * (tower.activation == Activation.QUICK_GELU), str(tower.size_px)]
    has_head = config.image_head is not Projection.NONE
    values = {
        "timm_model_name": "_".join(filter(None, words)),
        "timm_model_pretrained": False,
        "timm_pool": "" if has_head else "token",
        "timm_proj": "linear" if has_head else "none",
        "image_size": tower.size_px,
    }
    return {**values, "timm_proj_bias": True} if config.image_head is Projection.AFFINE else values


def _clip_vit(config: DualConfig) -> dict[str, Any]:
    tower = config.vision
    return {
        "image_size": tower.size_px,
        "layers": tower.num_blocks,
        "width": tower.width,
        "head_width": tower.width // tower.num_heads,
        "patch_size": tower.patch_px,
        "mlp_ratio": tower.mlp_ratio,
        "no_ln_pre": not tower.has_pre_norm,
    }


def _clip_resnet(config: DualConfig) -> dict[str, Any]:
    tower = config.vision
    return {"image_size": tower.size_px, "layers": list(tower.depths), "width": tower.stem}


def _hf_text(config: DualConfig) -> dict[str, Any]:
    tower = config.text
    if tower.pool not in (Pool.CLS, Pool.MEAN) or config.text_head not in HEADS:
        message = f"open_clip has no pooling {tower.pool} with a projection {config.text_head}, or not the same."
        raise InputError(message, hint=f"It has {Pool.CLS} and {Pool.MEAN}, with mlp, linear or none.")
    return {
        "hf_model_name": HERE,
        "hf_tokenizer_name": HERE,
        "hf_model_pretrained": False,
        "hf_proj_type": HEADS[config.text_head],
        "hf_pooler_type": tower.pool.value,
        "context_length": tower.context_length,
    }


def _clip_text(config: DualConfig) -> dict[str, Any]:
    tower = config.text
    if tower.vocab_size != CLIP_VOCAB_SIZE or config.text_head is not Projection.LINEAR:
        message = f"open_clip brings CLIP's {CLIP_VOCAB_SIZE} byte pairs with it; this tower has {tower.vocab_size}."
        raise InputError(message, hint=HINT)
    return {
        "context_length": tower.context_length,
        "vocab_size": tower.vocab_size,
        "width": tower.width,
        "heads": tower.num_heads,
        "layers": tower.num_blocks,
        "mlp_ratio": tower.mlp_ratio,
    }


def _preprocess(preprocess: Preprocess) -> dict[str, Any]:
    """`preprocess_cfg`; what it cannot say is found when the folder is read back."""
    return {
        "size": [preprocess.size_px, preprocess.size_px],
        "mode": "RGB",
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "interpolation": preprocess.resample.value if preprocess.resample in INTERPOLATIONS else "bicubic",
        "resize_mode": next((mode for mode, fit in FITS.items() if fit == preprocess.fit), "shortest"),
        "fill_color": 0,
    }


def _bert(tower: Any) -> dict[str, Any]:
    """`config.json` of transformers."""
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": tower.vocab_size,
        "hidden_size": tower.width,
        "num_hidden_layers": tower.num_blocks,
        "num_attention_heads": tower.num_heads,
        "intermediate_size": tower.hidden,
        "hidden_act": next(name for name, activation in ACTIVATIONS.items() if activation == tower.activation),
        "layer_norm_eps": tower.norm_eps,
        "max_position_embeddings": tower.max_positions,
        "type_vocab_size": tower.type_vocab,
        "pad_token_id": 0,
    }


def _tokenizer(checkpoint: Path, config: DualConfig) -> dict[str, Any]:
    """`tokenizer_config.json`: which class reads `tokenizer.json`, and the special pieces it holds."""
    tokenizer = read_tokenizer(checkpoint / TOKENIZER)
    names = {key: name for key, name in BERT_NAMES.items() if tokenizer.token_to_id(name) is not None}
    length = config.text.context_length
    return {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, **names}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
