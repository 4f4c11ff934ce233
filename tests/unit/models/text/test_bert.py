import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor, nn

from callosum.core.errors import InputError, UsageError
from callosum.models.checkpoints.names_text import hf_bert_in, hf_bert_out
from callosum.models.text.bert import Bert, BertConfig
from callosum.models.text.pooling import Pool, Projection, projection
from callosum.models.tokenizer_files import tokenizer_from_folder

TINY = BertConfig(
    vocab_size=50, width=16, num_blocks=4, num_heads=4, hidden=24, max_positions=20, context_length=12, norm_eps=1e-5
)
TOLERANCE = 2e-5


def random_bert(config: BertConfig, seed: int = 0) -> Bert:
    network = Bert(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            value.normal_(1.0 if "norm" in name and "weight" in name else 0.0, 0.2, generator=generator)
    return network


def random_ids(lengths: list[int], length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    ids = torch.randint(1, TINY.vocab_size, (len(lengths), length), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(length) < torch.tensor(lengths)[:, None]
    return ids * mask, mask


def of_config(path: Path, **more: object) -> BertConfig:
    found = json.loads(path.read_text())
    names = {
        "vocab_size": "vocab_size",
        "width": "hidden_size",
        "num_blocks": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "hidden": "intermediate_size",
        "max_positions": "max_position_embeddings",
    }
    return BertConfig(**{ours: found[name] for ours, name in names.items()}, **more)  # type: ignore[arg-type]


def loaded(config: BertConfig, state: dict[str, Tensor], prefix: str) -> Bert:
    network = Bert(config).eval()
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    network.load_state_dict(hf_bert_in(inside), strict=True)
    return network


def difference(found: Tensor, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float((found - torch.from_numpy(expected)).abs().max())


@torch.no_grad()
def test_hidden_states_equal_torch_s_own_post_norm_layers() -> None:
    network = random_bert(TINY)
    ids, mask = random_ids([12, 5, 1], 12)
    x = network.token.weight[ids] + network.place[:12] + network.kind[0]
    x = nn.functional.layer_norm(x, [16], network.norm_in.weight, network.norm_in.bias, 1e-5)
    expected = [x]
    for block in network.blocks:
        layer = nn.TransformerEncoderLayer(16, 4, 24, 0.0, "gelu", 1e-5, batch_first=True).train()
        attention, mlp = block.attention, block.mlp
        named = {
            "self_attn.in_proj_": attention.qkv,
            "self_attn.out_proj.": attention.out,
            "linear1.": mlp.up,
            "linear2.": mlp.down,
            "norm1.": block.norm1,
            "norm2.": block.norm2,
        }
        state = {f"{name}{kind}": getattr(part, kind) for name, part in named.items() for kind in ("weight", "bias")}
        layer.load_state_dict(state)
        x = layer(x, src_key_padding_mask=~mask)
        expected.append(x)
    found = network.hidden_states(ids, mask)
    assert len(found) == 5
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs)[mask].abs().max() < 1e-5


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_padding_changes_no_feature_of_a_masked_pooling(lengths: list[int], seed: int) -> None:
    network = random_bert(TINY, seed)
    ids, mask = random_ids(lengths, 12, seed)
    longest = max(lengths)
    for pool in [pool for pool in Pool if pool != Pool.MEDCLIP_UNMASKED]:
        network.pool, network._pooled_layers = pool, pool.layers(4)
        with torch.no_grad():
            padded, trimmed = network(ids, mask), network(ids[:, :longest], mask[:, :longest])
            alone = torch.cat([network(ids[n : n + 1, :L], mask[n : n + 1, :L]) for n, L in enumerate(lengths)])
        assert (padded - trimmed).abs().max() < 1e-5, pool
        assert (padded - alone).abs().max() < 1e-5, pool


def test_counted_padding_changes_features_and_has_one_length() -> None:
    network = random_bert(replace(TINY, pool=Pool.MEDCLIP_UNMASKED))
    ids, mask = random_ids([5], 12)
    with pytest.raises(InputError, match="12 ids; found 5"):
        network(ids[:, :5], mask[:, :5])
    masked = random_bert(replace(TINY, pool=Pool.MEDCLIP_MASKED))
    assert (network(ids, mask) - masked(ids, mask)).abs().max() > 1e-2
    assert network.config.pad_length == 12
    assert masked.config.pad_length is None


def test_what_the_tower_refuses() -> None:
    ids, mask = random_ids([21], 21)
    with pytest.raises(InputError, match="20 positions; found a row of 21"):
        random_bert(TINY)(ids, mask)
    with pytest.raises(UsageError, match="30 pieces"):
        replace(TINY, context_length=30)
    with pytest.raises(UsageError, match="0 to 1"):
        Bert(replace(TINY, num_blocks=1, pool=Pool.MEDCLIP_MASKED))
    with pytest.raises(UsageError, match="0 to 2"):
        Bert(replace(TINY, num_blocks=2, pool=Pool.GLORIA))


def test_bert_base_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        network = Bert(BertConfig(vocab_size=30522))
        head = projection(Projection.MLP, network.feature_width, 512)
    published = hf_bert_out(network.state_dict())
    assert len(published) == 197, "199 with the two of the pooler, which the tower does not have"
    assert sum(value.numel() for value in published.values()) == 108_891_648
    assert published["encoder.layer.11.attention.self.value.weight"].shape == (768, 768)
    assert {name: tuple(value.shape) for name, value in head.state_dict().items()} == {
        "0.weight": (640, 768),
        "2.weight": (512, 640),
    }


@torch.no_grad()
def test_biomedclip(goldens: Path) -> None:
    folder = goldens / "biomedclip_tiny"
    golden = np.load(folder / "golden.npz")
    tokenizer = tokenizer_from_folder(folder, context_length=32, pad_length=32, unescapes_html=True)
    texts = json.loads((folder / "texts.json").read_text())
    ids, mask = tokenizer(texts)
    assert np.array_equal(ids, golden["input_ids"])
    state = load_file(folder / "open_clip_model.safetensors")
    network = loaded(of_config(folder / "config.json", context_length=32), state, "text.transformer.")
    head = projection(Projection.MLP, 64, 48)
    head.load_state_dict({name[10:]: v for name, v in state.items() if name.startswith("text.proj.")})
    inputs = torch.from_numpy(ids), torch.from_numpy(mask)
    assert difference(network.hidden_states(*inputs)[-1][:, :8], golden["bert_last_hidden"]) < TOLERANCE
    assert difference(head(network(*inputs)), golden["text_features"]) < TOLERANCE
    trimmed = [torch.from_numpy(x) for x in tokenizer_from_folder(folder, context_length=32)(texts[:3])]
    assert trimmed[0].shape[1] < 32
    assert difference(head(network(*trimmed)), golden["text_features"][:3]) < TOLERANCE


@torch.no_grad()
def test_medclip(goldens: Path) -> None:
    folder = goldens / "medclip_tiny"
    golden = np.load(folder / "golden.npz")
    texts = json.loads((folder / "texts.json").read_text())
    ids, mask = tokenizer_from_folder(folder, context_length=77)(texts)
    assert np.array_equal(ids, golden["input_ids"])
    assert np.array_equal(mask, golden["attention_mask"].astype(bool))
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    config = of_config(folder / "bert_config.json", context_length=58, pool=Pool.MEDCLIP_UNMASKED)
    network = loaded(config, state, "text_model.model.")
    head = projection(Projection.LINEAR, 64, 48)
    head.load_state_dict({"weight": state["text_model.projection_head.weight"]})

    def unit(network: Bert, *inputs: Tensor) -> Tensor:
        return nn.functional.normalize(head(network(*inputs)), dim=-1)

    inputs = torch.from_numpy(ids), torch.from_numpy(mask)
    states = network.hidden_states(*inputs)
    for n, name in [(1, "bert_hidden_1"), (2, "bert_hidden_2"), (-1, "bert_hidden_last")]:
        assert difference(states[n], golden[name]) < TOLERANCE
    assert difference(unit(network, *inputs), golden["text_embeds"]) < TOLERANCE
    alone = tokenizer_from_folder(folder, context_length=77)(texts[2:3])
    short = loaded(replace(config, context_length=alone[0].shape[1]), state, "text_model.model.")
    assert difference(unit(short, *map(torch.from_numpy, alone)), golden["text_alone_idx2"]) < TOLERANCE
    masked = loaded(replace(config, pool=Pool.MEDCLIP_MASKED), state, "text_model.model.")
    assert difference(unit(masked, *inputs)[2:3], golden["text_alone_idx2"]) < TOLERANCE


@torch.no_grad()
def test_gloria(goldens: Path) -> None:
    folder = goldens / "gloria_tiny"
    golden = np.load(folder / "golden.npz")
    meta = json.loads((folder / "meta.json").read_text())
    tokenizer = tokenizer_from_folder(folder, context_length=24, pad_length=24)
    ids, mask = tokenizer(meta["texts"])
    assert np.array_equal(ids, golden["text_input_ids"])
    state = load_file(folder / "text_encoder.safetensors")
    config = of_config(folder / "bert_config.json", context_length=24, pool=Pool.GLORIA)
    network = loaded(config, state, "gloria.text_encoder.model.")
    inputs = torch.from_numpy(ids), torch.from_numpy(mask)
    assert difference(network(*inputs), golden["text_sent_emb"]) < TOLERANCE
    words, is_word = network.word_features(*inputs, torch.from_numpy(tokenizer.joins_V[ids]))
    assert is_word.sum(dim=1).tolist() == [sum(word != "[PAD]" for word in words) for words in meta["sents"]]
    rest = torch.zeros(3, 24 - words.shape[1], 32)
    assert difference(torch.cat([words, rest], dim=1).transpose(1, 2), golden["text_word_emb"]) < TOLERANCE
