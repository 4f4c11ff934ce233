"""Weights as safetensors bytes that depend on nothing but the weights: equal tensors, equal digest.

The format is a length, a JSON header and the tensors' bytes (github.com/huggingface/safetensors). It is written here
and not by its library, whose order of tensors may change with its version: the digest is part of a space's name.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from callosum.core.errors import InputError
from callosum.models.checkpoints.cards import FORMAT

DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""In the order in which they are written, so that every tensor begins at a multiple of its size."""
ALIGNMENT = 8


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write `model.safetensors`."""
    with path.open("wb") as stream:
        for piece in _pieces(state):
            stream.write(piece)


def digest_weights(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of what `write_weights` would write."""
    digest = hashlib.sha256()
    for piece in _pieces(state):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(state: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Header, then one tensor after the other, by type and name.

    Raises:
        InputError: a tensor has a type that is not kept.
    """
    if odd := next((value.dtype for value in state.values() if value.dtype not in DTYPES), None):
        message = f"Weights are of one of the types {', '.join(DTYPES.values())}; found {odd}."
        raise InputError(message)
    order = {dtype: n for n, dtype in enumerate(DTYPES)}
    names = sorted(state, key=lambda name: (order[state[name].dtype], name))
    header: dict[str, object] = {"__metadata__": {"format": FORMAT}}
    end = 0
    for name in names:
        value = state[name]
        start, end = end, end + value.numel() * value.element_size()
        header[name] = {"dtype": DTYPES[value.dtype], "shape": list(value.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    yield struct.pack("<Q", len(text)) + text
    for name in names:
        yield state[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
