"""A run on disk: networks, optimiser and step in one safetensors file, so that an interrupted run continues.

Random generators restart from the seed and the step: a continued run is as random as an uninterrupted one, not equal.
A state remembers the digest of its configuration and of its rows' names, and continues no other run.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from callosum.core.digest import digest_json
from callosum.core.errors import InputError
from callosum.train.checkpointing import optimizer_tensors, read_state, restore_optimizer, write_state
from callosum.train.loop import Trainer


def save_state(trainer: Trainer, path: Path) -> None:
    """Write the run; the old file is replaced only when the new one is complete."""
    tensors: dict[str, Tensor] = {}
    for part in ("model", "heads", "average"):
        state = getattr(trainer, part).state_dict()
        tensors |= {f"{part}/{name}": value for name, value in state.items()}
    tensors |= {f"optimizer/{name}": value for name, value in optimizer_tensors(trainer.optimizer).items()}
    metadata = {"step": str(trainer.step), "seconds": f"{trainer.seconds:.1f}", "run": run_digest(trainer)}
    write_state(path, tensors, metadata)


def run_digest(trainer: Trainer) -> str:
    """What a state belongs to: every setting, the rows by name, and the vocabulary."""
    names = [f"{row.pack}/{row.row_id}" for row in trainer.material.rows]
    return digest_json([asdict(trainer.config), names, trainer.material.wordpiece.tokenizer.to_str()])


def load_state(trainer: Trainer, path: Path) -> None:
    """Continue from what `save_state` wrote.

    Raises:
        InputError: the state is of another configuration or of other rows.
    """
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "heads": {}, "average": {}, "optimizer": {}}
    tensors, metadata = read_state(path)
    if metadata.get("run") != run_digest(trainer):
        message = "The interrupted run here has other settings or other rows."
        raise InputError(message, hint="Name another folder, or give the settings it was started with.")
    for name, value in tensors.items():
        part, rest = name.split("/", 1)
        parts[part][rest] = value
    for part in ("model", "heads", "average"):
        getattr(trainer, part).load_state_dict(parts[part])
    restore_optimizer(trainer.optimizer, parts["optimizer"])
    trainer.step, trainer.seconds = int(metadata["step"]), float(metadata["seconds"])
    seed = trainer.config.seed + trainer.step
    trainer.generator.manual_seed(seed)
    trainer.rng.seed(seed)
    trainer.sampler.rng = np.random.default_rng(seed)
