"""What of a network is trained: all of it, one side, the projections, low-rank additions, or a few learned words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torch import nn
from torch.utils.checkpoint import checkpoint

from callosum.core.errors import UsageError
from callosum.models.dual import DualEncoder
from callosum.models.layers import Block
from callosum.models.text.bert import BertBlock
from callosum.models.tokenizer import SubwordTokenizer
from callosum.models.vision.swin import SwinBlock
from callosum.train.lora import add_low_rank, merge_low_rank
from callosum.train.soft_words import add_soft_words, merge_soft_words


class Tune(StrEnum):
    """Which weights move."""

    FULL = "full"
    LOCKED_IMAGE = "locked_image"
    """The text side, and the projection of the locked image tower (Zhai et al. 2022, LiT)."""
    LOCKED_TEXT = "locked_text"
    PROJECTION = "projection"
    """The projections alone: neither tower runs backwards."""
    LORA = "lora"
    """Low-rank additions to both towers, and the projections."""
    PROMPT = "prompt"
    """A few new words of the text side, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class AdaptConfig:
    """What is trained.

    Attributes:
        tune: Which weights move.
        trains_scale: Whether the temperature does, where the objective has one.
        lora_rank: Width of the low-rank additions.
        lora_alpha: Their scale, times the rank.
        num_words: Words to learn.
        is_checkpointed: Compute the blocks of transformers again in the backward pass instead of keeping what they
            computed: less memory, a third more time (Chen et al. 2016).
    """

    tune: Tune = Tune.FULL
    trains_scale: bool = True
    lora_rank: int = 8
    lora_alpha: float = 16.0
    num_words: int = 4
    is_checkpointed: bool = False


LOCKED = {
    Tune.FULL: (),
    Tune.LOCKED_IMAGE: ("vision",),
    Tune.LOCKED_TEXT: ("text",),
    Tune.PROJECTION: ("vision", "text"),
    Tune.LORA: ("vision", "text"),
    Tune.PROMPT: ("vision", "text", "image_projection", "text_projection", "region_projection"),
}
"""Parts whose own weights stay."""


def adapt(network: DualEncoder, tokenizer: SubwordTokenizer, config: AdaptConfig) -> None:
    """Lock what stays, and add what is to be trained beside it, in place.

    Raises:
        UsageError: the network has nothing that can be adapted so.
    """
    for part in _parts(network, config):
        part.requires_grad_(requires_grad=False)
    scales = [network.log_logit_scale] + ([network.logit_bias] if network.config.has_logit_bias else [])
    for scale in scales:
        scale.requires_grad_(config.trains_scale and config.tune is not Tune.PROMPT)
    if config.tune is Tune.LORA:
        for tower in (network.vision, network.text):
            add_low_rank(tower, rank=config.lora_rank, alpha=config.lora_alpha)
    if config.tune is Tune.PROMPT:
        add_soft_words(network, tokenizer, num_words=config.num_words)
    if config.is_checkpointed:
        recompute_blocks(network)


def merge(network: DualEncoder) -> None:
    """Make the layers plain again, in place, for a checkpoint."""
    merge_low_rank(network)
    merge_soft_words(network)
    for block in network.modules():
        block.__dict__.pop("forward", None)


def set_training(network: DualEncoder, config: AdaptConfig) -> None:
    """Training mode, but for locked parts: their norms keep their statistics, and their dropout does nothing."""
    network.train()
    for part in _parts(network, config):
        part.eval()


def recompute_blocks(network: nn.Module) -> None:
    """Recompute transformer blocks in the backward pass, in place, with the dropout they had.

    Blocks with batch norms are left as they are: they would count their statistics twice.

    Raises:
        UsageError: there is no such block.
    """
    blocks = [module for module in network.modules() if type(module) in (Block, BertBlock, SwinBlock)]
    if not blocks:
        message = "Only blocks of transformers can be computed again; this network has none."
        raise UsageError(message)
    for block in blocks:
        block.forward = _Again(block)


class _Again:
    """The forward pass of a block, through a checkpoint; a copy of the block has one of its own."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __call__(self, *args: object) -> object:
        return checkpoint(type(self.block).forward, self.block, *args, use_reentrant=False)


def _parts(network: DualEncoder, config: AdaptConfig) -> list[nn.Module]:
    return [getattr(network, name) for name in LOCKED[Tune(config.tune)] if hasattr(network, name)]
