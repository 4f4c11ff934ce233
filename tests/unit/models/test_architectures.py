from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from callosum.core.errors import NotFound, UsageError
from callosum.models.architectures import ARCHITECTURES, Architecture, build, convirt
from callosum.models.checkpoints.cards import Card
from callosum.models.checkpoints.home import checkpoint_folder
from callosum.models.checkpoints.load import open_checkpoint
from callosum.models.checkpoints.published import published
from callosum.models.checkpoints.save import save_checkpoint
from callosum.models.dual import DualEncoder
from callosum.models.empty import without_values
from callosum.models.text.bert import BertConfig
from callosum.models.text.pooling import Pool
from callosum.models.tokenizer import WordPiece, train_wordpiece
from callosum.models.towers import DualConfig, Projection
from callosum.models.vision.resnet import ResNetConfig

TEXTS = ["a chest x-ray of the lungs", "ct of the head with no finding at all", "lung"]


def tiny() -> Architecture:
    """ConVIRT in small."""
    full = convirt()
    text = BertConfig(
        vocab_size=80, width=32, num_blocks=2, num_heads=2, hidden=64, context_length=16, pool=full.config.text.pool
    )
    vision = ResNetConfig(stem=8, depths=(1, 1, 1, 1))
    return replace(
        full,
        config=replace(full.config, dim=16, vision=vision, text=text),
        preprocess=replace(full.preprocess, size_px=32),
    )


def test_convirt_has_the_sizes_of_its_paper() -> None:
    full = ARCHITECTURES["convirt"]()
    assert (full.config.dim, full.config.vision.depths, full.config.text.num_blocks) == (512, (3, 4, 6, 3), 12)
    assert full.config.text.pool is Pool.MAX
    with without_values():
        shapes = {name: tuple(v.shape) for name, v in DualEncoder(full.config, full.preprocess).state_dict().items()}
    assert shapes["image_projection.0.weight"] == (2048, 2048)
    assert shapes["image_projection.2.weight"] == (512, 2048)
    assert shapes["text_projection.2.weight"] == (512, 768)
    assert shapes["text.token.weight"] == (28996, 768)
    assert DualConfig.from_json(full.config.to_json()) == full.config


def test_both_projections_are_two_layers_with_a_relu() -> None:
    network = build(tiny(), weights="random").eval()
    features = torch.randn(3, network.vision.feature_width)
    first, second = network.image_projection[0], network.image_projection[2]
    expected = (features @ first.weight.T + first.bias).clamp_min(0) @ second.weight.T + second.bias
    with torch.inference_mode():
        assert torch.allclose(network.image_projection(features), expected, atol=1e-6)
    assert network.config.text_head is Projection.RELU
    assert float(network.logit_scale.detach()) == pytest.approx(10.0)


def test_weights_are_random_only_where_that_is_said() -> None:
    with pytest.raises(UsageError, match="found 'pretrained'"):
        build("convirt", weights="pretrained")
    with pytest.raises(TypeError):
        build(tiny())  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="There are: convirt"):
        build("corvint", weights="random")
    with pytest.raises(NotFound, match="published no weights"):
        checkpoint_folder("convirt")
    assert "no published weights" in published("convirt").licence


def test_equal_seeds_give_equal_weights_and_disturb_nobody() -> None:
    state = torch.get_rng_state()
    first, again, other = (build(tiny(), weights="random", seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["text.token.weight"], other["text.token.weight"])


def test_what_was_trained_is_a_checkpoint_like_any_other(tmp_path: Path) -> None:
    wordpiece = WordPiece(train_wordpiece(TEXTS, vocab_size=80, min_frequency=1), context_length=16)
    network = build(tiny(), weights="random").eval()
    card = Card(name="convirt.test", summary="-", intended_use="-", not_for="-", licence="-")
    save_checkpoint(tmp_path, network, wordpiece=wordpiece, preprocess=tiny().preprocess, card=card)
    encoder = open_checkpoint(tmp_path)
    together = encoder.encode_text(TEXTS * 4).matrix[:3]
    alone = np.concatenate([encoder.encode_text([text]).matrix for text in TEXTS])
    assert np.abs(together - alone).max() < 2e-6, "a maximum over tokens must not see the padding"
    pictures = [np.full((40, 30), 90, np.uint8), np.full((30, 40, 3), 20, np.uint8)]
    assert encoder.encode_image(pictures).matrix.shape == (2, 16)
    assert asdict(encoder.preprocess) == asdict(tiny().preprocess)
