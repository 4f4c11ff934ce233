"""WebDataset: tar shards in which an image, its text and its JSON share a key, read in place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from callosum.core.errors import Refused
from callosum.core.record import Attribute
from callosum.data.datasets.dataset import Card, Dataset, Example, Lack, Row, Skipped
from callosum.data.manifest import FIXED
from callosum.data.sources import Source
from callosum.data.tar import Inflated, inflate, is_packed, open_tar, read_member

CARD = Card(
    name="webdataset",
    title="WebDataset shards",
    summary="Tar archives of pairs: KEY.jpg beside KEY.txt or KEY.json, as img2dataset and BIOMEDICA write them.",
    size="any",
    licence="That of what is packed",
    access="Your own, or as published",
    layout="*.tar, *.tar.gz or *.tgz in ROOT or any folder below it, or ROOT is one. A key is the member's name up to "
    "the first dot of its last part; images are jpg, jpeg, png, webp, tif, tiff, bmp, gif or dcm",
    labels="None. A class number (cls) and the plain values of the JSON become attributes.",
    splits="that of the folder or the name of the shard when it holds the word train, val, valid, validation or test",
    patients="patient_id and study_id of the JSON, or the article (pmcid, article_accession_id), when they are there",
    notes=(
        "The text is KEY.txt, else caption, text or report of the JSON.",
        "Nothing is unpacked: members are read by position, and a name in an archive is never a path. Of two members "
        "of one name, the last counts.",
        "A .tar.gz is inflated into the temporary folder while it is read.",
    ),
    citation="Aizman et al., High Performance I/O For Large Scale Deep Learning, 2019, arXiv:2001.01858",
)

_SHARDS = (".tar", ".tar.gz", ".tgz")
_IMAGES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif", "dcm")
_TEXT = ("caption", "text", "report")
_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_MAX_VALUE_CHARS = 1000
"""Longer values of the JSON are no attributes."""
_MAX_SIDE_BYTES = 1 << 22
"""A larger text or JSON is left out."""


class WebDataset(Dataset):
    """See the card."""

    card = CARD

    def _open(self) -> None:
        if self.root.is_file():
            self._shards = [self.root]
        else:
            self._shards = sorted(path for path in self.root.rglob("*") if path.name.lower().endswith(_SHARDS))
        if not self._shards:
            self._find("*.tar")

    def _rows(self) -> Iterator[Row]:
        for shard in self._shards:
            yield from self._shard(shard)

    def _shard(self, shard: Path) -> Iterator[Row]:
        name = shard.relative_to(self.root).as_posix() if shard != self.root else shard.name
        packed = inflate(shard) if is_packed(shard) else None
        plain = packed.path if packed is not None else shard
        try:
            sizes = {member: size for member, (_, size) in open_tar(plain or shard).members.items()}
        except Refused:
            yield Skipped(name=name, lack=Lack.ROW_INVALID)
            return
        for key, parts in _samples(sizes):
            yield _sample(_Shard(shard, plain or shard, name, packed), key, parts, sizes)


class _Shard:
    """An open archive: where it is, what is read instead of it, and the split its name tells."""

    def __init__(self, path: Path, plain: Path, name: str, packed: Inflated | None) -> None:
        self.path, self.name, self.packed, self._plain = path, name, packed, plain
        words = "".join(c if c.isalpha() else " " for c in name.lower()).split()
        self.split = next((_SPLITS[word] for word in words if word in _SPLITS), "")

    def side(self, member: str | None, sizes: dict[str, int]) -> str:
        """The text of a small member; empty when there is none, or it cannot be read."""
        if member is None or sizes[member] > _MAX_SIDE_BYTES:
            return ""
        try:
            return read_member(self._plain, member).decode("utf-8-sig", "replace")
        except Refused:
            return ""


def _samples(sizes: dict[str, int]) -> Iterator[tuple[str, dict[str, str]]]:
    """Key and its members by extension; the members of a sample follow each other."""
    last, parts = "", dict[str, str]()
    for member in sizes:
        path = PurePosixPath(member)
        stem, _, extension = path.name.partition(".")
        key = f"{path.parent}/{stem}"
        if not stem or path.name.startswith("."):
            continue
        if key != last and parts:
            yield last, parts
            parts = {}
        last = key
        parts[extension.lower()] = member
    if parts:
        yield last, parts


def _sample(shard: _Shard, key: str, parts: dict[str, str], sizes: dict[str, int]) -> Row:
    image = next((parts[extension] for extension in _IMAGES if extension in parts), None)
    name = f"{shard.name}:{image or key.removeprefix('./')}"
    if image is None:
        return Skipped(name=name, lack=Lack.MISSING_IMAGE)
    known = _object(shard.side(parts.get("json"), sizes))
    text = shard.side(parts.get("txt"), sizes) or next((str(known[k]) for k in _TEXT if known.get(k)), "")
    attributes = {k: v for k, v in known.items() if k not in (*FIXED, *_TEXT) and _is_plain(v)}
    label = shard.side(parts.get("cls"), sizes).strip()
    if label:
        attributes["cls"] = int(label) if label.isdecimal() else label[:_MAX_VALUE_CHARS]
    source = Source(
        name=name,
        location=shard.path,
        member=image,
        text=text.strip(),
        patient_id=str(known.get("patient_id") or ""),
        study_id=str(known.get("study_id") or known.get("pmcid") or known.get("article_accession_id") or ""),
        modality=str(known.get("modality") or ""),
        body_part=str(known.get("body_part") or ""),
        split=str(known.get("split") or shard.split),
        attributes=attributes,
        inflated=shard.packed,
    )
    return Example(source=source)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        value = {}
    return value if isinstance(value, dict) else {}


def _is_plain(value: Attribute | Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and 0 < len(value) <= _MAX_VALUE_CHARS)
