"""The state of a run on disk: whole or not at all, and continued to the bit.

A state is written beside its place, flushed, and only then renamed onto it: a process that is killed, or a disk that
is full, leaves the state before it as it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from callosum.core.errors import InputError, UsageError
from callosum.train.optim import numbered
from callosum.train.sharding import part_like


def write_state(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and what belongs to them as one safetensors file.

    Raises:
        UsageError: it cannot be written, because the disk is full or the folder refuses; what was there is intact.
    """
    draft = path.with_name(f"{path.name}.part")
    held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        save_file(held, draft, metadata=dict(metadata))
        _flush(draft)
        draft.replace(path)
        if os.name != "nt":
            _flush(path.parent)
    except (OSError, SafetensorError) as error:
        draft.unlink(missing_ok=True)
        message = "The state of the run cannot be written; the one before it is intact."
        raise UsageError(message, hint="Make room on the disk and continue with --resume.") from error


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `write_state` wrote.

    Raises:
        InputError: the file is none.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}, dict(stream.metadata() or {})
    except (OSError, SafetensorError) as error:
        message = "The state of the run cannot be read."
        raise InputError(message, hint="Start the run anew in another folder.") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's averages by the number of their parameter."""
    state = {number: optimizer.state.get(parameter, {}) for number, parameter in numbered(optimizer).items()}
    return {f"{number}/{name}": value for number, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned, whole, laid out in memory as the parameters are.

    A fused AdamW walks weights and averages in the order of memory: averages that a file brought back in another
    layout than a channels-last weight would be those of other elements.
    """
    parameters = numbered(optimizer)
    for name, value in tensors.items():
        number, key = name.split("/", 1)
        parameter = parameters[int(number)]
        like = parameter.detach() if value.shape == parameter.shape else value.to(parameter.device)
        optimizer.state[parameter][key] = torch.empty_like(like, dtype=value.dtype).copy_(part_like(like, value))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
