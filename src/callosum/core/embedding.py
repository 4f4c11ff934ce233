"""Embedding: unit rows and the space they live in. Vectors of two spaces never meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from callosum.core.digest import digest_json
from callosum.core.errors import InputError, SpaceMismatch

UNIT_TOLERANCE = 1e-3
"""How far a row's norm may be from one; float32 sums of 1024 squares stay well within."""


@dataclass(frozen=True, kw_only=True)
class SpaceId:
    """The name of a shared space: a checkpoint and everything that changes its vectors.

    Attributes:
        name: `family.tag` of the checkpoint, as on its card.
        recipe: Digests of weights, tokenizer and preprocessing, and the pooling rule.
    """

    name: str
    recipe: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """SHA-256 over name and recipe."""
        return digest_json({"name": self.name, "recipe": dict(self.recipe)})

    def __str__(self) -> str:
        """`family.tag@` and the first twelve characters of the digest."""
        return f"{self.name}@{self.digest[:12]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpaceId) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` reads back."""
        return {"name": self.name, "recipe": dict(self.recipe)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SpaceId:
        """Read what `to_json` wrote."""
        return cls(name=value["name"], recipe=dict(value["recipe"]))

    def describe(self) -> str:
        """Name, digest and recipe on one line, digests shortened to twelve characters."""
        parts = ", ".join(f"{key} {value[:12]}" for key, value in sorted(self.recipe.items()))
        return f"{self} ({parts})"

    def require(self, other: SpaceId, *, here: str, there: str) -> None:
        """Refuse to let vectors of another space in.

        Raises:
            SpaceMismatch: the two spaces differ; both recipes are shown.
        """
        if self != other:
            message = f"{here} holds vectors of {self.describe()}; {there} is of {other.describe()}."
            hint = (
                f"Encode with {self.name!r} (--model local-dir:FOLDER where it is not installed), "
                f"or use an archive of {other.name!r}."
            )
            raise SpaceMismatch(message, hint=hint)


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Unit row vectors, their ids and their space.

    Attributes:
        matrix: float32 `[N, D]`, each row of norm one.
        space: The space the rows live in.
        ids: One id per row; row numbers when nothing else is known.
    """

    matrix: Float[np.ndarray, "N D"]
    space: SpaceId
    ids: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check shape, type, ids and norms.

        Raises:
            InputError: the matrix is not float32 `[N, D]` with finite unit rows, or the ids do not fit it.
        """
        if self.matrix.ndim != 2 or self.matrix.dtype != np.float32:
            message = f"An embedding is float32 [N, D]; found {self.matrix.dtype} {list(self.matrix.shape)}."
            raise InputError(message)
        if not self.ids:
            object.__setattr__(self, "ids", tuple(str(n) for n in range(len(self.matrix))))
        if len(self.ids) != len(self.matrix):
            message = f"{len(self.matrix)} rows need as many ids; found {len(self.ids)}."
            raise InputError(message)
        off_N = np.abs(np.linalg.norm(self.matrix, axis=1) - 1.0)
        if len(off_N) and not bool(np.all(off_N < UNIT_TOLERANCE)):
            message = f"Rows of an embedding have norm one; row {int(np.argmax(~(off_N < UNIT_TOLERANCE)))} has not."
            raise InputError(message)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.matrix)

    def similarity(self, other: Embedding) -> Float[np.ndarray, "N M"]:
        """Cosine of every row with every row of `other`.

        Raises:
            SpaceMismatch: the two embeddings are of different spaces.
        """
        self.space.require(other.space, here="The embedding", there="the other one")
        return self.matrix @ other.matrix.T


@dataclass(frozen=True, kw_only=True)
class TokenEmbedding:
    """Unit vectors of the parts of each row: regions of a picture, words of a text.

    Attributes:
        matrix: float32 `[N, P, D]`; a part that is there has norm one, the others are zero.
        mask: `[N, P]`, the parts that are there.
        space: The space they live in, that of the whole rows.
    """

    matrix: Float[np.ndarray, "N P D"]
    mask: Bool[np.ndarray, "N P"]
    space: SpaceId


def unit_rows(matrix: Float[np.ndarray, "*N D"]) -> Float[np.ndarray, "*N D"]:
    """Scale every row to norm one, in float32; a zero row stays zero (and `Embedding` refuses it)."""
    matrix = np.asarray(matrix, dtype=np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=-1, keepdims=True), np.float32(1e-12))
