"""Where a run begins: towers with random weights, or a checkpoint, ready to be trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from callosum.core.errors import UsageError
from callosum.models.architectures import RANDOM, Architecture, build
from callosum.models.checkpoints.cards import (
    LICENCES,
    TOKENIZER,
    WEIGHTS,
    Card,
    is_checkpoint,
    read_card,
    verify_digests,
)
from callosum.models.checkpoints.convert import COUNTER, convert
from callosum.models.checkpoints.fit import require_fit
from callosum.models.checkpoints.home import checkpoint_folder
from callosum.models.checkpoints.load import read_sizes
from callosum.models.checkpoints.published import published
from callosum.models.dual import DualEncoder
from callosum.models.empty import without_values
from callosum.models.preprocess import Preprocess
from callosum.models.tokenizer import SubwordTokenizer, train_wordpiece
from callosum.models.towers import DualConfig

LOCAL = "local-dir:"


@dataclass(kw_only=True)
class Start:
    """A network to train and what belongs to it.

    Attributes:
        network: Both towers, float32, every weight unlocked, batch norms not folded.
        tokenizer: Its tokenizer.
        preprocess: From a picture to its input.
        origin: The checkpoint it comes from; empty for random weights.
        licence: Of that checkpoint's weights.
        licences: Text of its file of licences, where it has one.
    """

    network: DualEncoder
    tokenizer: SubwordTokenizer
    preprocess: Preprocess
    origin: str = ""
    licence: str = ""
    licences: str = ""


def from_random(architecture: Architecture, texts: Sequence[str], *, seed: int) -> Start:
    """Random weights, and a vocabulary learnt from the training texts: equal texts and seed, equal start.

    Args:
        architecture: Sizes, of which the number of word pieces is the most there may be.
        texts: Texts of the training side.
        seed: Of the weights.

    Raises:
        UsageError: there are no texts to learn words from.
    """
    if not any(text.strip() for text in texts):
        message = "A vocabulary is learnt from the training texts; there are none."
        raise UsageError(message, hint="Give texts, or start from a checkpoint.")
    sizes = architecture.config.text
    learnt = train_wordpiece(texts, vocab_size=sizes.vocab_size)
    tokenizer = SubwordTokenizer(
        learnt, context_length=sizes.context_length, pad_length=getattr(sizes, "pad_length", None)
    )
    config = replace(architecture.config, text=replace(sizes, vocab_size=tokenizer.vocab_size))
    network = build(replace(architecture, config=config), weights=RANDOM, seed=seed)
    return Start(network=network, tokenizer=tokenizer, preprocess=architecture.preprocess)


def from_checkpoint(name: str) -> Start:
    """The network of a checkpoint, to be trained on.

    Args:
        name: An installed one, as `callosum model list` shows them; or `local-dir:PATH`, a checkpoint's folder or a
            published model.

    Raises:
        NotFound: no checkpoint has this name.
        InputError: it is damaged.
        DigestMismatch: a file is not the one its card names.
    """
    folder = Path(name.removeprefix(LOCAL)).expanduser() if name.startswith(LOCAL) else checkpoint_folder(name)
    if not is_checkpoint(folder):
        model = convert(folder).model
        network = trainable(model.config, model.preprocess, model.state)
        licence = published(str(model.family)).licence
        return Start(
            network=network,
            tokenizer=model.tokenizer,
            preprocess=model.preprocess,
            origin=str(model.family),
            licence=licence,
        )
    card = read_card(folder)
    verify_digests(folder, card)
    config, preprocess = read_sizes(folder)
    tokenizer = SubwordTokenizer.from_file(
        folder / TOKENIZER,
        context_length=config.text.context_length,
        pad_length=getattr(config.text, "pad_length", None),
    )
    return Start(
        network=trainable(config, preprocess, load_file(folder / WEIGHTS)),
        tokenizer=tokenizer,
        preprocess=preprocess,
        origin=card.name,
        licence=card.licence,
        licences=_licences(folder, card),
    )


def trainable(config: DualConfig, preprocess: Preprocess, state: Mapping[str, Tensor]) -> DualEncoder:
    """A network with these weights in float32; what a run for inference folds away is kept here.

    Raises:
        InputError: weights are missing, unexpected or of another shape; all are listed.
    """
    with without_values():
        network = DualEncoder(config, preprocess)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    counters = {name: torch.zeros((), dtype=torch.int64) for name in expected if name.endswith(COUNTER)}
    given = {**counters, **{name: value for name, value in state.items() if not name.endswith(COUNTER)}}
    require_fit({name: tuple(value.shape) for name, value in given.items()}, expected)
    own: dict[str, Any] = {n: v.float().clone() if v.is_floating_point() else v for n, v in given.items()}
    network.load_state_dict(own, strict=True, assign=True)
    network.requires_grad_(requires_grad=True)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def set_temperature(network: DualEncoder, *, scale: float, bias: float, needs_bias: bool) -> None:
    """Give the similarities the temperature that an objective begins with, and a bias where it needs one."""
    with torch.no_grad():
        network.log_logit_scale.fill_(math.log(scale))
    if needs_bias and not network.config.has_logit_bias:
        network.config = replace(network.config, has_logit_bias=True)
        network.logit_bias = torch.nn.Parameter(torch.zeros(()))
    if network.config.has_logit_bias:
        with torch.no_grad():
            network.logit_bias.fill_(bias)


def _licences(folder: Path, card: Card) -> str:
    return (folder / LICENCES).read_text(encoding="utf-8") if LICENCES in card.digests else ""
