"""A run from manifests to a checkpoint folder: read, train, look at what is held out, keep what is best."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from callosum.core.digest import digest_json
from callosum.core.errors import UsageError
from callosum.core.protocols import Extractor
from callosum.knowledge.schemes import scheme_of
from callosum.models.architectures import RANDOM
from callosum.models.checkpoints.cards import CARD
from callosum.objectives.objective import Need, Objective
from callosum.objectives.registry import build_objective
from callosum.train.adapt import adapt, merge
from callosum.train.checkpointing import read_state, write_state
from callosum.train.disk import writing
from callosum.train.distributed import Place, first_ahead, here, joined, share_weights, those_of_first, wait_for_all
from callosum.train.finish import card_of, write_checkpoint
from callosum.train.held_out import weights_of
from callosum.train.kin import kin, widened
from callosum.train.labels import SchemeLabels
from callosum.train.material import read_material
from callosum.train.precision import fast_products, keep_memory
from callosum.train.recipe import RunConfig
from callosum.train.retention import Sweep, keep_best, sweep
from callosum.train.sources import PIXELS, Sources, Stocked, batches_of, held_out_of, stocked
from callosum.train.start import Start, from_checkpoint, from_random, set_temperature
from callosum.train.step import Step
from callosum.train.stock import Material
from callosum.train.supply import Side, Supply, check_concepts
from callosum.train.trace import write_trace
from callosum.train.trainer import STATE, Trainer
from callosum.train.watch import Event, Log

RUN, BEST = "run", "best.safetensors"
SCHEMA = "callosum.training/1"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run came to.

    Attributes:
        folder: The checkpoint folder.
        name: Name of the checkpoint.
        steps: Steps that were done.
        seconds: What they took.
        figures: Of the weights that were kept, on rows of validation, and on what was to be retained.
        is_early: Whether the run ended before its last step because validation got no better.
        doubts: What of the data it could not learn from.
    """

    folder: Path
    name: str
    steps: int
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)
    is_early: bool = False
    doubts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The JSON object, without the folder."""
        values = {name: getattr(self, name) for name in ("name", "steps", "seconds", "figures", "is_early", "doubts")}
        return {"schema": SCHEMA, **values}


def train(  # noqa: PLR0913 - every choice has its name and a default
    config: RunConfig,
    supplies: Sequence[Supply],
    out: Path,
    *,
    retain: Sequence[Supply] = (),
    extractor: Extractor | None = None,
    pixels: Path | None = None,
    is_resumed: bool = False,
    tell: Callable[[Event], None] = lambda _: None,
) -> Result:
    """Train, and write a checkpoint folder that `callosum index --model local-dir:OUT` takes.

    Validation rows are those that the manifests place on that side; test rows are never read.

    Args:
        config: What a recipe returned.
        supplies: What is learnt from.
        out: The folder; what belongs to the run (state, log, trace, pictures) lies in `run` below it.
        retain: Pairs of another task whose accuracy is looked at too.
        extractor: Labels of texts, sentence by sentence, for an objective that wants findings; when absent those of
            the scheme, if one is named, or of the label columns.
        pixels: Where decoded pictures are kept, to be shared by runs; below `out` when absent.
        is_resumed: Continue an interrupted run, with the same batches and to the same weights.
        tell: Is told every event of the log.

    Raises:
        UsageError: settings that do not fit the data; a run or a checkpoint is here already; or the disk is full, the
            last state being intact.
        InputError: rows nothing can be learnt from; a loss that is no number.
        IntegrityError: a patient, or a picture, is on two sides.
    """
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    with ExitStack() as stack:
        device = _device(config.device)
        place = stack.enter_context(joined(device))
        folder = out / RUN
        if not is_resumed and (folder / STATE).exists():
            message = "There is a run in this folder already."
            raise UsageError(message, hint="Continue it with --resume, or name another folder.")
        if (out / CARD).exists() and not (folder / STATE).exists():
            message = "There is a checkpoint in this folder already, and no run that it came from."
            raise UsageError(message, hint="Name another folder.")
        with writing("The folder of the run"):
            folder.mkdir(parents=True, exist_ok=True)
        if device == "cpu":
            keep_memory()
            with first_ahead():
                stack.enter_context(fast_products(folder))
        sources = Sources(
            training=tuple(supplies),
            retained=tuple(retain),
            pixels=pixels or folder / PIXELS,
            extractor=extractor or (SchemeLabels(config.scheme) if config.scheme else None),
        )
        return _Run(config, sources, out, tell=tell, place=place, device=device).finished()


class _Run:
    """One run of `train`, part by part."""

    def __init__(
        self,
        config: RunConfig,
        sources: Sources,
        out: Path,
        *,
        tell: Callable[[Event], None],
        place: Place,
        device: str,
    ) -> None:
        self.config, self.out, self.folder, self.place = config, out, out / RUN, place
        self.objective: Objective = build_objective(config.objective, config.objective_settings)
        concepts = config.classes
        if Need.FINDINGS not in self.objective.needs:
            concepts, sources = (), sources.without_labels()
        _check_choices(config, sources, concepts)
        material = read_material(
            sources.training,
            concepts=concepts,
            side=Side.TRAIN,
            disjoint_patients=config.batch.keeps_halves_apart,
            extractor=sources.extractor,
        )
        if config.has_hierarchy:
            material = widened(material, kin(config.scheme))
        self.start = _begin(config, material, self.objective)
        self.validation, self.retained = held_out_of(config, self.start.preprocess, sources, concepts=concepts)
        if config.watch.chooses_interpolation and not (self.validation and self.validation.has_pairs):
            message = "Weights are chosen by the mean of two accuracies, and validation has no pairs."
            raise UsageError(message, hint="Place pairs on its side, or leave out watch.chooses_interpolation.")
        self.stock: Stocked = stocked(config, self.start.preprocess, material, sources.pixels)
        self.origin = weights_of(self.start.network) if config.watch.num_interpolations else {}
        torch.manual_seed(config.seed)
        adapt(self.start.network, self.start.tokenizer, config.adapt)
        self.start.network.to(device)
        share_weights(self.start.network.state_dict().values())
        identity = digest_json([config.fixed, self.stock.material.digest, self.stock.contents])
        self.batches, texts = batches_of(config, self.start, self.stock, place, folder=self.folder, identity=identity)
        self.trainer = Trainer(
            config,
            self.start,
            self.objective,
            self.batches,
            folder=self.folder,
            identity=identity,
            texts=texts or self.start.tokenizer.ids,
        )
        if (self.folder / STATE).exists():
            self.trainer.load()
        self.log = Log(
            self.folder,
            step=self.trainer.step,
            is_writing=place.is_first,
            has_tensorboard=config.watch.has_tensorboard,
            tell=tell,
        )
        for change in self.trainer.changes:
            if change["step"] == self.trainer.step:
                self.log.write("change", self.trainer.step, change["changed"])

    def finished(self) -> Result:
        """Do the steps that are left, and write what came of them."""
        with self.batches:
            is_early = self._steps()
        weights = self.trainer.kept_weights()
        figures: dict[str, float] = {}
        if self.place.is_first:
            figures = self._finish(self.trainer.kept_whole(weights), is_early=is_early)
        wait_for_all()
        trainer = self.trainer
        return Result(
            folder=self.out,
            name=self.config.name,
            steps=trainer.step,
            seconds=trainer.seconds,
            figures=figures,
            is_early=is_early,
            doubts=self._doubts(),
        )

    def _doubts(self) -> tuple[str, ...]:
        """What the run could not learn from, or look at."""
        found = list(self.stock.material.doubts)
        for held in (self.validation, self.retained):
            found += [] if held is None else [doubt for doubt in held.material.left_out if doubt not in found]
        if self.config.watch.validate_every and self.validation is None:
            found.append("No row is for validation ('val' in the column 'split'): the last weights are kept.")
        return tuple(found)

    def _steps(self) -> bool:
        """Train to the end; returns whether it came early."""
        trainer, watch = self.trainer, self.config.watch
        while trainer.step < self.config.num_steps:
            if self._is_over():
                return True
            terms = trainer.advance()
            self.log.write("step", trainer.step, terms)
            is_last = trainer.step == self.config.num_steps
            if watch.validate_every and (trainer.step % watch.validate_every == 0 or is_last):
                self._look()
            if trainer.step % watch.save_every == 0 or is_last or self._is_over():
                trainer.save()
        return False

    def _is_over(self) -> bool:
        return bool(self.config.watch.patience and self.trainer.best.get("worse", 0) >= self.config.watch.patience)

    def _look(self) -> None:
        """Look at what is held out, and keep the weights if validation is the best so far."""
        figures = those_of_first(self._figures(self.trainer.kept))
        if not figures:
            return
        best = self.trainer.best
        if "validation_loss" in figures:
            if not best or figures["validation_loss"] < best["loss"]:
                self.trainer.best = {"loss": figures["validation_loss"], "step": self.trainer.step, "worse": 0}
                weights = self.trainer.kept_weights()
                if self.place.is_first:
                    write_state(self.folder / BEST, weights, {"step": str(self.trainer.step)})
            else:
                best["worse"] += 1
        self.log.write("look", self.trainer.step, figures)

    def _figures(self, step: Step) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, held in (("validation", self.validation), ("retained", self.retained)):
            if held is not None:
                found |= {f"{name}_{what}": value for what, value in held.figures(step).items()}
        return found

    def _finish(self, step: Step, *, is_early: bool) -> dict[str, float]:
        """Choose weights, write the checkpoint, its card and the trace; returns figures of what was kept."""
        if self.trainer.best and (self.folder / BEST).exists():
            step.network.load_state_dict(read_state(self.folder / BEST)[0])
        merge(step.network)
        swept = Sweep()
        if self.origin:
            shares = self.config.watch.num_interpolations
            swept = sweep(step, self.origin, lambda: self._figures(step), num_shares=shares)
            keep_best(step.network, self.origin, swept, is_chosen=self.config.watch.chooses_interpolation)
        figures = self._figures(step)
        data = self.stock.material.summary()
        card = card_of(self.config, self.start, data=data, figures=figures, steps=self.trainer.step)
        digests = write_checkpoint(self.out, step.network.cpu(), self.start, card)
        write_trace(
            self.folder,
            {
                "config": self.config.to_json(),
                "start": {"name": self.start.origin or RANDOM, "licence": self.start.licence},
                "data": data,
                "validation": None if self.validation is None else self.validation.material.summary(),
                "retained": None if self.retained is None else self.retained.material.summary(),
                "num_unreadable": self.stock.num_unreadable,
                "contents": self.stock.contents,
                "changes": self.trainer.changes,
                "processes": here().num_processes,
                "steps": self.trainer.step,
                "is_early": is_early,
                "best": self.trainer.best,
                "figures": figures,
                "interpolation": swept.to_json(),
                "checkpoint": digests,
            },
        )
        self.log.write("end", self.trainer.step, figures)
        return figures


def _begin(config: RunConfig, material: Material, objective: Objective) -> Start:
    if config.architecture is None:
        start = from_checkpoint(config.start)
        is_new = Need.BIAS in objective.needs and not start.network.config.has_logit_bias
    else:
        texts = [sentence for text in material.texts for sentence in text.sentences]
        start, is_new = from_random(config.architecture, texts, seed=config.seed), True
    if is_new and Need.SCALE in objective.needs:
        scale, bias = objective.initial_logit_scale, objective.initial_logit_bias
        set_temperature(start.network, scale=scale, bias=bias, needs_bias=Need.BIAS in objective.needs)
    if Need.TOKENS in objective.needs and not start.network.config.has_regions:
        message = f"The objective {config.objective} compares regions with words; this network has no regions."
        raise UsageError(message, hint="Use towers of a ResNet and a BERT with has_regions, such as GLoRIA's.")
    return start


def _check_choices(config: RunConfig, sources: Sources, concepts: tuple[str, ...]) -> None:
    """Refuse, before anything is read, what no manifest can answer."""
    watch = config.watch
    if watch.chooses_interpolation and not (sources.retained and watch.num_interpolations and watch.validate_every):
        message = "Weights are chosen by the mean of two accuracies: of validation, and of what is to be retained."
        hint = "Give --retain, watch.num_interpolations and watch.validate_every; or leave out the choice."
        raise UsageError(message, hint=hint)
    read = isinstance(sources.extractor, SchemeLabels) and scheme_of(config.scheme).classes
    if config.concepts and concepts and (sources.extractor is None or read):
        check_concepts(concepts, sources.training, also=read or ())


def _device(name: str) -> str:
    """Where this process computes; of several on one machine each has a GPU of its own."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    number = os.environ.get("LOCAL_RANK", "0") if name in ("auto", "cuda") else name.removeprefix("cuda:")
    if not number.isdecimal() or int(number) >= torch.cuda.device_count():
        message = f"There is no device {name!r} for this process; it sees {torch.cuda.device_count()} GPUs."
        raise UsageError(message, hint="Set device to auto, cpu or cuda:0; there may be one process a GPU.")
    return f"cuda:{number}"
