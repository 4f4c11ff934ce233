"""The card of an archive, `archive.json`: its format, its space and the secret of its pseudonyms."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

from callosum.archive.commit import make_folder, write_atomically
from callosum.core.embedding import SpaceId
from callosum.core.errors import InputError, NotFound, UsageError

CARD = "archive.json"
FORMAT = "callosum.archive/3"
EARLIER_FORMATS = ("callosum.archive/1", "callosum.archive/2")
"""Read too: they lack columns that are added when they are opened."""


def make_card(path: Path, *, space: SpaceId | None) -> dict[str, Any]:
    """Write the card of a new archive into a new or empty folder.

    Raises:
        UsageError: the folder holds something already.
    """
    if path.exists() and (not path.is_dir() or any(not p.name.startswith(f".{CARD}.") for p in path.iterdir())):
        message = "An archive is made in a new or empty folder; this one holds something."
        raise UsageError(message, hint="Open it, or choose another folder.")
    make_folder(path)
    card: dict[str, Any] = {"format": FORMAT, "key": secrets.token_hex(32)}
    if space is not None:
        card["space"] = space.to_json()
    write_card(path, card)
    return card


def read_card(path: Path) -> dict[str, Any]:
    """The card of the archive in a folder.

    Raises:
        NotFound: there is none.
        InputError: it is of a format that this version does not read.
    """
    try:
        card = json.loads((path / CARD).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        message = "There is no archive in this folder."
        raise NotFound(message, hint="Make one with: callosum index ARCHIVE SOURCE.") from None
    except (ValueError, OSError) as error:
        message = f"The archive's {CARD} cannot be read as JSON."
        raise InputError(message, hint="Restore it from a backup.") from error
    found = card.get("format") if isinstance(card, dict) else None
    if found not in (FORMAT, *EARLIER_FORMATS) or not isinstance(card.get("key"), str):
        message = f"This version reads archives of format {FORMAT} with a key; found format {found!r}."
        raise InputError(message, hint="Restore it from a backup, or use the version that wrote it.")
    return card


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Replace the card; a crash leaves the old one or the new one."""
    write_atomically(path / CARD, json.dumps(card, indent=1).encode())
