from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from callosum.models.checkpoints.names_text import clip_text_in, clip_text_out, hf_bert_in, hf_bert_out
from callosum.models.text.bert import Bert, BertConfig
from callosum.models.text.clip_text import ClipText, ClipTextConfig

CONFIG = BertConfig(vocab_size=7, width=8, num_blocks=2, num_heads=2, hidden=12, max_positions=5, context_length=5)
PARTS = {
    "attention.self.query": (8, 8),
    "attention.self.key": (8, 8),
    "attention.self.value": (8, 8),
    "attention.output.dense": (8, 8),
    "attention.output.LayerNorm": (8,),
    "intermediate.dense": (12, 8),
    "output.dense": (8, 12),
    "output.LayerNorm": (8,),
}


def published(num_blocks: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (7, 8),
        "embeddings.position_embeddings.weight": (5, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "embeddings.LayerNorm.weight": (8,),
        "embeddings.LayerNorm.bias": (8,),
    }
    for n in range(num_blocks):
        for part, shape in PARTS.items():
            shapes |= {f"encoder.layer.{n}.{part}.weight": shape, f"encoder.layer.{n}.{part}.bias": shape[:1]}
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        v.dtype == other[k].dtype and torch.equal(v, other[k]) for k, v in one.items()
    )


@settings(max_examples=20, deadline=None)
@given(
    num_blocks=st.integers(0, 12),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
def test_bert_there_and_back_is_bitwise_equal(num_blocks: int, seed: int, dtype: torch.dtype) -> None:
    state = published(num_blocks, seed, dtype)
    inside = hf_bert_in(state)
    assert same(hf_bert_out(inside), state)
    assert inside.keys() == Bert(replace(CONFIG, num_blocks=num_blocks)).state_dict().keys()


def test_ours_there_and_back_is_bitwise_equal() -> None:
    bert = Bert(CONFIG).state_dict()
    assert same(hf_bert_in(hf_bert_out(bert)), bert)
    clip = ClipText(ClipTextConfig(vocab_size=9, width=8, num_blocks=2, num_heads=2, context_length=4)).state_dict()
    clip["text_projection.weight"] = torch.randn(3, 8)
    outside = clip_text_out(clip)
    assert outside["text_projection"].shape == (8, 3)
    assert outside["transformer.resblocks.1.attn.in_proj_weight"].shape == (24, 8)
    assert same(clip_text_in(outside), clip)
    assert same(clip_text_out(clip_text_in(outside)), outside)


def test_what_is_not_used_is_left_out_or_listed() -> None:
    state = published(1)
    more = {"embeddings.position_ids": torch.arange(5)[None], "pooler.dense.weight": torch.randn(8, 8)}
    assert same(hf_bert_in({**state, **more}), hf_bert_in(state))
    kept = hf_bert_in({**state, **more}, drop_unused=False)
    assert kept.keys() - hf_bert_in(state).keys() == more.keys()
    assert "attn_mask" not in clip_text_in({"attn_mask": torch.zeros(4, 4)})


def test_old_names_of_norms() -> None:
    state = published(2)
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in state.items()
    }
    assert sum("gamma" in name for name in old) == 5
    assert same(hf_bert_in(old), hf_bert_in(state))


@pytest.mark.parametrize("lost", ["query", "key", "value"])
def test_an_incomplete_attention_is_not_joined(lost: str) -> None:
    state = published(1)
    del state[f"encoder.layer.0.attention.self.{lost}.weight"]
    left = {name for name in hf_bert_in(state) if name.startswith("encoder.")}
    rest = {"query", "key", "value"} - {lost}
    assert left == {f"encoder.layer.0.attention.self.{part}.weight" for part in rest}


def test_unknown_names_stay() -> None:
    names = ["encoder.layer.0.adapter.weight", "cls.predictions.bias", "blocks.0.more.weight", "encoder.layer.x.y.bias"]
    state = {name: torch.randn(2) for name in names}
    for rename in (hf_bert_in, hf_bert_out, clip_text_in, clip_text_out):
        assert same(rename(state), state)
