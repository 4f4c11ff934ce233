"""Cards: what a checkpoint is, what it was trained on, what it must not be used for, and the digests of its files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from callosum.core.config import config_from
from callosum.core.digest import digest_file
from callosum.core.errors import DigestMismatch, InputError, NotFound, UsageError

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "card.json"
GOLDEN, LICENCES = "golden.json", "LICENSES.md"
FILES = (CONFIG, WEIGHTS, TOKENIZER)
"""What every checkpoint holds beside its card."""
EXTRAS = (GOLDEN, LICENCES)
"""What it may hold too."""
FORMAT = "callosum.checkpoint/1"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\.[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Card:
    """A checkpoint's card.

    Attributes:
        name: `family.tag`.
        summary: One paragraph for a person.
        intended_use: What it is for.
        not_for: What it must not be used for.
        licence: Licence of the weights, with the reason.
        data: One entry per training pack: rows, source, licence, attribution.
        hyper_parameters: Every choice of the run.
        quality: Measured figures with their intervals and baselines.
        shortcuts: Where the model only learnt a shortcut.
        source: Where the weights come from.
        context_length: Longest text in pieces; what is longer is cut.
        space: Name of the space of its vectors, where it is not `name`: made of what changes the vectors alone, so
            that it does not depend on the name a checkpoint was given.
        digests: SHA-256 of each file of the folder.
    """

    name: str
    summary: str
    intended_use: str
    not_for: str
    licence: str
    data: list[dict[str, Any]] = field(default_factory=list)
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    quality: list[dict[str, Any]] = field(default_factory=list)
    shortcuts: list[str] = field(default_factory=list)
    source: str = ""
    context_length: int | None = None
    space: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)


def read_card(folder: Path) -> Card:
    """Read the card of a checkpoint folder.

    Raises:
        NotFound: there is no card.
        InputError: the card is not a JSON object, or not one of a card.
    """
    path = folder / CARD
    if not path.is_file():
        message = f"A checkpoint folder holds {CARD}; there is none."
        raise NotFound(message, hint="Name the folder that the recipe wrote.")
    return card_from(path.read_bytes())


def card_from(data: bytes) -> Card:
    """Read a card.

    Raises:
        InputError: it is not a JSON object, or not one of a card.
    """
    try:
        value = json.loads(data.decode("utf-8"))
    except ValueError as error:
        message = f"{CARD} is not JSON."
        raise InputError(message) from error
    if not isinstance(value, dict):
        message = f"{CARD} must hold one JSON object."
        raise InputError(message)
    try:
        card = config_from(Card, value)
    except UsageError as error:
        message = f"{CARD} is not a card of this version: {error}"
        raise InputError(message) from error
    digests = card.digests
    is_named = isinstance(card.name, str) and NAME.fullmatch(card.name)
    if not is_named or not isinstance(digests, dict) or not set(digests) <= {*FILES, *EXTRAS}:
        message = f"{CARD} must name its checkpoint as family.tag, and digests of {', '.join((*FILES, *EXTRAS))} only."
        raise InputError(message)
    return card


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is a checkpoint of this package and not a published model."""
    return path.is_dir() and (path / CARD).is_file() and (path / CONFIG).is_file()


def require_name(name: str) -> None:
    """Check that a name is `family.tag`.

    Raises:
        UsageError: it is not.
    """
    if not NAME.fullmatch(name):
        message = f"A checkpoint is named family.tag in small letters, digits, - and _; found {name!r}."
        raise UsageError(message, hint="Such as biomedclip.2023.")


def write_card(folder: Path, card: Card) -> Card:
    """Write the card with the digests of the files as they are now, and return it."""
    there = [*FILES, *(name for name in EXTRAS if (folder / name).is_file())]
    card = Card(**{**asdict(card), "digests": {name: digest_file(folder / name) for name in there}})
    text = json.dumps(asdict(card), indent=1, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return card


def verify_digests(folder: Path, card: Card) -> dict[str, str]:
    """Compare every file with its digest on the card and return the digests.

    Raises:
        NotFound: a file is missing.
        DigestMismatch: a file is not the one the card names.
    """
    for name in dict.fromkeys((*FILES, *card.digests)):
        path = folder / name
        if not path.is_file():
            message = f"Checkpoint {card.name} has no {name}."
            raise NotFound(message)
        found, named = digest_file(path), card.digests.get(name, "none")
        if found != named:
            message = f"{name} of checkpoint {card.name} has digest {found[:12]}; its card names {named[:12]}."
            raise DigestMismatch(message, hint="Install or copy the checkpoint again.")
    return dict(card.digests)
