"""Names of weights in published text towers and in ours, both ways.

All names are relative to the tower: the caller takes away `text.transformer.`, `text_model.model.` and the like. A name
that is not known stays as it is, so that the loader can list it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

BERT_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "token.weight",
    "embeddings.position_embeddings.weight": "place",
    "embeddings.token_type_embeddings.weight": "kind",
    "embeddings.LayerNorm.weight": "norm_in.weight",
    "embeddings.LayerNorm.bias": "norm_in.bias",
}
BERT_PARTS = {
    "attention.output.dense": "attention.out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "mlp.up",
    "output.dense": "mlp.down",
    "output.LayerNorm": "norm2",
}
BERT_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
BERT_UNUSED = re.compile(r"embeddings\.(?:position_ids|token_type_ids)|pooler\..*")
QKV = tuple(f"attention.self.{part}" for part in ("query", "key", "value"))
OLD_NORM = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}

CLIP_NAMES = {
    "token_embedding.weight": "token.weight",
    "positional_embedding": "place",
    "ln_final.weight": "norm.weight",
    "ln_final.bias": "norm.bias",
}
CLIP_PARTS = {
    "ln_1.weight": "norm1.weight",
    "ln_1.bias": "norm1.bias",
    "attn.in_proj_weight": "attention.qkv.weight",
    "attn.in_proj_bias": "attention.qkv.bias",
    "attn.out_proj.weight": "attention.out.weight",
    "attn.out_proj.bias": "attention.out.bias",
    "ln_2.weight": "norm2.weight",
    "ln_2.bias": "norm2.bias",
    "mlp.c_fc.weight": "mlp.up.weight",
    "mlp.c_fc.bias": "mlp.up.bias",
    "mlp.c_proj.weight": "mlp.down.weight",
    "mlp.c_proj.bias": "mlp.down.bias",
}
CLIP_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
OUR_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")
CLIP_PROJECTION, OUR_PROJECTION = "text_projection", "text_projection.weight"


def hf_bert_in(state: Mapping[str, Tensor], *, drop_unused: bool = True) -> dict[str, Tensor]:
    """Weights of Hugging Face's `BertModel` under the names of `text.bert.Bert`; query, key and value become one.

    Args:
        state: Weights; norms may bear the names of TensorFlow's time, `gamma` and `beta`.
        drop_unused: Whether buffers of positions and the weights of the tanh pooler may be left out. Otherwise they
            stay, under their names.
    """
    state = {_modern(name): value for name, value in state.items()}
    if drop_unused:
        state = {name: value for name, value in state.items() if not BERT_UNUSED.fullmatch(name)}
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        layer = BERT_LAYER.fullmatch(name)
        if layer is None:
            out[BERT_EMBEDDINGS.get(name, name)] = value
            continue
        number, part, kind = layer.groups()
        parts = [f"encoder.layer.{number}.{each}.{kind}" for each in QKV]
        if part in BERT_PARTS:
            out[f"blocks.{number}.{BERT_PARTS[part]}.{kind}"] = value
        elif part in QKV and _stack([state.get(each) for each in parts]):
            if part == QKV[0]:
                out[f"blocks.{number}.attention.qkv.{kind}"] = torch.cat([state[each] for each in parts])
        else:
            out[name] = value
    return out


def hf_bert_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `hf_bert_in`: weights of `text.bert.Bert` under Hugging Face's names."""
    embeddings = {ours: name for name, ours in BERT_EMBEDDINGS.items()}
    parts = {ours: part for part, ours in BERT_PARTS.items()}
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        block = OUR_BLOCK.fullmatch(name)
        part, _, kind = block[2].rpartition(".") if block else ("", "", "")
        if block and part == "attention.qkv":
            for each, third in zip(QKV, value.chunk(3), strict=True):
                out[f"encoder.layer.{block[1]}.{each}.{kind}"] = third.clone()
        elif block and part in parts:
            out[f"encoder.layer.{block[1]}.{parts[part]}.{kind}"] = value
        else:
            out[embeddings.get(name, name)] = value
    return out


def clip_text_in(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the text tower of OpenAI's CLIP and `open_clip` under the names of `text.clip_text.ClipText`.

    The matrix `text_projection` `[W, D]`, which is not of the tower, becomes `text_projection.weight` `[D, W]`, as a
    linear layer holds it. The buffer `attn_mask` is left out.
    """
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        block = CLIP_BLOCK.fullmatch(name)
        if name == "attn_mask":
            continue
        if name == CLIP_PROJECTION and value.ndim == 2:
            out[OUR_PROJECTION] = value.t().contiguous()
        elif block and block[2] in CLIP_PARTS:
            out[f"blocks.{block[1]}.{CLIP_PARTS[block[2]]}"] = value
        else:
            out[CLIP_NAMES.get(name, name)] = value
    return out


def clip_text_out(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of `clip_text_in`."""
    names = {ours: name for name, ours in CLIP_NAMES.items()}
    parts = {ours: part for part, ours in CLIP_PARTS.items()}
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        block = OUR_BLOCK.fullmatch(name)
        if name == OUR_PROJECTION:
            out[CLIP_PROJECTION] = value.t().contiguous()
        elif block and block[2] in parts:
            out[f"transformer.resblocks.{block[1]}.{parts[block[2]]}"] = value
        else:
            out[names.get(name, name)] = value
    return out


def _modern(name: str) -> str:
    for old, new in OLD_NORM.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _stack(values: Sequence[Tensor | None]) -> bool:
    """Whether query, key and value are all there and of one shape and type, so that nothing is lost in joining them."""
    there = [value for value in values if value is not None]
    return len(there) == len(values) and len({(value.shape, value.dtype) for value in there}) == 1
