"""Towers dealt out over processes: each keeps a part of every weight and of its averages.

A layer's weights are brought together when it runs and given back after it (Zhao et al. 2023, arXiv:2304.11277; the
second form of it in PyTorch, `fully_shard`).
Projections and the temperature are small and whole in every process, as they are without sharding. What is written to
disk is whole too, so that states and checkpoints do not tell how a run was spread.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from callosum.models.dual import DualEncoder
from callosum.train.optim import LAYER

METHODS = ("features_and_map", "word_features")
"""What is called of towers besides `forward`."""


def shard(network: DualEncoder) -> None:
    """Deal out both towers, layer by layer, in place; every process must do it."""
    # Layouts other than the plain one are refused by FSDP; nothing here changes what a tower returns in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    mesh = init_device_mesh(network.log_logit_scale.device.type, (torch.distributed.get_world_size(),))
    for tower in (network.vision, network.text):
        names = [found[0] for name, _ in tower.named_parameters() if (found := LAYER.match(name))]
        for layer in dict.fromkeys(names):
            fully_shard(tower.get_submodule(layer), mesh=mesh)
        fully_shard(tower, mesh=mesh)
        for method in METHODS:
            if hasattr(tower, method):
                register_fsdp_forward_method(tower, method)


def is_shard(tensor: Tensor) -> bool:
    """Whether a tensor is a part of one that is dealt out."""
    return isinstance(tensor, DTensor)


def whole(tensors: Mapping[str, Tensor], *, is_kept: bool) -> dict[str, Tensor]:
    """Bring parts together, in the memory of the processor; every process must ask, and gets none unless it keeps them.

    Tensors that are whole are returned as they are.
    """
    kept = {}
    for name, value in tensors.items():
        full = value.full_tensor() if isinstance(value, DTensor) else value
        if is_kept:
            kept[name] = full.cpu() if full is not value else full
    return kept


def part_like(own: Tensor, value: Tensor) -> Tensor:
    """The part of a whole tensor that this process has of `own`; the tensor itself where that is whole."""
    if not isinstance(own, DTensor):
        return value
    value = value.to(device=own.device, dtype=own.dtype)
    return distribute_tensor(value, own.device_mesh, own.placements, src_data_rank=None)


def fill(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Set weights from whole ones."""
    own = network.state_dict()
    network.load_state_dict({name: part_like(own.get(name, value), value) for name, value in state.items()})


def outline(network: DualEncoder) -> DualEncoder:
    """A copy whose parameters have no values and take no memory."""
    empty = {id(p): nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad) for p in network.parameters()}
    return copy.deepcopy(network, dict(empty))


def filled(outline: DualEncoder, state: Mapping[str, Tensor]) -> DualEncoder:
    """The outline with these weights, on the processor."""
    outline.load_state_dict(state, assign=True)
    return outline.cpu().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def clip_gradients(parameters: Sequence[Tensor], bound: float) -> float:
    """Scale all gradients so that the norm over all of them is at most `bound`; returns what it was."""
    kinds = [[p for p in parameters if is_shard(p) is kind] for kind in (False, True)]
    if not kinds[True]:
        return float(nn.utils.clip_grad_norm_(parameters, bound))
    norms = [get_total_norm([p.grad for p in kind if p.grad is not None]) for kind in kinds]
    total = torch.stack([norm.full_tensor() if isinstance(norm, DTensor) else norm for norm in norms]).norm()
    for kind in kinds:
        clip_grads_with_norm_(kind, bound, total)
    return float(total)
