"""Brings a model into the model home: a published one, a folder of ours, or a file that `pack` wrote."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from callosum.core.digest import digest_file
from callosum.core.errors import CallosumError, DigestMismatch, InputError, NotFound, UsageError
from callosum.models.checkpoints.cards import (
    CARD,
    CONFIG,
    EXTRAS,
    FILES,
    GOLDEN,
    LICENCES,
    TOKENIZER,
    WEIGHTS,
    Card,
    is_checkpoint,
    read_card,
    require_name,
    verify_digests,
    write_card,
)
from callosum.models.checkpoints.convert import Converted, convert
from callosum.models.checkpoints.foreign import Reading
from callosum.models.checkpoints.golden import golden_bytes, has_golden, require_golden
from callosum.models.checkpoints.home import imported, installed, models_home
from callosum.models.checkpoints.load import open_checkpoint
from callosum.models.checkpoints.pack import is_pack, read_pack
from callosum.models.checkpoints.published import NO_PATIENT, USE, published
from callosum.models.checkpoints.stage import hidden_folder, only_writer, publish, require_free
from callosum.models.checkpoints.weights import write_weights

LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "LICENCE.md", LICENCES, "COPYING")
MAX_LICENCE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Import:
    """What is to be imported, and how.

    Attributes:
        path: A published model's folder, zip or file; a checkpoint folder; or a pack.
        name: `family.tag`; by default made of the family and the digest of the weights.
        reading: How to read it, where its files do not say.
        licence: Overrides what is known of the licence.
        source: Where it comes from, where that is known better than by its family.
    """

    path: Path
    name: str | None = None
    reading: Reading = field(default_factory=Reading)
    licence: str | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes:
        card: The card of the checkpoint.
        is_new: False where the same content was installed under this name already.
    """

    card: Card
    is_new: bool


def import_model(what: Import, *, tell: Callable[[str], None] = lambda _: None) -> Imported:
    """Import once; nothing is written before the model was read, found complete and run.

    Args:
        what: The model.
        tell: Takes the name of each step as it begins.

    Raises:
        NotFound: there are no weights or no tokenizer.
        InputError: the model is damaged, holds code, or is not one this package computes.
        DigestMismatch: a pack or folder is not as it was written.
        IntegrityError: a pack or folder gives other vectors here than where it was written.
        UsageError: the name is taken by another content.
        ArchiveBusy: another import is running.
    """
    if what.name is not None:
        require_name(what.name)
    with only_writer(models_home()):
        return import_alone(what, tell=tell)


def import_alone(what: Import, *, tell: Callable[[str], None]) -> Imported:
    """`import_model` for who is the only writer of the model home already."""
    if is_pack(what.path) or is_checkpoint(what.path):
        return _copied(what, tell)
    return _converted(what, tell)


def _converted(what: Import, tell: Callable[[str], None]) -> Imported:
    """A published model: read, run, written, and what was written run again."""
    tell("reading the model")
    model = convert(what.path, what.reading)
    if model.model.assumed:
        tell(model.model.assumed)
    name = what.name or model.name
    if there := _same(name, model.digests):
        return Imported(card=there, is_new=False)
    tell("computing golden vectors")
    golden = golden_bytes(model.encoder())
    tell("writing")
    with hidden_folder(models_home()) as folder:
        (folder / CONFIG).write_bytes(model.config)
        (folder / TOKENIZER).write_bytes(model.tokenizer)
        (folder / GOLDEN).write_bytes(golden)
        write_weights(folder / WEIGHTS, model.model.state)
        card = _card(model, what, name)
        (folder / LICENCES).write_text(_licence_text(what.path, card), encoding="utf-8")
        card = write_card(folder, card)
        if card.digests[WEIGHTS] != model.weights_digest:
            message = "The weights were not written as they were read."
            raise DigestMismatch(message, hint="The disk may be damaged; import again.")
        tell("computing them from what was written")
        require_golden(folder, lambda: open_checkpoint(folder), name=name)
        publish(folder, models_home() / name, replaces=name in imported())
    return Imported(card=card, is_new=True)


def _copied(what: Import, tell: Callable[[str], None]) -> Imported:
    """A pack or a checkpoint folder: copied to a hidden folder, checked there, then named."""
    if what.reading != Reading():
        message = "A checkpoint of this package says itself how it is read; options of reading do not apply."
        raise UsageError(message, hint="Leave out --family, --tokenizer, --pool and --context-length.")
    tell("checking digests")
    with hidden_folder(models_home()) as folder:
        if what.path.is_dir():
            _copy(what.path, folder)
        else:
            tell(f"the pack has digest {read_pack(what.path, folder)}")
        card = read_card(folder)
        verify_digests(folder, card)
        if what.name not in (None, card.name):
            card = replace(card, name=what.name, space=card.space or card.name)
        if there := _same(card.name, card.digests):
            return Imported(card=there, is_new=False)
        if not has_golden(folder):
            message = "The checkpoint holds no golden vectors, so that it cannot be tried on this machine."
            raise InputError(message, hint="Import the published model itself.")
        tell("computing golden vectors")
        try:
            require_golden(folder, lambda: open_checkpoint(folder), name=card.name)
        except CallosumError:
            raise
        except Exception as error:  # sizes that are none, weights that are none: whatever they led to
            message = f"The checkpoint has the right digests and cannot be computed ({type(error).__name__})."
            raise InputError(message, hint="It was not written by this package.") from error
        card = write_card(folder, replace(card, licence=what.licence or card.licence))
        publish(folder, models_home() / card.name, replaces=card.name in imported())
    return Imported(card=card, is_new=True)


def _same(name: str, digests: Mapping[str, str]) -> Card | None:
    """The card of what is installed under a name, if its content is the same and undamaged.

    Raises:
        UsageError: another content has this name.
    """
    folder = installed().get(name)
    if folder is None:
        require_free(models_home() / name)
        return None
    try:
        card = read_card(folder)
    except InputError:
        if (folder / WEIGHTS).is_file() and digest_file(folder / WEIGHTS) == digests[WEIGHTS]:
            return None  # its card is damaged: this import repairs it
        raise
    if any(card.digests.get(file) != digests[file] for file in FILES):
        message = f"Another content is installed under the name {name}."
        raise UsageError(message, hint="Give this one another name with --name.")
    try:
        verify_digests(folder, card)
    except (DigestMismatch, NotFound):
        return None  # damaged since: this import repairs it
    return card


def _card(model: Converted, what: Import, name: str) -> Card:
    known = model.model.origin or published(model.model.family)
    return Card(
        name=name,
        summary=known.summary,
        intended_use=USE,
        not_for=f"{NO_PATIENT} {known.not_for}".strip(),
        licence=what.licence or known.licence,
        source=what.source or known.source or "unknown: a file or folder",
        hyper_parameters=_choices(model),
        context_length=model.model.config.text.context_length,
        space=model.name,
    )


def _choices(model: Converted) -> dict[str, str]:
    """What a reader of the card wants to know of the towers; the space's recipe covers it by the digest of sizes."""
    text = model.model.config.text
    said = {name: str(getattr(text, name)) for name in ("pool", "activation") if hasattr(text, name)}
    return {**said, "assumed": model.model.assumed} if model.model.assumed else said


def _licence_text(path: Path, card: Card) -> str:
    """The licence that lies beside the weights, below what the card says."""
    head = f"# Licence of {card.name}\n\n{card.licence}\n"
    for name in LICENCE_FILES:
        file = path / name
        if file.is_file() and file.stat().st_size <= MAX_LICENCE_BYTES:
            return f"{head}\n{file.read_text(encoding='utf-8', errors='replace')}"
    return head


def _copy(source: Path, folder: Path) -> None:
    for name in (CARD, *FILES, *EXTRAS):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
