"""Rows that say the same, told once: targets depend on what rows say, and few different things are said.

Thousands of rows have a few hundred patterns of findings, so that similarities and the target softmax are computed on
patterns with their counts, exactly. Ties that override a similarity make a row's keys part of its pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from callosum.objectives.blockwise import blocks


@dataclass(frozen=True, kw_only=True)
class Said:
    """What rows say: their findings, and what ties them.

    Attributes:
        finding_NK: What each finding counts as.
        known_NK: One where a finding is known, zero elsewhere; absent means everywhere.
        pair_N: Keys as of `Side`, absent where they do not matter.
        text_N: See there.
        patient_N: See there.
    """

    finding_NK: Float[Tensor, "N K"]
    known_NK: Float[Tensor, "N K"] | None = None
    pair_N: Int64[Tensor, " N"] | None = None
    text_N: Int64[Tensor, " N"] | None = None
    patient_N: Int64[Tensor, " N"] | None = None

    def __len__(self) -> int:
        return len(self.finding_NK)

    def rows(self, chosen: slice | Int64[Tensor, " R"]) -> Said:
        """Some of the rows."""
        return Said(**{name: value[chosen] for name, value in self.parts().items()})

    def parts(self) -> dict[str, Tensor]:
        """What there is, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


Similarity = Callable[[Said, Said], Float[Tensor, "U V"]]
"""Similarity of all pairs over the target temperature; minus infinity where a pair is left out."""
Direction = Literal["image", "text"]
"""Images over texts, or texts over images."""


@dataclass(frozen=True, kw_only=True)
class Patterns:
    """The different rows of a side.

    Attributes:
        said: What each pattern says.
        code_N: Which pattern each row has.
        count_U: How many rows have each.
    """

    said: Said
    code_N: Int64[Tensor, " N"]
    count_U: Int64[Tensor, " U"]

    def sums(self, row_ND: Float[Tensor, "R D"], rows: slice = slice(None)) -> Float[Tensor, "U D"]:
        """Sum of the vectors of (some) rows over each pattern."""
        sum_UD = row_ND.new_zeros(len(self.count_U), row_ND.shape[1])
        return sum_UD.index_add(0, self.code_N[rows], row_ND)


def patterns(said: Said) -> Patterns:
    """Group the rows that say the same."""
    code_N = torch.zeros(len(said), dtype=torch.int64, device=said.finding_NK.device)
    for part in said.parts().values():
        for column_N in part.reshape(len(said), -1).T:
            # Column by column, for whole rows are compared one by one and a batch has many.
            values, column_code_N = column_N.unique(return_inverse=True)
            code_N = (code_N * len(values) + column_code_N).unique(return_inverse=True)[1]
    count_U = code_N.bincount()
    first_U = torch.empty_like(count_U).scatter_(0, code_N, torch.arange(len(code_N), device=code_N.device))
    return Patterns(said=said.rows(first_U), code_N=code_N, count_U=count_U)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The target distributions of both directions, as their normalisers.

    Attributes:
        image: Patterns of the images.
        text: Patterns of the texts.
        similarity: What the targets are the softmax of.
        row_U: Log-sum-exp of the similarities of an image over all texts; minus infinity where all are left out.
        column_V: The same of a text over all images.
    """

    image: Patterns
    text: Patterns
    similarity: Similarity
    row_U: Float[Tensor, " U"]
    column_V: Float[Tensor, " V"]

    def expected(
        self, image_UD: Float[Tensor, "U D"], text_VD: Float[Tensor, "V D"], *, of: Direction
    ) -> Float[Tensor, ""]:
        """Sum over all pairs of patterns of the target's probability times the product of the two vectors.

        Args:
            image_UD: Sum of the image embeddings of each pattern.
            text_VD: Sum of the text embeddings of each pattern.
            of: Whose targets: of images over texts, or of texts over images.
        """
        total: Tensor = _Expected.apply(image_UD, text_VD, self, of)
        return total

    def entropy(self, *, of: Direction) -> Float[Tensor, ""]:
        """Mean entropy of the targets in nats, over the rows that have a target."""
        total = self.row_U.new_zeros(())
        times_U, times_V = (count.to(total.dtype) for count in (self.image.count_U, self.text.count_U))
        for rows, probability_BV in self.blocks(of=of):
            total += times_U[rows] @ torch.special.entr(probability_BV) @ times_V
        return total / self.num_targets(of=of).clamp_min(1)

    def num_targets(self, *, of: Direction) -> Int64[Tensor, ""]:
        """How many images, or how many texts, have a target."""
        if of == "image":
            return self.image.count_U[~self.row_U.isneginf()].sum()
        return self.text.count_U[~self.column_V.isneginf()].sum()

    def blocks(self, *, of: Direction) -> Iterator[tuple[slice, Float[Tensor, "B V"]]]:
        """Block by block of image patterns: the target's probability of a single pair, zero where it is left out."""
        normaliser = self.row_U if of == "image" else self.column_V
        # Where all is left out, plus infinity makes all probabilities zero.
        normaliser = normaliser.masked_fill(normaliser.isneginf(), float("inf"))
        for rows in blocks(len(self.row_U), len(self.column_V), self.row_U.device):
            similarity_BV = self.similarity(self.image.said.rows(rows), self.text.said)
            yield rows, similarity_BV.sub_(normaliser[rows, None] if of == "image" else normaliser).exp_()


def targets(image: Patterns, text: Patterns, similarity: Similarity) -> Targets:
    """Normalise the similarities in both directions, every pattern counting as often as there are rows of it."""
    dtype, device = image.said.finding_NK.dtype, image.code_N.device
    row_U = torch.empty(len(image.count_U), dtype=dtype, device=device)
    column_V = torch.full((len(text.count_U),), float("-inf"), dtype=dtype, device=device)
    times_U, times_V = image.count_U.to(dtype).log(), text.count_U.to(dtype).log()
    for rows in blocks(len(row_U), len(column_V), device):
        similarity_BV = similarity(image.said.rows(rows), text.said)
        row_U[rows] = (similarity_BV + times_V).logsumexp(dim=1)
        column_V = torch.logaddexp(column_V, (similarity_BV + times_U[rows, None]).logsumexp(dim=0))
    return Targets(image=image, text=text, similarity=similarity, row_U=row_U, column_V=column_V)


class _Expected(torch.autograd.Function):
    """The targets have no gradient, so the products that the value needs are already the gradients."""

    @staticmethod
    def forward(ctx: Any, image_UD: Tensor, text_VD: Tensor, targets: Targets, of: Direction) -> Tensor:
        image_grad_UD, text_grad_VD = torch.empty_like(image_UD), torch.zeros_like(text_VD)
        for rows, probability_BV in targets.blocks(of=of):
            image_grad_UD[rows] = probability_BV @ text_VD
            text_grad_VD.addmm_(probability_BV.T, image_UD[rows])
        ctx.save_for_backward(image_grad_UD, text_grad_VD)
        return (image_grad_UD * image_UD).sum()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        image_grad_UD, text_grad_VD = ctx.saved_tensors
        return grads[0] * image_grad_UD, grads[0] * text_grad_VD, None, None
