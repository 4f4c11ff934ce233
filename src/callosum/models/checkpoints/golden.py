"""Golden vectors: what a checkpoint gave for some pictures and three sentences on the machine that wrote it.

Digests say that the files are the same; these say that they still compute the same, with this processor, this torch
and this version of the package. The pictures are made of whole numbers, so they are the same everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from callosum.core.errors import InputError, IntegrityError
from callosum.core.protocols import Encoder
from callosum.models.checkpoints.cards import GOLDEN

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

SCHEMA = "callosum.golden/2"
NAMES = {"callosum.golden/1": ("texts", "images"), SCHEMA: ("texts", "images", "files")}
"""What golden vectors there are, by schema; the first had none of a picture in the mode of its file."""
SENTENCES = (
    "Chest X-ray, frontal view: no acute finding.",
    "axial CT of the abdomen with a 2 cm lesion of the liver",
    "H&E stained section of adenocarcinoma of the lung",
)
MAX_ABS = 1e-4
MIN_COSINE = 0.9999
"""Float32 sums in another order, on another processor, move a component of a unit vector by about 1e-6 and by 1e-5 at
worst; another tokenizer, activation, pooling or preprocessing moves it by 1e-3 and more. The bounds lie between."""


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """How far vectors are from the golden ones.

    Attributes:
        max_abs: Largest difference of a component.
        min_cosine: Smallest cosine of a vector with its golden one.
    """

    max_abs: float
    min_cosine: float

    @property
    def is_ok(self) -> bool:
        """Whether both are within their bounds."""
        return self.max_abs <= MAX_ABS and self.min_cosine >= MIN_COSINE


def pictures() -> list[UInt8[np.ndarray, "H W *C"]]:
    """A grey picture wider than high and a coloured one higher than wide, of edges and of slopes."""
    y, x = np.mgrid[0:240, 0:320]
    grey = np.abs((3 * x + 2 * y) % 510 - 255)
    grey[60:120, 80:200] = 255 - grey[60:120, 80:200]
    y, x = np.mgrid[0:190, 0:150]
    red, green, blue = (x * 255) // 149, (y * 255) // 189, np.abs((x * y // 32) % 510 - 255)
    return [grey.astype(np.uint8), np.stack([red, green, blue], axis=2).astype(np.uint8)]


def file_picture() -> PilImage:
    """A picture as some files hold it, a palette of which one colour is transparent: its mode is kept, or is not."""
    from PIL import Image

    y, x = np.mgrid[0:170, 0:210]
    picture = Image.fromarray(((x // 7 * 5 + y // 9 * 11) % 64).astype(np.uint8))
    picture.putpalette([(n * step) % 256 for n in range(64) for step in (4, 37, 151)])
    picture.info["transparency"] = 5
    return picture


def golden_vectors(encoder: Encoder) -> dict[str, Float[np.ndarray, "N D"]]:
    """Compute them: `texts`, `images` given as arrays, and `files` given as Pillow opens them."""
    return {
        "texts": encoder.encode_text(list(SENTENCES)).matrix,
        "images": encoder.encode_image(pictures()).matrix,
        "files": encoder.encode_image([file_picture()]).matrix,
    }


def golden_bytes(encoder: Encoder) -> bytes:
    """Compute them, as the bytes of `golden.json`; nine digits give back every float32."""
    rows = {name: matrix.astype(np.float64).tolist() for name, matrix in golden_vectors(encoder).items()}
    lines = {name: [[float(f"{value:.9g}") for value in row] for row in matrix] for name, matrix in rows.items()}
    text = json.dumps({"schema": SCHEMA, "sentences": SENTENCES, **lines}, separators=(",", ":"))
    return text.encode() + b"\n"


def has_golden(folder: Path) -> bool:
    """Whether a checkpoint folder holds golden vectors."""
    return (folder / GOLDEN).is_file()


def deviation(folder: Path, encoder: Encoder) -> Deviation:
    """Compute the golden vectors again and compare.

    Raises:
        InputError: the file is not one of golden vectors.
    """
    try:
        value = json.loads((folder / GOLDEN).read_text(encoding="utf-8"))
        expected = {name: np.array(value[name], np.float32) for name in NAMES[value["schema"]]}
        is_ours = tuple(value["sentences"]) == SENTENCES
    except (ValueError, KeyError, TypeError) as error:
        message = f"{GOLDEN} does not hold golden vectors."
        raise InputError(message) from error
    if not all(np.isfinite(matrix).all() for matrix in expected.values()):
        message = f"{GOLDEN} holds values that are not finite numbers."
        raise InputError(message)
    found = golden_vectors(encoder)
    if not is_ours or any(expected[name].shape != found[name].shape for name in expected):
        message = f"{GOLDEN} holds vectors of other sentences, or of another width."
        raise InputError(message)
    pairs = [(found[name], expected[name]) for name in expected]
    return Deviation(
        max_abs=float(max(np.abs(a - b).max() for a, b in pairs)),
        min_cosine=float(min((a * b).sum(axis=1).min() for a, b in pairs)),
    )


def require_golden(folder: Path, load: Callable[[], Encoder], *, name: str) -> Deviation:
    """Compute the golden vectors again and refuse a checkpoint that gives others.

    Raises:
        IntegrityError: they differ by more than rounding.
    """
    found = deviation(folder, load())
    if not found.is_ok:
        message = (
            f"Checkpoint {name} gives other vectors than when it was written: a component differs by "
            f"{found.max_abs:.1e} (allowed {MAX_ABS:.0e}), a cosine is {found.min_cosine:.6f} (at least {MIN_COSINE})."
        )
        raise IntegrityError(message, hint="Another version of the package or of a library may compute otherwise.")
    return found
