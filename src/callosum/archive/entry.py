"""Entry: one picture on its way into the archive, and what became of it. Made by reading workers: small and picklable.

One file may give several pictures. A row is known by its file and the part of it that it shows.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from callosum.core.digest import digest_bytes, digest_json
from callosum.core.record import Attribute, Image

THUMBNAIL_PX = 192
THUMBNAIL_QUALITY = 82
PART_ATTRIBUTES = ("volume", "frame", "slice", "plane", "tile_x", "tile_y", "tile_level", "tile_um")
"""Attributes that say which part of a file a picture shows."""
_IDS = ("patient_id", "study_id", "series_id", "instance_id", "accession_id")
_IDENTIFIERS = ("patient_id", "study_uid", "series_uid", "instance_uid", "accession")
"""How `Image.identifiers` names them."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Everything the archive keeps of an image, but its vectors.

    Attributes:
        record_id: The caller's id, or one made from the content.
        source: The path below the SOURCE as the caller gave it.
        source_digest: SHA-256 of the file; of a batch of tiles, the batch's own.
        part: Which part of the file; empty for the whole.
        file_id: What the parts of one file share, where that is not `source_digest`.
        picture_digest: SHA-256 of the rendered picture, where an instance UID promises that it is always the same.
        report_id: The report that `text` is taken from; None for a caption of the picture's own.
        findings: Concepts that the text states, with all that they are a kind of; None where no text was understood.
        findings_uncertain: Concepts of which it says that they may be there, likewise.
        findings_absent: Concepts that it denies.
        thumbnail: JPEG, at most `THUMBNAIL_PX` on the longer side.
        render_recipe: JSON text: what decided how the picture looks, and what computed its vector.
        flags: Codes of the doubts about this image.
    """

    record_id: str
    source: str
    source_digest: str
    thumbnail: bytes
    render_recipe: str
    modality: str | None = None
    body_part: str | None = None
    text: str | None = None
    patient_id: str | None = None
    study_id: str | None = None
    series_id: str | None = None
    instance_id: str | None = None
    accession_id: str | None = None
    split: str | None = None
    part: str = ""
    file_id: str | None = None
    picture_digest: str | None = None
    report_id: str | None = None
    findings: tuple[str, ...] | None = None
    findings_uncertain: tuple[str, ...] | None = None
    findings_absent: tuple[str, ...] | None = None
    flags: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def computed_by(self, runtime: str) -> Entry:
        """The entry, its render recipe naming what computed the vector."""
        return replace(self, render_recipe=json.dumps({**json.loads(self.render_recipe), "runtime": runtime}))

    def averaged(self, factor: int) -> Entry:
        """The entry, its render recipe telling over squares of which side the rendered picture was averaged."""
        return replace(self, render_recipe=json.dumps({**json.loads(self.render_recipe), "averaged": factor}))

    def pseudonymous(self, key: bytes) -> Entry:
        """The same entry, its five ids replaced by keyed hashes that cannot be looked up without the key."""
        hashed: dict[str, Any] = {name: pseudonym(key, getattr(self, name)) for name in _IDS}
        return replace(self, **hashed)

    def with_ids(self, *, patient_id: str | None, study_id: str | None) -> Entry:
        """The same entry with ids that the caller chose, where there are any."""
        return replace(self, patient_id=patient_id or self.patient_id, study_id=study_id or self.study_id)


class Stored(StrEnum):
    """What became of a record that was added."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"
    UID_CONFLICT = "uid_conflict"
    HIERARCHY_CONFLICT = "hierarchy_conflict"

    @property
    def is_refused(self) -> bool:
        """True when the record contradicts what is there, and was not stored."""
        return self not in (Stored.NEW, Stored.SAME)


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """What became of a record that was added.

    Attributes:
        stored: New, the same content as a row that is there, or what it contradicts.
        is_fitted: False when an attribute was left out because its column holds values of another kind.
    """

    stored: Stored
    is_fitted: bool = True


def entry_from_image(
    image: Image,
    *,
    source: str,
    display: np.ndarray | None = None,
    record_id: str = "",
    is_first: bool = True,
    **fields: Any,
) -> Entry:
    """Build the entry of a picture.

    Args:
        image: The picture; its identifiers are taken as patient, study, series, instance and accession.
        source: The path below the SOURCE as the caller gave it.
        display: `image.display()` where the caller already has it.
        record_id: The caller's id of the file; made from the content when empty.
        is_first: Whether this is the first picture of its file, which has the caller's id as it is; others have
            `ID#part`.
        fields: Further fields of `Entry` that take precedence over the picture's own.
    """
    attributes = dict(image.attributes)
    display = image.display() if display is None else display
    known = {
        "modality": attributes.pop("modality", None),
        "body_part": attributes.pop("body_part", None),
        "text": image.text or None,
        **{name: image.identifiers.get(key) or None for name, key in zip(_IDS, _IDENTIFIERS, strict=True)},
    }
    attributes.update(fields.pop("attributes", {}))
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    digest = image.source_digest or digest_picture(display)
    part = part_of(image.attributes)
    frame = image.attributes.get("frame")
    if not record_id:
        record_id = content_id(digest, frame if part in ("", f"frame={frame}") else part)
    elif part and not is_first:
        record_id = f"{record_id}#{part}"
    return Entry(
        record_id=record_id,
        source=source,
        source_digest=digest,
        part=part,
        picture_digest=digest_picture(display) if known["instance_id"] else None,
        thumbnail=make_thumbnail(display),
        render_recipe=json.dumps(image.render_recipe, sort_keys=True),
        flags=tuple(flag.code for flag in image.flags),
        attributes=attributes,
        **{**known, **given},
    )


def part_of(attributes: Mapping[str, Attribute]) -> str:
    """Which part of its file a picture shows, such as `slice=12,plane=axial`; empty for the whole."""
    known = {name: attributes[name] for name in PART_ATTRIBUTES if name in attributes}
    if attributes.get("num_frames") == 1:
        known.pop("frame", None)
    return ",".join(f"{name}={value}" for name, value in known.items())


def content_id(source_digest: str, part: Attribute | None) -> str:
    """A record id that depends on the content alone: sixteen hexadecimal characters.

    A part that is a frame, or the only one, is told by the number of the frame, as it was before files had other parts.
    """
    return digest_json([source_digest, part])[:16]


def digest_picture(display: np.ndarray) -> str:
    """SHA-256 of a rendered picture."""
    return digest_bytes(f"{display.shape}".encode() + display.tobytes())


def make_thumbnail(display: np.ndarray) -> bytes:
    """JPEG of a grey or colour picture, at most `THUMBNAIL_PX` on the longer side."""
    from PIL import Image as PilImage

    picture = PilImage.fromarray(display)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), PilImage.Resampling.BILINEAR, reducing_gap=1.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def pseudonym(key: bytes, identifier: str | None) -> str | None:
    """HMAC-SHA256 of an identifier, cut to sixteen hexadecimal characters."""
    if identifier is None:
        return None
    import hmac

    return hmac.new(key, identifier.encode(), "sha256").hexdigest()[:16]
