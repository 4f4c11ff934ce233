"""A checkpoint folder as an `Encoder`, after its digests were checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from callosum.core.config import config_from
from callosum.core.digest import digest_json
from callosum.core.embedding import SpaceId
from callosum.core.errors import InputError
from callosum.models.checkpoints.cards import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    Card,
    read_card,
    verify_digests,
)
from callosum.models.checkpoints.golden import Deviation, has_golden, require_golden
from callosum.models.checkpoints.home import checkpoint_folder, installed
from callosum.models.compute import compute_for
from callosum.models.encoder import CheckpointEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.runtime.precision import RuntimeConfig
from callosum.models.tokenizer import SubwordTokenizer
from callosum.models.towers import DualConfig, kind_of


def installed_cards(*, tell: Callable[[str], None] = lambda _: None) -> list[Card]:
    """Cards of the installed checkpoints; what is wrong with the others is told, and hides none of these."""
    cards = []
    for name, folder in installed().items():
        try:
            cards.append(read_card(folder))
        except InputError as error:
            tell(f"{name} is damaged: {error}")
    return cards


def verify_checkpoint(name: str) -> tuple[Card, Deviation | None]:
    """Compare the files of an installed checkpoint with its card, and its vectors with the golden ones.

    Returns:
        The card, and how far the vectors are from the golden ones, where the checkpoint holds some.

    Raises:
        NotFound: no checkpoint has this name, or a file is missing.
        DigestMismatch: a file is not the one its card names.
        IntegrityError: the vectors differ by more than rounding.
    """
    return verify_folder(checkpoint_folder(name))


def verify_folder(folder: Path, *, is_run: bool = True) -> tuple[Card, Deviation | None]:
    """`verify_checkpoint` for a folder; without `is_run` only its files are looked at."""
    card = read_card(folder)
    verify_digests(folder, card)
    if not is_run or not has_golden(folder):
        return card, None
    return card, require_golden(folder, lambda: open_checkpoint(folder), name=card.name)


def load_checkpoint(
    name: str, *, read: Callable[[Path], Any] | None = None, runtime: RuntimeConfig | None = None
) -> CheckpointEncoder:
    """Load an installed checkpoint by any of its names; see `checkpoint_folder` and `open_checkpoint`."""
    return open_checkpoint(checkpoint_folder(name), read=read, runtime=runtime)


def read_sizes(folder: Path) -> tuple[DualConfig, Preprocess]:
    """Sizes and preprocessing of a checkpoint folder, from its `config.json`.

    Raises:
        InputError: the file is damaged or names a tower that is not known.
        UsageError: it has a setting that is not known.
    """
    try:
        values = dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        preprocess = config_from(Preprocess, values.pop("preprocess"))
        return DualConfig.from_json({name: value for name, value in values.items() if name != "format"}), preprocess
    except (ValueError, KeyError, TypeError) as error:
        message = f"{CONFIG} does not hold the sizes of a checkpoint."
        raise InputError(message) from error


def open_checkpoint(
    folder: Path, *, read: Callable[[Path], Any] | None = None, runtime: RuntimeConfig | None = None
) -> CheckpointEncoder:
    """Load a checkpoint folder; the weights of the image tower are read when the first image comes.

    Args:
        folder: What `save_checkpoint` or an import wrote.
        read: Reads a path to something with `display()`; without it paths are refused.
        runtime: What computes; the default is chosen by a probe.

    Raises:
        NotFound: a file is missing.
        DigestMismatch: a file is not the one its card names.
    """
    card = read_card(folder)
    digests = verify_digests(folder, card)
    config, preprocess = read_sizes(folder)
    context, pad_length = config.text.context_length, getattr(config.text, "pad_length", None)
    tokenizer = SubwordTokenizer.from_file(folder / TOKENIZER, context_length=context, pad_length=pad_length)
    return CheckpointEncoder(
        dim=config.dim,
        compute=compute_for(config, preprocess, folder / WEIGHTS, pad_id=tokenizer.pad_id, runtime=runtime),
        tokenizer=tokenizer,
        preprocess=preprocess,
        space=space_of(card.space or card.name, digests, config, preprocess),
        read=read,
    )


def checkpoint_space(folder: Path) -> SpaceId:
    """The space of a checkpoint folder, as its card and its sizes name it; no file is read but these."""
    card = read_card(folder)
    return space_of(card.space or card.name, card.digests, *read_sizes(folder))


def space_of(name: str, digests: Mapping[str, str], config: DualConfig, preprocess: Preprocess) -> SpaceId:
    """The space of a checkpoint: its name and everything that changes its vectors.

    Args:
        name: Name of the space.
        digests: Of weights and tokenizer.
        config: Sizes; heads, activations and the longest text are not in the weights but change the vectors.
        preprocess: From a picture to the tower's input.
    """
    recipe = {
        "weights": digests[WEIGHTS],
        "tokenizer": digests[TOKENIZER],
        "preprocess": digest_json(asdict(preprocess)),
        "pooling": pooling(config),
    }
    if kind_of(config.vision) != "hybrid":  # the starter's space was named before there was a choice of sizes
        recipe["sizes"] = digest_json(config.to_json())
    return SpaceId(name=name, recipe=recipe)


def pooling(config: DualConfig) -> str:
    """How many tokens become one vector, on either side."""
    text = getattr(config.text, "pool", "mean of tokens and of word vectors" if kind_of(config.text) == "small" else "")
    length = getattr(config.text, "pad_length", None)
    padded = f", padded to {length}" if length else ""
    return f"image: {kind_of(config.vision)}; text: {text or kind_of(config.text)}{padded}"
