"""Where checkpoints are: with the package, and in the user's model home; and which one a name means."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path

from callosum.core.errors import CallosumError, NotFound, UsageError
from callosum.models.checkpoints.cards import CARD, NAME, read_card
from callosum.models.checkpoints.published import PUBLISHED

PACKAGED = Path(__file__).parent
HOME_VARIABLE = "CALLOSUM_HOME"
HUB = "hf-hub:"


def models_home() -> Path:
    """The folder of imported checkpoints; it need not exist.

    It is `models` below `CALLOSUM_HOME`, else below the platform's folder for data of programs.
    """
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named).expanduser() / "models"
    user = Path.home()
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "callosum" / "models"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or user / "AppData" / "Local") / "callosum" / "models"
    return Path(os.environ.get("XDG_DATA_HOME") or user / ".local" / "share") / "callosum" / "models"


def packaged() -> dict[str, Path]:
    """Folders of the checkpoints that came with the package, by name."""
    folders = sorted(path.parent for path in PACKAGED.glob(f"*/{CARD}"))
    return {read_card(folder).name: folder for folder in folders}


def imported() -> dict[str, Path]:
    """Folders of the imported checkpoints, by name: those whose import was finished."""
    home = models_home()
    if not home.is_dir():
        return {}
    return {path.name: path for path in sorted(home.iterdir()) if NAME.fullmatch(path.name) and _is_checkpoint(path)}


def installed() -> dict[str, Path]:
    """Folders of all installed checkpoints by name, those of the package first and never replaced."""
    ours = packaged()
    return {**ours, **{name: folder for name, folder in imported().items() if name not in ours}}


def checkpoint_folder(name: str) -> Path:
    """Folder of an installed checkpoint.

    Args:
        name: `family.tag`; or `family`, which means the package's own where there is one, else the only one there is;
            or the name of its space; or `hf-hub:ORG/REPO`, as it was pulled.

    Raises:
        NotFound: no checkpoint has this name; the message lists those that exist.
        UsageError: several are of this family.
    """
    folders = installed()
    if name in folders:
        return folders[name]
    family = {full: folder for full, folder in folders.items() if full.split(".")[0] == name}
    ours = [folder for full, folder in packaged().items() if full in family]
    if ours or len(family) == 1:
        return (ours or list(family.values()))[0]
    if family:
        message = f"{len(family)} checkpoints are of the family {name!r}: {', '.join(family)}."
        raise UsageError(message, hint="Give the whole name.")
    for folder in folders.values():
        if name in _other_names(folder):
            return folder
    raise _not_found(name, list(folders))


def _is_checkpoint(folder: Path) -> bool:
    return folder.is_dir() and (folder / CARD).is_file()


def _other_names(folder: Path) -> tuple[str, ...]:
    """The name of its space, and the hub's name for it with and without revision; none of a card that is damaged."""
    try:
        card = read_card(folder)
    except CallosumError:
        return ()
    names = [card.space]
    if card.source.startswith(HUB):
        names += [card.source, card.source.split("@")[0]]
    return tuple(name for name in names if name)


def _not_found(name: str, known: list[str]) -> NotFound:
    if name.startswith(HUB):
        message = "A model of the hub is fetched once, when asked to; this one was not."
        return NotFound(message, hint=f"Run: callosum model pull {name} --allow-network")
    if known_family := PUBLISHED.get(name):
        message = f"No checkpoint of the family {name} is installed. {known_family.summary}"
        hint = f"It comes from {known_family.source}, and is brought in by: callosum model import PATH"
        return NotFound(message, hint=hint * bool(known_family.source))
    message = f"No checkpoint is called {name!r}."
    near = difflib.get_close_matches(name, [*known, *(full.split(".")[0] for full in known)], n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Installed: {', '.join(known) or 'none'}."
    return NotFound(message, hint=f"{hint} A published model is brought in by: callosum model import PATH")
