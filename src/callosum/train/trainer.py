"""The loop of a run: steps, averaged weights, and a state that continues them to the bit."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from callosum.core.errors import InputError
from callosum.models.dual import DualEncoder
from callosum.objectives.objective import Objective
from callosum.train.adapt import LOCKED, Tune, set_training
from callosum.train.chance import keys
from callosum.train.checkpointing import optimizer_tensors, read_state, restore_optimizer, write_state
from callosum.train.disk import writing
from callosum.train.distributed import Spread, average_gradients, first_ahead, here, mean_over_processes
from callosum.train.ema import update_average
from callosum.train.features import locked_copy
from callosum.train.feed import Batch
from callosum.train.inputs import Texts, inputs_of
from callosum.train.loader import Loader
from callosum.train.optim import adamw, set_rate
from callosum.train.precision import kept_probe
from callosum.train.recipe import RunConfig
from callosum.train.sharding import clip_gradients, fill, filled, is_shard, outline, shard, whole
from callosum.train.start import Start
from callosum.train.step import Step

STATE = "state.safetensors"
FAILED = "failed-batch.json"
PLAIN = (Tune.LOCKED_IMAGE, Tune.LOCKED_TEXT, Tune.PROJECTION)
"""What leaves locked towers as they are."""


class Batches(Protocol):
    """Batches for ever, and where they are: `loader.Loader` or `features.FeatureLoader`."""

    def __iter__(self) -> Iterator[Batch]:
        """The batches."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What continues after the batch that was given last."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue."""
        ...


class Trainer:
    """Holds the network, its optimiser, the averaged weights, and the steps done.

    Args:
        config: Every choice.
        start: The network, adapted already.
        objective: What is minimised.
        batches: What is learnt from.
        folder: Where the state is kept.
        identity: Digest of the settings and the data; a state continues no other run.
        texts: Texts to token ids, or to the features of a locked tower.
    """

    def __init__(
        self,
        config: RunConfig,
        start: Start,
        objective: Objective,
        batches: Batches,
        *,
        folder: Path,
        identity: str,
        texts: Texts,
    ) -> None:
        self.config = config
        self.network = start.network
        self.tokenizer = start.tokenizer
        self.batches = batches
        self.folder = folder
        self.identity = identity
        self.changes: list[dict[str, Any]] = []
        self.place = here()
        self._texts = texts
        is_sharded = config.spread is Spread.FSDP and self.place.num_processes > 1
        with first_ahead():  # what is found to be fast here is kept for all
            locked = {} if is_sharded else self._locked()
        self.stepper = Step(
            self.network,
            start.tokenizer,
            objective,
            precision=config.precision,
            chunk_rows=config.batch.chunk_rows,
            locked=locked,
            is_bucketed=not is_sharded,
        )
        self.average = copy.deepcopy(self.network).requires_grad_(requires_grad=False) if config.ema_decay else None
        self._outline: DualEncoder | None = None
        if is_sharded:
            self._outline = outline(self.network)
            for network in filter(None, (self.network, self.average)):
                shard(network)
        self.optimizer = adamw(self.network, (), config.optim)
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}
        self._stream: Iterator[Batch] | None = None

    def _locked(self) -> dict[str, nn.Module]:
        """Fast copies of the towers that stay as they are."""
        is_plain = self.config.adapt.tune in PLAIN and not self.network.config.has_regions
        if not is_plain or self.network.log_logit_scale.device.type != "cpu" or not isinstance(self.batches, Loader):
            return {}
        probe = kept_probe(self.folder)
        sides = [side for side in LOCKED[self.config.adapt.tune] if side in ("vision", "text")]
        return {side: locked_copy(getattr(self.network, side), self.config.precision, probe=probe) for side in sides}

    @property
    def kept(self) -> Step:
        """The weights that count: averaged ones where there are some."""
        network = self.average if self.average is not None else self.network
        network.eval()
        return Step(network, self.tokenizer, self.stepper.objective)

    def kept_weights(self) -> dict[str, Tensor]:
        """The weights that count, whole, in the first process; every process must ask."""
        return whole(self.kept.network.state_dict(), is_kept=self.place.is_first)

    def kept_whole(self, weights: dict[str, Tensor]) -> Step:
        """The weights that count, in a network that this process can run alone.

        Args:
            weights: What `kept_weights` returned.
        """
        step = self.kept
        if self._outline is None:
            return step
        return Step(filled(self._outline, weights).eval(), self.tokenizer, step.objective)

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimiser moves."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def advance(self) -> dict[str, float]:
        """One step; returns the terms of the loss, the rate, the gradient's norm and seconds.

        Raises:
            InputError: the loss or its gradient is no number. The weights are those before the step and are saved if
                they are numbers, and the records of the batch are written down in the folder of the run.
        """
        started = time.perf_counter()
        before = self.batches.state_dict()
        batch = self._next()
        waited = time.perf_counter()
        torch.manual_seed(self._seed())
        set_training(self.network, self.config.adapt)
        held = [(buffer, buffer.detach().clone()) for buffer in self.network.buffers()]
        rate = self.config.optim.rate(self.step, self.config.num_steps)
        set_rate(self.optimizer, rate)
        self.optimizer.zero_grad(set_to_none=True)
        terms, norm, why = self._gradients(batch)
        if why:
            for buffer, value in held:  # a forward pass that fails has changed the averages of batch norms
                buffer.detach().copy_(value)
            self._fail(batch, before, why)
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            update_average(self.average, self.network, decay=self.config.ema_decay, step=self.step)
        step_s = time.perf_counter() - started
        self.seconds += step_s
        scale = float(self.network.logit_scale.detach())
        seen = {"rate": rate, "gradient_norm": norm, "logit_scale": scale, "num_matched": float(batch.num_matched)}
        return {**terms, **seen, "wait_s": waited - started, "step_s": step_s}

    def _next(self) -> Batch:
        if self._stream is None:
            self._stream = iter(self.batches)
        return next(self._stream)

    def _seed(self) -> int:
        """Of dropout: a function of the step, so that nothing but its number has to be kept."""
        return int(keys(self.config.seed, self.step, self.place.rank)[0] >> 1)

    def _gradients(self, batch: Batch) -> tuple[dict[str, float], float, str]:
        """Terms, the gradient's norm, and what is wrong with them; empty when nothing is."""
        why = ""
        terms: dict[str, float] = {}
        try:
            inputs = inputs_of(batch, self.stepper.objective, texts=self._texts, prefix=self.config.batch.text_prefix)
            terms = {name: float(value) for name, value in self.stepper.backward(inputs).items()}
        except InputError as error:
            if self.place.num_processes > 1:  # the others may not have failed: they cannot be asked to save
                self._write_failed(batch, str(error))
                raise
            why = str(error)
        if terms:
            terms["loss"] = mean_over_processes(terms["loss"])
        average_gradients(p for p in self.parameters if not is_shard(p))
        norm = clip_gradients(self.parameters, self.config.optim.max_norm or math.inf)
        if not why and not math.isfinite(terms["loss"]):
            why = "the loss is no finite number"
        if not why and not math.isfinite(norm):
            why = "the gradient is no finite number"
        return terms, norm, why

    def _fail(self, batch: Batch, before: dict[str, Any], why: str) -> None:
        self._write_failed(batch, why)
        are_sound = [bool(value.isfinite().all()) for value in self.network.state_dict().values()]
        if mean_over_processes(float(all(are_sound))) == 1.0:  # all save, or none
            self.save(loader_state=before)
            saved = "The weights before it are saved."
        else:
            saved = "The weights before it hold values that are no numbers: the state that was saved last is kept."
        message = f"Step {self.step + 1} failed: {why.removesuffix('.')}. {saved}"
        hint = f"Look at the records in {FAILED}, or --resume with a lower optim.learning_rate or precision=fp32."
        raise InputError(message, hint=hint)

    def _write_failed(self, batch: Batch, why: str) -> None:
        """Write down the records of a batch that failed."""
        value = {"step": self.step, "why": why, "images": batch.image_ids, "texts": batch.text_ids}
        name = FAILED if self.place.is_first else f"{self.place.rank}-{FAILED}"
        with writing("The records of a batch that failed"):
            (self.folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def save(self, *, loader_state: dict[str, Any] | None = None) -> None:
        """Write the state of the run, whole or not at all; the first process writes, and every process must ask.

        Raises:
            UsageError: it cannot be written; the one before it is intact.
        """
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": value for name, value in self.average.state_dict().items()}
        tensors |= {f"optimizer/{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        tensors = whole(tensors, is_kept=self.place.is_first)
        if not self.place.is_first:
            return
        progress = {"step": self.step, "seconds": self.seconds, "best": self.best}
        progress |= {"free": self.config.free, "changes": self.changes}
        loader = self.batches.state_dict() if loader_state is None else loader_state
        metadata = {"run": self.identity, "progress": json.dumps(progress), "loader": json.dumps(loader)}
        write_state(self.folder / STATE, tensors, metadata)

    def load(self) -> None:
        """Continue from the state in the folder.

        Raises:
            InputError: it is of a run with other settings or other data, or cannot be read.
        """
        tensors, metadata = read_state(self.folder / STATE)
        if metadata.get("run") != self.identity:
            message = "The interrupted run here has other settings or other data."
            raise InputError(message, hint="Name another folder, or give what it was started with.")
        fill(self.network, _below("network/", tensors))
        if self.average is not None:
            fill(self.average, _below("average/", tensors))
        restore_optimizer(self.optimizer, _below("optimizer/", tensors))
        progress = json.loads(metadata["progress"])
        self.step, self.seconds, self.best = progress["step"], progress["seconds"], progress["best"]
        self.changes = progress.get("changes", [])
        free = self.config.free
        before = progress.get("free", free)
        if changed := {name: [before.get(name), value] for name, value in free.items() if before.get(name) != value}:
            self.changes = [*self.changes, {"step": self.step, "changed": changed}]
        self.batches.load_state_dict(json.loads(metadata["loader"]))
        self._stream = None


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
