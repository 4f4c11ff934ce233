"""A checkpoint folder as an `Encoder`, after its digests were checked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from callosum.core.config import config_from
from callosum.core.digest import digest_json
from callosum.core.embedding import SpaceId
from callosum.core.errors import NotFound
from callosum.models.checkpoints.cards import CARD, CONFIG, TOKENIZER, WEIGHTS, Card, read_card, verify_digests
from callosum.models.compute import compute_for
from callosum.models.encoder import CheckpointEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.tokenizer import SubwordTokenizer
from callosum.models.towers import DualConfig, kind_of

INSTALLED = Path(__file__).parent


def installed_cards() -> list[Card]:
    """Cards of the checkpoints that came with the package."""
    folders = sorted(path.parent for path in INSTALLED.glob(f"*/{CARD}"))
    return [read_card(folder) for folder in folders]


def checkpoint_folder(name: str) -> Path:
    """Folder of an installed checkpoint, by `family` or `family.tag`.

    Raises:
        NotFound: no checkpoint has this name; the message lists those that exist.
    """
    names = {read_card(path.parent).name: path.parent for path in sorted(INSTALLED.glob(f"*/{CARD}"))}
    for full, folder in names.items():
        if name in (full, full.split(".")[0]):
            return folder
    message = f"No checkpoint is called {name!r}."
    near = difflib.get_close_matches(name, [*names, *(full.split(".")[0] for full in names)], n=1)
    raise NotFound(message, hint=f"Did you mean {near[0]!r}?" if near else f"Installed: {', '.join(names) or 'none'}.")


def verify_checkpoint(name: str) -> Card:
    """Compare the files of an installed checkpoint with its card, and return the card.

    Raises:
        NotFound: no checkpoint has this name, or a file is missing.
        DigestMismatch: a file is not the one its card names.
    """
    folder = checkpoint_folder(name)
    card = read_card(folder)
    verify_digests(folder, card)
    return card


def load_checkpoint(name: str, *, read: Callable[[Path], Any] | None = None) -> CheckpointEncoder:
    """Load an installed checkpoint by `family` or `family.tag`; see `open_checkpoint`."""
    return open_checkpoint(checkpoint_folder(name), read=read)


def open_checkpoint(folder: Path, *, read: Callable[[Path], Any] | None = None) -> CheckpointEncoder:
    """Load a checkpoint folder; the weights of the image tower are read when the first image comes.

    Args:
        folder: What `save_checkpoint` wrote.
        read: Reads a path to something with `display()`; without it paths are refused.

    Raises:
        NotFound: a file is missing.
        DigestMismatch: a file is not the one its card names.
    """
    card = read_card(folder)
    digests = verify_digests(folder, card)
    values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    preprocess = config_from(Preprocess, values.pop("preprocess"))
    config = DualConfig.from_json({name: value for name, value in values.items() if name != "format"})
    context, pad_length = config.text.context_length, getattr(config.text, "pad_length", None)
    return CheckpointEncoder(
        dim=config.dim,
        compute=compute_for(config, preprocess, folder / WEIGHTS),
        tokenizer=SubwordTokenizer.from_file(folder / TOKENIZER, context_length=context, pad_length=pad_length),
        preprocess=preprocess,
        space=SpaceId(
            name=card.name,
            recipe={
                "weights": digests[WEIGHTS],
                "tokenizer": digests[TOKENIZER],
                "preprocess": digest_json(asdict(preprocess)),
                "pooling": pooling(config),
            },
        ),
        read=read,
    )


def pooling(config: DualConfig) -> str:
    """How many tokens become one vector, on either side."""
    text = getattr(config.text, "pool", "mean of tokens and of word vectors" if kind_of(config.text) == "small" else "")
    length = getattr(config.text, "pad_length", None)
    padded = f", padded to {length}" if length else ""
    return f"image: {kind_of(config.vision)}; text: {text or kind_of(config.text)}{padded}"
