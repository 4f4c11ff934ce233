import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.models.checkpoints.names_text import clip_text_in, clip_text_out
from callosum.models.layers import Activation
from callosum.models.text.clip_text import ClipText, ClipTextConfig

W, HEADS, BLOCKS, CONTEXT, VOCAB, DIM = 16, 2, 3, 10, 40, 6
END = VOCAB - 1
SHAPES = {
    "ln_1.weight": (W,),
    "ln_1.bias": (W,),
    "attn.in_proj_weight": (3 * W, W),
    "attn.in_proj_bias": (3 * W,),
    "attn.out_proj.weight": (W, W),
    "attn.out_proj.bias": (W,),
    "ln_2.weight": (W,),
    "ln_2.bias": (W,),
    "mlp.c_fc.weight": (4 * W, W),
    "mlp.c_fc.bias": (4 * W,),
    "mlp.c_proj.weight": (W, 4 * W),
    "mlp.c_proj.bias": (W,),
}


def published(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the names and in the shapes of OpenAI's text tower."""
    shapes = {f"transformer.resblocks.{n}.{name}": shape for n in range(BLOCKS) for name, shape in SHAPES.items()}
    shapes |= {"token_embedding.weight": (VOCAB, W), "positional_embedding": (CONTEXT, W)}
    shapes |= {"ln_final.weight": (W,), "ln_final.bias": (W,), "text_projection": (W, DIM)}
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def reference(s: dict[str, Tensor], ids: Tensor, *, quick: bool) -> Tensor:
    """CLIP's text tower and projection, from its paper, on whole padded rows."""
    x = s["token_embedding.weight"][ids] + s["positional_embedding"][: ids.shape[1]]
    for n in range(BLOCKS):
        b = {name: s[f"transformer.resblocks.{n}.{name}"] for name in SHAPES}
        y = functional.layer_norm(x, (W,), b["ln_1.weight"], b["ln_1.bias"])
        q, k, v = (
            functional.linear(y, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for weight, bias in zip(b["attn.in_proj_weight"].split(W), b["attn.in_proj_bias"].split(W), strict=True)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + functional.linear(y, b["attn.out_proj.weight"], b["attn.out_proj.bias"])
        y = functional.layer_norm(x, (W,), b["ln_2.weight"], b["ln_2.bias"])
        y = functional.linear(y, b["mlp.c_fc.weight"], b["mlp.c_fc.bias"])
        y = y * torch.sigmoid(1.702 * y) if quick else 0.5 * y * (1 + torch.erf(y / 2**0.5))
        x = x + functional.linear(y, b["mlp.c_proj.weight"], b["mlp.c_proj.bias"])
    x = functional.layer_norm(x, (W,), s["ln_final.weight"], s["ln_final.bias"])
    ends = [row.tolist().index(END) for row in ids]
    return torch.stack([x[n, end] for n, end in enumerate(ends)]) @ s["text_projection"]


def tower(state: dict[str, Tensor], activation: Activation) -> tuple[ClipText, torch.nn.Linear]:
    config = ClipTextConfig(
        vocab_size=VOCAB,
        width=W,
        num_blocks=BLOCKS,
        num_heads=HEADS,
        context_length=CONTEXT,
        activation=activation,
    )
    found = clip_text_in(state)
    projection = torch.nn.Linear(W, DIM, bias=False)
    projection.load_state_dict({"weight": found.pop("text_projection.weight")})
    network = ClipText(config).eval()
    network.load_state_dict(found, strict=True)
    return network, projection


def random_texts(lengths: list[int], pad: int) -> tuple[Tensor, Tensor]:
    ids = torch.full((len(lengths), CONTEXT), pad)
    for n, length in enumerate(lengths):
        ids[n, : length - 1] = torch.randint(0, END, (length - 1,), generator=torch.Generator().manual_seed(n))
        ids[n, length - 1] = END
    return ids, torch.arange(CONTEXT) < torch.tensor(lengths)[:, None]


@torch.no_grad()
@pytest.mark.parametrize("activation", [Activation.QUICK_GELU, Activation.GELU])
@pytest.mark.parametrize("pad", [0, END], ids=["padded with 0", "padded with the end"])
def test_features_equal_the_definition(activation: Activation, pad: int) -> None:
    state = published()
    network, projection = tower(state, activation)
    ids, mask = random_texts([10, 7, 2, 1], pad)
    expected = reference(state, ids, quick=activation == Activation.QUICK_GELU)
    found = projection(network(ids, mask))
    assert (found - expected).abs().max() < 1e-5
    other = reference(state, ids, quick=activation != Activation.QUICK_GELU)
    assert (found - other).abs().max() > 1e-3


@torch.no_grad()
@settings(max_examples=20, deadline=None)
@given(lengths=st.lists(st.integers(1, CONTEXT), min_size=1, max_size=4))
def test_padding_changes_nothing(lengths: list[int]) -> None:
    network, _ = tower(published(), Activation.GELU)
    ids, mask = random_texts(lengths, 0)
    longest = max(lengths)
    assert (network(ids, mask) - network(ids[:, :longest], mask[:, :longest])).abs().max() < 1e-5


def test_a_row_longer_than_the_context_is_refused() -> None:
    network, _ = tower(published(), Activation.GELU)
    ids = torch.full((1, CONTEXT + 1), END)
    with pytest.raises(InputError, match="10 positions; found a row of 11"):
        network(ids, ids > 0)


def test_the_tower_of_vit_b_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        network = ClipText(ClipTextConfig())
    names = clip_text_out(network.state_dict())
    assert len(names) == 148
    assert sum(value.numel() for value in names.values()) == 63_165_952
