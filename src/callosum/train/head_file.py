"""A head on disk: `head.safetensors` with its weights, and `head.json`, its card, which names its space."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from callosum.core.digest import digest_file
from callosum.core.embedding import SpaceId
from callosum.core.errors import DigestMismatch, NotFound, SpaceMismatch
from callosum.core.pooling import GatedAttention
from callosum.train.checkpointing import read_state, write_state
from callosum.train.finish import NOT_FOR
from callosum.train.heads import Head, LinearProbe

SCHEMA = "callosum.head/1"
CARD, WEIGHTS = "head.json", "head.safetensors"
ATTENTION = ("content_LD", "gate_LD", "score_L")
USE = "Research and teaching: scores of pictures, studies or slides from vectors that are there already."


def write_head(out: Path, head: Head, space: SpaceId, account: Mapping[str, Any]) -> str:
    """Write a head and its card, the card last; returns the digest of the weights.

    Raises:
        UsageError: it cannot be written.
    """
    tensors = {"probe/weight": head.probe.weight_KF, "probe/bias": head.probe.bias_K}
    if head.attention is not None:
        parts = {name: getattr(head.attention, name) for name in ATTENTION}
        tensors |= {f"attention/{name}": value for name, value in parts.items()}
    write_state(out / WEIGHTS, {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}, {})
    digest = digest_file(out / WEIGHTS)
    card = {
        "schema": SCHEMA,
        "intended_use": USE,
        "not_for": NOT_FOR,
        **account,
        "concepts": list(head.probe.concepts),
        "space": space.to_json(),
        "digests": {WEIGHTS: digest},
    }
    draft = out / f"{CARD}.part"
    draft.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(out / CARD)
    return digest


def read_head(folder: Path, *, space: SpaceId) -> Head:
    """Read what `write_head` wrote.

    Args:
        folder: Where it is.
        space: The space of the vectors that are to be scored.

    Raises:
        NotFound: there is no head.
        DigestMismatch: the weights are not those of the card.
        SpaceMismatch: the head was fitted on vectors of another space.
        InputError: the file is damaged.
    """
    if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
        message = f"The folder of a head holds {CARD} and {WEIGHTS}; one of them is missing."
        raise NotFound(message, hint="Name the folder that callosum train probe or attention wrote.")
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if digest_file(folder / WEIGHTS) != card["digests"][WEIGHTS]:
        message = "The weights of the head are not those that its card names."
        raise DigestMismatch(message, hint="Fit it again.")
    own = SpaceId.from_json(card["space"])
    if own != space:
        message = f"The head is for vectors of {own.describe()}; found those of {space.describe()}."
        raise SpaceMismatch(message, hint="Encode with the checkpoint it was fitted on, or fit another.")
    tensors = {name: value.numpy() for name, value in read_state(folder / WEIGHTS)[0].items()}
    probe = LinearProbe(
        concepts=tuple(card["concepts"]), weight_KF=tensors["probe/weight"], bias_K=tensors["probe/bias"]
    )
    parts = {name: tensors[f"attention/{name}"] for name in ATTENTION if f"attention/{name}" in tensors}
    return Head(probe=probe, attention=GatedAttention(**parts) if parts else None)
