"""One file per checkpoint, to carry to a machine without a network; every byte of it is covered by a digest.

It is a plain zip of stored files whose comment, the last bytes of the file, is the SHA-256 of all bytes before the
digest. Equal content gives equal bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zipfile
from pathlib import Path

from callosum.core.errors import DigestMismatch, InputError, UsageError
from callosum.models.checkpoints.cards import CARD, CONFIG, GOLDEN, LICENCES, TOKENIZER, WEIGHTS, card_from
from callosum.models.checkpoints.stage import publish_file

MARK = b"callosum-pack/1 sha256:"
NUM_HEX = 64
MEMBERS = (CARD, LICENCES, GOLDEN, CONFIG, TOKENIZER, WEIGHTS)
"""In this order, so that the card can be read without the rest."""
DATE = (1980, 1, 1, 0, 0, 0)
MODE = 0o644
UNIX = 3
CHUNK = 1 << 20
BIG = 1 << 31
FIRST = re.compile(rb"PK\x03\x04.{26}" + re.escape(CARD.encode()), re.DOTALL)


def write_pack(folder: Path, file: Path) -> str:
    """Write a checkpoint folder, whose digests were checked, as one file.

    Returns:
        The digest at the end of the file, to compare by another way than the file itself came.

    Raises:
        UsageError: there is such a file already, or no folder to write it to.
    """
    if file.exists() or not file.parent.is_dir():
        message = "A pack is written to a new file in a folder that exists."
        raise UsageError(message, hint="Name another with -o.")
    hidden = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(hidden, "w") as bundle:
            bundle.comment = MARK + b"0" * NUM_HEX  # its length is in the bytes that are digested
            for name in MEMBERS:
                if (folder / name).is_file():
                    _add(bundle, folder / name)
        digest = _digest_but_the_end(hidden)
        with hidden.open("r+b") as stream:
            stream.seek(-NUM_HEX, os.SEEK_END)
            stream.write(digest.encode())
        publish_file(hidden, file)
    finally:
        hidden.unlink(missing_ok=True)
    return digest


def is_pack(path: Path) -> bool:
    """Whether a file is a pack, or was one before it was damaged."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(64)
        stream.seek(max(0, path.stat().st_size - len(MARK) - NUM_HEX))
        return bool(FIRST.match(head)) or stream.read(len(MARK)) == MARK


def read_pack(file: Path, folder: Path) -> str:
    """Check the digest of a pack, lay its files into `folder`, and return the digest.

    Raises:
        DigestMismatch: a byte is another than was written, or the file is cut short.
        InputError: it holds files that no checkpoint has.
    """
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - len(MARK) - NUM_HEX))
        tail = stream.read()
    digest = _digest_but_the_end(file)
    if tail[: len(MARK)] != MARK or tail[len(MARK) :] != digest.encode():
        message = "The pack is not as it was written: a byte differs, or its end is missing."
        raise DigestMismatch(message, hint="Copy it again.")
    try:
        with zipfile.ZipFile(file) as bundle:
            infos = bundle.infolist()
            _require_members(infos)
            for info in infos:
                with bundle.open(info) as source, (folder / info.filename).open("wb") as target:
                    shutil.copyfileobj(source, target, CHUNK)
    except (zipfile.BadZipFile, EOFError, RuntimeError, OSError, ValueError) as error:
        message = "The pack has the right digest and is no pack: it was not written by this package."
        raise InputError(message) from error
    card = card_from((folder / CARD).read_bytes())
    if not set(card.digests) <= {info.filename for info in infos}:
        message = "The pack lacks a file that its card names."
        raise InputError(message)
    return digest


def _require_members(infos: list[zipfile.ZipInfo]) -> None:
    names = [info.filename for info in infos]
    is_stored = all(i.compress_type == zipfile.ZIP_STORED and i.file_size == i.compress_size for i in infos)
    if len(set(names)) != len(names) or not {CARD, CONFIG, TOKENIZER, WEIGHTS} <= set(names) <= set(MEMBERS):
        message = f"A pack holds {', '.join(MEMBERS)}, and nothing else."
        raise InputError(message)
    if not is_stored:
        message = "The files of a pack are stored, not compressed."
        raise InputError(message)


def _add(bundle: zipfile.ZipFile, path: Path) -> None:
    info = zipfile.ZipInfo(path.name, DATE)
    info.create_system, info.external_attr = UNIX, MODE << 16
    info.file_size = path.stat().st_size
    with path.open("rb") as source, bundle.open(info, "w", force_zip64=info.file_size >= BIG) as target:
        shutil.copyfileobj(source, target, CHUNK)


def _digest_but_the_end(path: Path) -> str:
    """SHA-256 of all bytes before the digest."""
    left = max(0, path.stat().st_size - NUM_HEX)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while left and (piece := stream.read(min(CHUNK, left))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
