"""What moves and what stays; additions that merge into the layers they were added to."""

import copy
import tempfile
from pathlib import Path

import pytest
import torch

from callosum.core.errors import UsageError
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.tokenizer import SubwordTokenizer, train_wordpiece
from callosum.models.towers import DualConfig
from callosum.models.vision.resnet import ResNetConfig
from callosum.models.vision.sizes import HybridConfig
from callosum.models.vision.vit import ViTConfig
from callosum.train.adapt import AdaptConfig, Tune, adapt, merge, recompute_blocks, set_training
from callosum.train.lora import LowRank

VIT = ViTConfig(size_px=16, patch_px=8, width=16, num_blocks=2, num_heads=2)
HYBRID = HybridConfig(size_px=32, stem=4, widths=(8,), depths=(1,), token_width=16, num_heads=2, thumbnail_px=4)


def made(vision: object = VIT) -> tuple[DualEncoder, SubwordTokenizer]:
    torch.manual_seed(0)
    learnt = train_wordpiece(["the heart is large", "the lungs are clear"], vocab_size=60, min_frequency=1)
    tokenizer = SubwordTokenizer(learnt, context_length=12)
    text = SmallTextConfig(vocab_size=tokenizer.vocab_size, width=16, num_heads=2, context_length=12)
    return DualEncoder(DualConfig(dim=8, vision=vision, text=text), Preprocess(size_px=16)), tokenizer


def embed(network: DualEncoder, tokenizer: SubwordTokenizer, text: str = "the heart is clear") -> torch.Tensor:
    side = network.preprocess.size_px
    pixels = torch.arange(side * side * 3, dtype=torch.uint8).view(1, side, side, 3)
    ids, mask = (torch.from_numpy(part) for part in tokenizer([text]))
    return torch.cat([network.encode_image(pixels), network.encode_text(ids, mask)])


def step(network: DualEncoder, tokenizer: SubwordTokenizer, config: AdaptConfig, text: str) -> None:
    set_training(network, config)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.5)
    image, written = embed(network, tokenizer, text)
    (1 - image @ written * network.logit_scale).backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("tune", "moving"),
    [
        (Tune.FULL, ("vision", "text", "image_projection", "text_projection")),
        (Tune.LOCKED_IMAGE, ("text", "image_projection", "text_projection")),
        (Tune.LOCKED_TEXT, ("vision", "image_projection", "text_projection")),
        (Tune.PROJECTION, ("image_projection", "text_projection")),
    ],
)
def test_only_what_was_asked_for_moves(tune: Tune, moving: tuple[str, ...]) -> None:
    network, tokenizer = made(HYBRID)
    network.preprocess = Preprocess(size_px=32)
    config = AdaptConfig(tune=tune, trains_scale=False)
    adapt(network, tokenizer, config)
    before = copy.deepcopy(network.state_dict())
    step(network, tokenizer, config, "the heart is clear")
    moved = {n.split(".")[0] for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    assert moved == set(moving)


def test_low_rank_additions_change_nothing_at_first_and_merge_exactly() -> None:
    network, tokenizer = made()
    plain = copy.deepcopy(network.eval())
    config = AdaptConfig(tune=Tune.LORA, lora_rank=2)
    adapt(network, tokenizer, config)
    assert torch.allclose(embed(network.eval(), tokenizer), embed(plain, tokenizer), atol=1e-6)
    step(network, tokenizer, config, "the heart is clear")
    tuned = embed(network.eval(), tokenizer)
    assert not torch.allclose(tuned, embed(plain, tokenizer), atol=1e-4)
    trained = sum(p.numel() for n, p in network.vision.named_parameters() if p.requires_grad)
    assert trained < 0.5 * sum(p.numel() for p in plain.vision.parameters())
    merge(network)
    assert set(network.state_dict()) == set(plain.state_dict())
    assert not any(isinstance(module, LowRank) for module in network.modules())
    assert torch.allclose(embed(network, tokenizer), tuned, atol=1e-6)


def test_a_network_without_attention_takes_no_low_rank_additions() -> None:
    network, tokenizer = made(ResNetConfig(stem=4, depths=(1, 1, 1, 1)))
    with pytest.raises(UsageError, match="attention"):
        adapt(network, tokenizer, AdaptConfig(tune=Tune.LORA))


def test_learned_words_are_all_that_moves_and_become_words_of_the_vocabulary() -> None:
    network, tokenizer = made()
    before = copy.deepcopy(network.state_dict())
    size = tokenizer.vocab_size
    config = AdaptConfig(tune=Tune.PROMPT, num_words=2)
    adapt(network, tokenizer, config)
    assert tokenizer.ids(["[V1] heart"])[0][0] == size
    first = network.text.token.words.detach().clone()
    step(network, tokenizer, config, "[V1] the heart [V2]")
    assert not torch.equal(network.text.token.words, first)
    network.eval()
    tuned = embed(network, tokenizer, "[V1] the heart [V2]")
    merge(network)
    assert torch.equal(embed(network, tokenizer, "[V1] the heart [V2]"), tuned)
    after = network.state_dict()
    assert after["text.token.weight"].shape[0] == network.config.text.vocab_size == size + 2
    assert torch.equal(after["text.token.weight"][:size], before["text.token.weight"])
    assert all(torch.equal(after[name], value) for name, value in before.items() if name != "text.token.weight")
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder) / "tokenizer.json")
        read = SubwordTokenizer.from_file(Path(folder) / "tokenizer.json", context_length=12)
    assert read.ids(["[V1] heart [V2]"]) == tokenizer.ids(["[V1] heart [V2]"])
    with pytest.raises(UsageError, match="does not have"):
        adapt(network, tokenizer, config)


def test_blocks_computed_again_give_the_same_gradients() -> None:
    network, tokenizer = made()
    again = copy.deepcopy(network)
    recompute_blocks(again)
    again = copy.deepcopy(again)
    for each in (network, again):
        torch.manual_seed(1)
        embed(each.train(), tokenizer).sum().backward()
    pairs = zip(network.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None)
    merge(again)
    assert not any("forward" in vars(module) for module in again.modules())
    with pytest.raises(UsageError, match="transformers"):
        recompute_blocks(torch.nn.Linear(2, 2))
