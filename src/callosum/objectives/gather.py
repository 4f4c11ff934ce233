"""One batch from many processes, with gradients that equal those of one process.

The only copy of distributed gathering. As in open_clip, each process may compute the whole loss, or only the terms of
its own rows (`local_loss`), which costs a number of processes less. Gradients are exact after averaging over processes,
which is what DistributedDataParallel does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed
from torch.nn import functional

from callosum.core.errors import InputError, UsageError
from callosum.objectives.views import Share, Side, Views, lengthen

COLUMNS = tuple(field.name for field in fields(Side))


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """How a batch is brought together.

    Attributes:
        local_loss: Each process computes the terms of its own rows only.
        with_gradient: Gradients travel back to the process that a row came from. Without, every process computes the
            whole loss and keeps the gradient of its own rows: nothing is sent in the backward pass.

    Raises:
        UsageError: local terms without travelling gradients; then each process would miss what the others' terms say
            of its rows, and the sum points in another direction.
    """

    local_loss: bool = True
    with_gradient: bool = True

    def __post_init__(self) -> None:
        if self.local_loss and not self.with_gradient:
            message = "local_loss needs with_gradient: otherwise the gradients are wrong, not only slower."
            raise UsageError(message, hint="Set with_gradient, or leave local_loss off.")


def gather_views(views: Views, gathering: Gathering | None = None) -> Views:
    """The rows of all processes in the order of their ranks; the same views where there is one process.

    Processes may hold different numbers of rows and tokens. Rows paired by their number stay paired.

    Args:
        views: This process' batch.
        gathering: Local terms and travelling gradients when absent.

    Raises:
        InputError: on every process, when they hold different kinds of things.
    """
    gathering = gathering or Gathering()
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return views
    shape_W2S = _all_shapes(views)
    rank = distributed.get_rank()
    starts_W2 = shape_W2S[:, :, 0].cumsum(dim=0) - shape_W2S[:, :, 0]
    image_start, text_start = (int(start) for start in starts_W2[rank])
    views = views.paired(start=image_start)
    image = _gather_side(views.image, shape_W2S[:, 0], gathering)
    text = _gather_side(views.text, shape_W2S[:, 1], gathering)
    share = None
    if gathering.local_loss:
        share = Share(
            image_rows=slice(image_start, image_start + len(views.image)),
            text_rows=slice(text_start, text_start + len(views.text)),
            num_processes=distributed.get_world_size(),
        )
    return replace(views, image=image, text=text, share=share)


def _all_shapes(views: Views) -> Int64[Tensor, "W 2 S"]:
    """Rows, tokens per row and kinds of columns of each process' two sides."""
    device = views.image.embedding_ND.device
    shape_2S = torch.tensor([_shape(views.image), _shape(views.text)], dtype=torch.int64, device=device)
    found = [torch.empty_like(shape_2S) for _ in range(distributed.get_world_size())]
    distributed.all_gather(found, shape_2S)
    shape_W2S = torch.stack(found).cpu()
    if bool((shape_W2S[:, :, 2:] != shape_W2S[:1, :, 2:]).any()):
        message = "Processes hold batches of different kinds: columns, widths or precisions differ."
        raise InputError(message, hint="Draw the same kinds of rows in every process of a step.")
    return shape_W2S


def _shape(side: Side) -> list[int]:
    """Rows and tokens, which may differ; then what may not: which columns there are, their widths and precision."""
    num_tokens = 0 if side.token_NLD is None else side.token_NLD.shape[1]
    held = [getattr(side, name) for name in COLUMNS if name != "token_mask_NL"]
    widths = [-1 if value is None else 0 if value.ndim == 1 else value.shape[-1] for value in held]
    return [len(side), num_tokens, *widths, side.embedding_ND.element_size()]


def _gather_side(side: Side, shape_WS: Int64[Tensor, "W S"], gathering: Gathering) -> Side:
    sizes = shape_WS[:, 0].tolist()
    side = lengthen(side, int(shape_WS[:, 1].max()))
    gathered: dict[str, Tensor] = {}
    for name in COLUMNS:
        value = getattr(side, name)
        if value is None:
            continue
        if value.dtype.is_floating_point:
            gathered[name] = _Gather.apply(value, sizes, gathering.with_gradient)
        else:
            gathered[name] = _all_rows(value.to(torch.int64), sizes).to(value.dtype)
    return Side(**gathered)


class _Gather(torch.autograd.Function):
    """All processes' rows; back, the gradient that all processes' losses have with respect to this one's rows."""

    @staticmethod
    def forward(ctx: Any, row_ND: Tensor, sizes: list[int], with_gradient: bool) -> Tensor:  # noqa: FBT001
        ctx.sizes, ctx.with_gradient = sizes, with_gradient
        return _all_rows(row_ND, sizes)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        rank = distributed.get_rank()
        start = sum(ctx.sizes[:rank])
        mine = slice(start, start + ctx.sizes[rank])
        if not ctx.with_gradient:
            # All processes compute the same loss, so the sum of their gradients is this one's times their number.
            return grads[0][mine] * len(ctx.sizes), None, None
        total = grads[0].contiguous().clone()
        distributed.all_reduce(total)
        return total[mine], None, None


def _all_rows(row_ND: Float[Tensor, "n ..."] | Int64[Tensor, "n ..."], sizes: list[int]) -> Tensor:
    """Rows of all processes; collectives take equal shapes, so short parts are filled up and cut again."""
    missing = max(sizes) - len(row_ND)
    padded = functional.pad(row_ND, (0, 0) * (row_ND.ndim - 1) + (0, missing)).contiguous()
    parts = [torch.empty_like(padded) for _ in sizes]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
