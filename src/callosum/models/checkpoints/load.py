"""A checkpoint folder as an `Encoder`, after its digests were checked."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from callosum.core.config import config_from
from callosum.core.digest import digest_json
from callosum.core.embedding import SpaceId
from callosum.core.errors import NotFound
from callosum.models.checkpoints.cards import CARD, CONFIG, TOKENIZER, WEIGHTS, Card, read_card, verify_digests
from callosum.models.encoder import CheckpointEncoder, EncoderConfig
from callosum.models.preprocess import Preprocess
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.tokenizer import WordPiece

INSTALLED = Path(__file__).parent
POOLING = "image: query token and grid mean; text: mean of tokens and of word vectors"


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
    preprocess = config_from(Preprocess, values["preprocess"])
    text = config_from(SmallTextConfig, values["text"])
    space = SpaceId(
        name=card.name,
        recipe={
            "weights": digests[WEIGHTS],
            "tokenizer": digests[TOKENIZER],
            "preprocess": digest_json(values["preprocess"]),
            "pooling": digest_json(POOLING),
        },
    )
    return CheckpointEncoder(
        config=EncoderConfig(dim=values["dim"], vision=values["vision"], text=text),
        weights_path=folder / WEIGHTS,
        tokenizer=WordPiece.from_file(folder / TOKENIZER, context_length=text.context_length),
        preprocess=preprocess,
        space=space,
        read=read,
    )
