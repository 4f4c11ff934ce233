"""Row and column log-sum-exps of all pairs' logits, without ever holding the matrix of all pairs.

A batch of 32k x 32k has four gigabytes of logits, and autograd keeps several such matrices. Here blocks of rows are
computed, reduced and, beyond the first ones, forgotten and computed again in the backward pass: up to one matrix
product more than the plain form, and memory that grows with the batch, not with its square. The result is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BLOCK_CELLS = {"cpu": 1 << 21}
"""Cells of a block: on a CPU what stays near the core, elsewhere enough to keep the device busy."""
OTHER_BLOCK_CELLS = 1 << 25
KEPT_CELLS = 3 << 23
"""The first so many logits (96 MiB in float32) are kept for the backward pass; only the rest is computed again."""

LeftOut = Callable[[slice], Bool[Tensor, "B M"]]
"""Which pairs of some rows are left out."""


def blocks(num_rows: int, num_columns: int, device: torch.device) -> Iterator[slice]:
    """Rows in runs that make blocks of bounded size."""
    cells = BLOCK_CELLS.get(device.type, OTHER_BLOCK_CELLS)
    length = max(1, cells // max(1, num_columns))
    return (slice(n, min(n + length, num_rows)) for n in range(0, num_rows, length))


def log_sum_exps(
    image_ND: Float[Tensor, "N D"],
    text_MD: Float[Tensor, "M D"],
    *,
    scale: Float[Tensor, ""],
    left_out: LeftOut | None = None,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " M"]]:
    """Log-sum-exp of `scale * image @ text.T` over each row and each column; minus infinity where all is left out.

    Gradients reach both embeddings and the scale, once; second derivatives are refused by autograd.
    """
    row_N, column_M = _LogSumExps.apply(image_ND, text_MD, scale, left_out)
    return row_N, column_M


class _LogSumExps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image_ND: Tensor, text_MD: Tensor, scale: Tensor, left_out: LeftOut | None
    ) -> tuple[Tensor, Tensor]:
        N, M = len(image_ND), len(text_MD)
        row_N, high_M = image_ND.new_empty(N), image_ND.new_full((M,), float("-inf"))
        sum_M = image_ND.new_zeros(M)
        kept: list[Tensor] = []
        for rows in blocks(N, M, image_ND.device):
            logits_BM = _logits(image_ND, text_MD, scale, rows=rows, left_out=left_out)
            if rows.stop * M <= KEPT_CELLS:
                kept.append(logits_BM)
            row_N[rows] = logits_BM.logsumexp(dim=1)
            # The columns' sums are kept relative to their highest logit so far. A column without any known pair yet
            # has no highest one; taking zero there keeps infinity out of the difference.
            higher_M = torch.maximum(high_M, logits_BM.amax(dim=0))
            at_M = higher_M.masked_fill(higher_M.isneginf(), 0.0)
            sum_M = sum_M * (high_M - at_M).exp() + (logits_BM - at_M).exp_().sum(dim=0)
            high_M = higher_M
        column_M = sum_M.log() + high_M
        ctx.save_for_backward(image_ND, text_MD, scale, row_N, column_M)
        ctx.left_out, ctx.kept = left_out, kept
        ctx.set_materialize_grads(False)
        return row_N, column_M

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        image_ND, text_MD, scale, row_N, column_M = ctx.saved_tensors
        grad_row_N, grad_column_M = grads
        # Pairs that are left out have logit minus infinity: with plus infinity here their share is zero, not NaN.
        row_N, column_M = (lse.masked_fill(lse.isneginf(), float("inf")) for lse in (row_N, column_M))
        image_grad_ND, text_grad_MD = torch.zeros_like(image_ND), torch.zeros_like(text_MD)
        for n, rows in enumerate(blocks(len(image_ND), len(text_MD), image_ND.device)):
            if n < len(ctx.kept):
                logits_BM = ctx.kept[n]
            else:
                logits_BM = _logits(image_ND, text_MD, scale, rows=rows, left_out=ctx.left_out)
            weight_BM = torch.zeros_like(logits_BM)
            if grad_row_N is not None:
                weight_BM = torch.sub(logits_BM, row_N[rows, None], out=weight_BM).exp_().mul_(grad_row_N[rows, None])
            if grad_column_M is not None:
                weight_BM.addcmul_((logits_BM - column_M).exp_(), grad_column_M.expand_as(logits_BM))
            image_grad_ND[rows] = weight_BM @ text_MD
            text_grad_MD.addmm_(weight_BM.T, image_ND[rows])
        # Both gradients still lack the factor `scale`, and the scale's own is their product with the embeddings.
        scale_grad = (image_grad_ND * image_ND).sum()
        return image_grad_ND.mul_(scale), text_grad_MD.mul_(scale), scale_grad, None


def _logits(
    image_ND: Tensor, text_MD: Tensor, scale: Tensor, *, rows: slice, left_out: LeftOut | None
) -> Float[Tensor, "B M"]:
    logits_BM = (scale * image_ND[rows]) @ text_MD.T
    return logits_BM if left_out is None else logits_BM.masked_fill_(left_out(rows), float("-inf"))
