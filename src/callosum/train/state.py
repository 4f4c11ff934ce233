"""A run on disk: networks, optimiser and step in one safetensors file, so that an interrupted run continues.

Random generators restart from the seed and the step: a continued run is as random as an uninterrupted one, not equal.
A state remembers the digest of its configuration and of its rows' names, and continues no other run.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from callosum.core.digest import digest_json
from callosum.core.errors import InputError
from callosum.train.loop import Trainer


def save_state(trainer: Trainer, path: Path) -> None:
    """Write the run; the old file is replaced only when the new one is complete."""
    tensors: dict[str, Tensor] = {}
    for part in ("model", "heads", "average"):
        state = getattr(trainer, part).state_dict()
        tensors |= {f"{part}/{name}": value.detach().contiguous() for name, value in state.items()}
    for number, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value.contiguous() for name, value in state.items()}
    draft = path.with_suffix(".part")
    metadata = {"step": str(trainer.step), "seconds": f"{trainer.seconds:.1f}", "run": run_digest(trainer)}
    save_file(tensors, draft, metadata=metadata)
    draft.replace(path)


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
    with safe_open(path, framework="pt") as stream:
        metadata = stream.metadata()
        if metadata["run"] != run_digest(trainer):
            message = "The interrupted run here has other settings or other rows."
            raise InputError(message, hint="Name another folder, or give the settings it was started with.")
        for name in stream.keys():
            part, rest = name.split("/", 1)
            parts[part][rest] = stream.get_tensor(name)
    for part in ("model", "heads", "average"):
        getattr(trainer, part).load_state_dict(parts[part])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        number, key = name.split("/", 1)
        state.setdefault(int(number), {})[key] = value
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
    trainer.step, trainer.seconds = int(metadata["step"]), float(metadata["seconds"])
    seed = trainer.config.seed + trainer.step
    trainer.generator.manual_seed(seed)
    trainer.rng.seed(seed)
    trainer.sampler.rng = np.random.default_rng(seed)
