"""Entry: one image on its way into the archive, and what became of it. Made by reading workers: small and picklable."""

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


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Everything the archive keeps of an image, but its vectors.

    Attributes:
        record_id: The caller's id, or one made from the content.
        source: The path below the SOURCE as the caller gave it.
        source_digest: SHA-256 of the file.
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
    split: str | None = None
    flags: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def computed_by(self, runtime: str) -> Entry:
        """The entry, its render recipe naming what computed the vector."""
        return replace(self, render_recipe=json.dumps({**json.loads(self.render_recipe), "runtime": runtime}))

    def pseudonymous(self, key: bytes) -> Entry:
        """The same entry with patient and study replaced by keyed hashes that cannot be looked up without the key."""
        return replace(
            self,
            patient_id=_pseudonym(key, self.patient_id),
            study_id=_pseudonym(key, self.study_id),
        )

    def with_ids(self, *, patient_id: str | None, study_id: str | None) -> Entry:
        """The same entry with ids that the caller chose, where there are any."""
        return replace(self, patient_id=patient_id or self.patient_id, study_id=study_id or self.study_id)


class Stored(StrEnum):
    """What became of a record that was added."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """What became of a record that was added.

    Attributes:
        stored: New, the same content as a row that is there, or an id that another content has.
        is_fitted: False when an attribute was left out because its column holds values of another kind.
    """

    stored: Stored
    is_fitted: bool = True


def entry_from_image(
    image: Image, *, source: str, display: np.ndarray | None = None, record_id: str = "", **fields: Any
) -> Entry:
    """Build the entry of a picture.

    Args:
        image: The picture; its identifiers are taken as patient and study.
        source: The path below the SOURCE as the caller gave it.
        display: `image.display()` where the caller already has it.
        record_id: The caller's id; made from the content when empty.
        fields: Further fields of `Entry` that take precedence over the picture's own.
    """
    attributes = dict(image.attributes)
    display = image.display() if display is None else display
    known = {
        "modality": attributes.pop("modality", None),
        "body_part": attributes.pop("body_part", None),
        "text": image.text or None,
        "patient_id": image.identifiers.get("patient_id") or None,
        "study_id": image.identifiers.get("study_uid") or None,
    }
    attributes.update(fields.pop("attributes", {}))
    given = {name: value for name, value in fields.items() if value not in (None, "")}
    digest = image.source_digest or digest_bytes(f"{display.shape}".encode() + display.tobytes())
    return Entry(
        record_id=record_id or content_id(digest, image.attributes.get("frame")),
        source=source,
        source_digest=digest,
        thumbnail=make_thumbnail(display),
        render_recipe=json.dumps(image.render_recipe, sort_keys=True),
        flags=tuple(flag.code for flag in image.flags),
        attributes=attributes,
        **{**known, **given},
    )


def content_id(source_digest: str, frame: Attribute | None = None) -> str:
    """A record id that depends on the content alone: sixteen hexadecimal characters."""
    return digest_json([source_digest, frame])[:16]


def make_thumbnail(display: np.ndarray) -> bytes:
    """JPEG of a grey or colour picture, at most `THUMBNAIL_PX` on the longer side."""
    from PIL import Image as PilImage

    picture = PilImage.fromarray(display)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), PilImage.Resampling.BILINEAR, reducing_gap=1.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()


def _pseudonym(key: bytes, identifier: str | None) -> str | None:
    if identifier is None:
        return None
    import hmac

    return hmac.new(key, identifier.encode(), "sha256").hexdigest()[:16]
