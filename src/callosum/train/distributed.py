"""Several processes that train one network, started by `torchrun`: each holds all weights and a part of every batch.

After the backward pass gradients are averaged over the processes, once, in buckets: with objectives that gather all
rows (`objectives.gather`) they are then those of one process with the whole batch. This is what
`DistributedDataParallel` computes; it is done here in the open because a batch larger than memory runs backwards many
times before its gradients are complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, distributed

from callosum.core.errors import UsageError

BUCKET_BYTES = 32 << 20


class Spread(StrEnum):
    """What each of several processes holds."""

    DDP = "ddp"
    """All weights, and a part of every batch."""
    FSDP = "fsdp"
    """A part of the towers' weights and of their averages too; see `sharding`."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which process this is.

    Attributes:
        rank: Number of this process.
        num_processes: How many there are.
        local_rank: Number of this process on its machine, which is that of its GPU.
    """

    rank: int = 0
    num_processes: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def part(self, num_rows: int, *, what: str) -> int:
        """Rows of a batch for this process.

        Raises:
            UsageError: they cannot be dealt out evenly.
        """
        if num_rows % self.num_processes:
            message = f"{what} is a multiple of the {self.num_processes} processes; found {num_rows}."
            raise UsageError(message)
        return num_rows // self.num_processes


@contextmanager
def joined(device: str) -> Iterator[Place]:
    """Meet the other processes that `torchrun` started; alone when it did not."""
    if "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        yield here()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield here()
    finally:
        distributed.destroy_process_group()


def here() -> Place:
    """Which process this is."""
    if not distributed.is_initialized():
        return Place()
    return Place(
        rank=distributed.get_rank(),
        num_processes=distributed.get_world_size(),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
    )


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its mean over the processes; one that is absent counts as zero.

    What has none in any process keeps none: an optimiser would let it decay.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return
    wanted = [p for p in parameters if p.requires_grad]
    has_P = torch.tensor([p.grad is not None for p in wanted], dtype=torch.uint8, device=wanted[0].device)
    distributed.all_reduce(has_P, op=distributed.ReduceOp.MAX)
    for bucket in _buckets([p for p, has in zip(wanted, has_P.tolist(), strict=True) if has]):
        flat = torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).reshape(-1) for p in bucket])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        parts = flat.split([p.numel() for p in bucket])
        for parameter, part in zip(bucket, parts, strict=True):
            gradient = torch.empty_like(parameter)  # in the layout of the parameter, which a fused optimiser relies on
            parameter.grad = gradient.copy_(part.view(parameter.shape))


def share_weights(tensors: Iterable[Tensor]) -> None:
    """Give every process the values of the first."""
    if distributed.is_initialized():
        for tensor in tensors:
            whole = tensor.detach().contiguous()
            distributed.broadcast(whole, src=0)
            tensor.detach().copy_(whole)


def mean_over_processes(value: float) -> float:
    """The mean of a number over the processes."""
    if not distributed.is_initialized():
        return value
    total = _to_send([value])
    distributed.all_reduce(total)
    return float(total) / distributed.get_world_size()


def those_of_first(figures: Mapping[str, float]) -> dict[str, float]:
    """The first process's numbers, for all: what they decide, such as an early end, is decided alike.

    Averages of batch norms are those of a process's own part of the batches; so figures may differ.
    """
    if not distributed.is_initialized() or not figures:
        return dict(figures)
    values = _to_send(figures.values())
    distributed.broadcast(values, src=0)
    return dict(zip(figures, values.tolist(), strict=True))


@contextmanager
def first_ahead() -> Iterator[None]:
    """The first process goes ahead; what it leaves on disk is there for the others when they follow."""
    is_first = here().is_first
    if not is_first:
        wait_for_all()
    yield
    if is_first:
        wait_for_all()


def is_first_started() -> bool:
    """Whether this process is the first that `torchrun` started, or the only one; also before and after a run."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Wait until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


def _to_send(values: Iterable[float]) -> Tensor:
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    return torch.tensor(list(values), dtype=torch.float64, device=device)


def _buckets(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters in parts of a size that is fast to send, each of one type."""
    bucket: list[Tensor] = []
    size = 0
    for parameter in parameters:
        if bucket and (size >= BUCKET_BYTES or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel() * parameter.element_size()
    if bucket:
        yield bucket
