"""callosum joins medical images and words in one space.

It indexes an archive of images, searches it by words or by an example, and scores images for labels that are only
words. It is for research and teaching: it never makes a diagnosis.

    import callosum

    encoder = callosum.load_encoder("starter")
    scores = callosum.zero_shot(encoder, ["film.dcm"], ["chest x-ray", "CT of the head"])
    findings = callosum.extract("No pneumothorax. Small left effusion.", kind="sentence")
    labels = callosum.knowledge.label(findings, scheme="chexpert14")

Names are loaded when they are first used: importing the package imports neither numpy nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callosum.archive.archive import Archive
    from callosum.classify.zero_shot import zero_shot
    from callosum.core.embedding import Embedding, SpaceId
    from callosum.core.errors import CallosumError
    from callosum.core.finding import Finding
    from callosum.core.protocols import Encoder
    from callosum.core.record import Image, Record
    from callosum.core.result import Hit, Prediction
    from callosum.data.read import read
    from callosum.data.volumes import read_volume
    from callosum.service.encoders import load_encoder
    from callosum.service.extraction import extract

__version__ = "0.1.0"

_HOME = {
    "Archive": "archive.archive",
    "CallosumError": "core.errors",
    "Embedding": "core.embedding",
    "Encoder": "core.protocols",
    "Finding": "core.finding",
    "Hit": "core.result",
    "Image": "core.record",
    "Prediction": "core.result",
    "Record": "core.record",
    "SpaceId": "core.embedding",
    "extract": "service.extraction",
    "load_encoder": "service.encoders",
    "read": "data.read",
    "read_volume": "data.volumes",
    "zero_shot": "classify.zero_shot",
}

__all__ = [
    "Archive",
    "CallosumError",
    "Embedding",
    "Encoder",
    "Finding",
    "Hit",
    "Image",
    "Prediction",
    "Record",
    "SpaceId",
    "extract",
    "load_encoder",
    "read",
    "read_volume",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used (PEP 562)."""
    if name == "knowledge":
        return import_module("callosum.knowledge")
    if name not in _HOME:
        message = f"module 'callosum' has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"callosum.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
