"""The smallest encoder: a word is a direction, a picture is the direction of its brightness. And sources that bite."""

import io
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pil

from callosum.core.digest import digest_bytes
from callosum.core.embedding import Embedding, SpaceId, unit_rows
from callosum.core.record import Image

DIM = 16
SIDE = 8
SHADES = ("black", "dark", "grey", "bright", "white")


class FakePreprocess:
    """Nearest-neighbour to 8 x 8, three channels."""

    spare_px = None

    def __call__(self, display: np.ndarray) -> np.ndarray:
        rows, columns = (np.arange(SIDE) * n // SIDE for n in display.shape[:2])
        small = display[rows][:, columns]
        return np.repeat(small[..., None], 3, axis=2) if small.ndim == 2 else small


class FakeEncoder:
    """Five shades of grey, in words and in pictures."""

    preprocess = FakePreprocess()
    runtime = "fake 1, fp32, cpu"

    def __init__(self, name: str = "fake.v1") -> None:
        self.space = SpaceId(name=name, recipe={"weights": digest_bytes(name.encode()), "pooling": "none"})

    def encode_pixels(self, pixels: np.ndarray) -> Embedding:
        means_N = pixels.reshape(len(pixels), -1).mean(axis=1)
        return self._rows([round(float(mean) / 255 * (len(SHADES) - 1)) for mean in means_N], noise=means_N)

    def encode_image(self, images: Sequence[Any], *, batch_size: int | None = None) -> Embedding:
        shown = [image.display() if isinstance(image, Image) else np.asarray(image) for image in images]
        return self.encode_pixels(np.stack([self.preprocess(display) for display in shown]))

    def encode_text(self, texts: Sequence[str]) -> Embedding:
        shades = [next((n for n, shade in enumerate(SHADES) if shade in text), DIM - 2) for text in texts]
        return self._rows(shades, noise=np.zeros(len(texts)))

    def _rows(self, directions: Sequence[int], *, noise: np.ndarray) -> Embedding:
        rows = np.eye(DIM, dtype=np.float32)[list(directions)]
        rows[:, -1] += np.asarray(noise, dtype=np.float32) / 2550
        return Embedding(matrix=unit_rows(rows), space=self.space)


@dataclass(frozen=True)
class Trap:
    """A source that does something to the process that reads it."""

    name: str
    action: str
    record_id: None = None
    tiles: None = None
    member: str = "member"
    text: str = ""
    patient_id: None = None
    study_id: None = None
    modality: None = None
    body_part: None = None
    split: None = None
    attributes: tuple[()] = ()
    home: int = field(default_factory=os.getpid)

    def read_bytes(self) -> bytes:
        if os.getpid() == self.home:
            return self.name.encode()
        if self.action == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.action == "raise":
            message = "Jane Doe"
            raise RuntimeError(message)
        while self.action == "hang":
            pass
        return b""


@dataclass(frozen=True, kw_only=True)
class Killer:
    """Its content is a picture; what comes behind the decoding of it ends the process, and is counted."""

    name: str
    shade: int
    tries: Path
    member: str = "member"
    tiles: None = None
    text: str = ""
    record_id: str = ""
    modality: str = ""
    body_part: str = ""
    split: str = ""

    def read_bytes(self) -> bytes:
        stream = io.BytesIO()
        Pil.new("L", (8, 8), self.shade).save(stream, "PNG")
        return stream.getvalue()

    @property
    def attributes(self) -> dict[str, str]:
        with self.tries.open("a") as stream:
            stream.write(f"{self.shade}\n")
        os.kill(os.getpid(), signal.SIGSEGV)
        return {}
