"""Cards: what a checkpoint is, what it was trained on, what it must not be used for, and the digests of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from callosum.core.config import config_from
from callosum.core.digest import digest_file
from callosum.core.errors import DigestMismatch, InputError, NotFound

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "card.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER)
FORMAT = "callosum.checkpoint/1"


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
    digests: Mapping[str, str] = field(default_factory=dict)


def read_card(folder: Path) -> Card:
    """Read the card of a checkpoint folder.

    Raises:
        NotFound: there is no card.
        InputError: the card is not a JSON object.
    """
    path = folder / CARD
    if not path.is_file():
        message = f"A checkpoint folder holds {CARD}; there is none."
        raise NotFound(message, hint="Name the folder that the recipe wrote.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{CARD} is not JSON."
        raise InputError(message) from error
    if not isinstance(value, dict):
        message = f"{CARD} must hold one JSON object."
        raise InputError(message)
    return config_from(Card, value)


def write_card(folder: Path, card: Card) -> None:
    """Write the card with the digests of the files as they are now."""
    digests = {name: digest_file(folder / name) for name in FILES}
    text = json.dumps({**asdict(card), "digests": digests}, indent=1, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def verify_digests(folder: Path, card: Card) -> dict[str, str]:
    """Compare every file with its digest on the card and return the digests.

    Raises:
        NotFound: a file is missing.
        DigestMismatch: a file is not the one the card names.
    """
    for name in FILES:
        path = folder / name
        if not path.is_file():
            message = f"Checkpoint {card.name} has no {name}."
            raise NotFound(message)
        found, named = digest_file(path), card.digests.get(name, "none")
        if found != named:
            message = f"{name} of checkpoint {card.name} has digest {found[:12]}; its card names {named[:12]}."
            raise DigestMismatch(message, hint="Install or copy the checkpoint again.")
    return dict(card.digests)
