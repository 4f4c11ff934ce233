"""A whole run as one frozen value: what is learnt, from what, and how. A recipe is a function that returns one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from callosum.core.config import config_from
from callosum.core.errors import UsageError
from callosum.knowledge.schemes import scheme_of
from callosum.models.architectures import RANDOM, Architecture
from callosum.models.checkpoints.cards import require_name
from callosum.train.adapt import AdaptConfig, Tune
from callosum.train.augment_recipes import Recipe as Augmentation
from callosum.train.distributed import Spread
from callosum.train.optim import OptimConfig
from callosum.train.precision import StepPrecision
from callosum.train.sentences import SentenceConfig


@dataclass(frozen=True, kw_only=True)
class BatchConfig:
    """What a step sees, summed over all processes.

    Attributes:
        num_pairs: Pictures with a text of their own.
        num_images: Pictures without.
        num_texts: Texts without a picture.
        chunk_rows: Rows held at once; fewer than a batch has costs time and gives the same gradients. 0 holds all.
        augmentation: What is done to pictures.
        mirror: Probability of a left-right flip; leave it at 0 for chest films.
        store_px: Side of the squares they are kept as; 0 is an eighth more than the tower takes.
        num_channels: 1 keeps luminance only.
        text_prefix: Put before every text, such as the words that prompt tuning learns.
        keeps_halves_apart: Of a patient who has pictures and texts, either is used.
    """

    num_pairs: int = 64
    num_images: int = 0
    num_texts: int = 0
    chunk_rows: int = 0
    augmentation: Augmentation = Augmentation.NONE
    mirror: float = 0.0
    store_px: int = 0
    num_channels: int = 3
    text_prefix: str = ""
    keeps_halves_apart: bool = False


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """What is looked at and kept while a run goes on.

    Attributes:
        validate_every: Steps between two looks at the validation rows, and at what is to be retained; 0 for none.
        validation_rows: Pairs, or pictures and texts, in a batch of validation.
        patience: Looks without a lower loss before the run ends early; 0 for never.
        save_every: Steps between two states on disk.
        has_tensorboard: Write event files for TensorBoard too.
        num_interpolations: Weights between the start and the end that are tried at the end (Wortsman et al. 2022,
            WiSE-FT); 0 for none.
        chooses_interpolation: Keep the best of them by the mean of both accuracies, and not the end.
    """

    validate_every: int = 100
    validation_rows: int = 64
    patience: int = 0
    save_every: int = 100
    has_tensorboard: bool = False
    num_interpolations: int = 0
    chooses_interpolation: bool = False


NOT_THE_RUN = ("device", "num_threads", "spread", "precision")
"""Choices that may change when a run is continued."""
FREE_RATES = ("learning_rate", "floor", "warmup_share", "betas", "eps", "max_norm")
"""Choices of `optim` that may; the others decide which weights are moved together."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Every choice of a run.

    Attributes:
        name: `family.tag` of the checkpoint that comes out.
        summary: What it is, for its card.
        objective: Name of an objective.
        objective_settings: Its settings.
        start: `random`, or a checkpoint as `callosum model list` names it, or `local-dir:PATH`.
        architecture: The towers that random weights are drawn for.
        concepts: Names of label columns; those that hold labels when empty.
        scheme: Label scheme, such as nih15, whose classes are read from the texts; without one, the labels of texts are
            those of their row.
        has_hierarchy: Whether labels stand for what they are a kind of, too, by the ontology of the scheme.
        num_steps: Steps.
        precision: Number format of the towers' products.
        ema_decay: Decay of the averaged weights, which then are the ones kept; 0 keeps the last.
        seed: Of weights, batches, augmentation and dropout.
        num_threads: Threads of torch; 0 leaves its own choice.
        device: Where it computes: `auto`, `cpu` or a GPU.
        spread: What each of several processes holds: `ddp` all weights, `fsdp` a part of the towers'.
        batch: What a step sees.
        sentences: What is drawn from a text.
        optim: How weights move.
        adapt: Which weights move.
        watch: What is looked at and kept.
    """

    name: str
    summary: str = ""
    objective: str = "clip"
    objective_settings: Mapping[str, Any] = field(default_factory=dict)
    start: str = RANDOM
    architecture: Architecture | None = None
    concepts: tuple[str, ...] = ()
    scheme: str = ""
    has_hierarchy: bool = False
    num_steps: int = 1000
    precision: StepPrecision = StepPrecision.FP32
    ema_decay: float = 0.0
    seed: int = 0
    num_threads: int = 0
    device: str = "auto"
    spread: Spread = Spread.DDP
    batch: BatchConfig = field(default_factory=BatchConfig)
    sentences: SentenceConfig = field(default_factory=SentenceConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)

    @property
    def classes(self) -> tuple[str, ...]:
        """The concepts that are named, else the classes of the scheme; empty for whichever columns hold labels.

        Raises:
            NotFound: there is no such scheme.
        """
        return self.concepts or (scheme_of(self.scheme).classes if self.scheme else ())

    @property
    def free(self) -> dict[str, Any]:
        """The choices that may change when a run is continued, so that one whose loss was no number can go on."""
        optim = self.to_json()["optim"]
        return {"precision": str(self.precision), **{f"optim.{name}": optim[name] for name in FREE_RATES}}

    @property
    def fixed(self) -> dict[str, Any]:
        """The choices that make a run the one it is, as a JSON value."""
        chosen = {name: value for name, value in self.to_json().items() if name not in NOT_THE_RUN}
        return {**chosen, "optim": {name: value for name, value in chosen["optim"].items() if name not in FREE_RATES}}

    def __post_init__(self) -> None:
        require_name(self.name)
        if not 0 <= self.seed < 1 << 63:
            message = f"A seed is at least 0 and below 2^63; found {self.seed}."
            raise UsageError(message)
        if (self.start == RANDOM) != (self.architecture is not None):
            message = (
                "A run begins with random weights of an architecture, or with a checkpoint; found both or neither."
            )
            raise UsageError(message, hint="Set start to random with an architecture, or to a checkpoint without one.")
        if self.has_hierarchy and not self.scheme:
            message = "What is a kind of what is known for the classes of a scheme, and none is named."
            raise UsageError(message, hint="Set scheme, to nih15 or chexpert14 for example.")
        watch, batch = self.watch, self.batch
        least = {
            2: {"validation_rows": watch.validation_rows},
            1: {"num_steps": self.num_steps, "save_every": watch.save_every},
            0: {
                "validate_every": watch.validate_every,
                "patience": watch.patience,
                "num_interpolations": watch.num_interpolations,
                "num_threads": self.num_threads,
                "chunk_rows": batch.chunk_rows,
                "store_px": batch.store_px,
            },
        }
        for bound, counts in least.items():
            if low := next((name for name, value in counts.items() if value < bound), None):
                message = f"{low} is at least {bound}; found {counts[low]}."
                raise UsageError(message)
        if not 0 <= batch.mirror <= 1:
            message = f"mirror is a probability; found {batch.mirror}."
            raise UsageError(message)
        if not 0 <= self.ema_decay < 1:
            message = f"ema_decay is at least 0 and below 1; found {self.ema_decay}."
            raise UsageError(message)
        if self.start == RANDOM and self.adapt.tune is not Tune.FULL:
            message = f"Random weights are trained in full; found {self.adapt.tune}."
            raise UsageError(message, hint="Start from a checkpoint to train only a part.")

    def to_json(self) -> dict[str, Any]:
        """A JSON value, for the Trace and the card."""
        value = asdict(self)
        if self.architecture is not None:
            value["architecture"]["config"] = self.architecture.config.to_json()
        plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
        return plain


C = TypeVar("C")


def with_settings(config: C, settings: Iterable[str]) -> C:
    """The run, or the head, with some choices changed.

    Args:
        config: What a recipe returned.
        settings: Such as `num_steps=200`, `optim.learning_rate=1e-4` or `objective_settings.temperature=0.1`; a value
            is JSON where it can be read as such, else text. A tuple is written with commas. With `start` set to a
            checkpoint its towers are taken, and no architecture.

    Raises:
        UsageError: a setting that does not exist, the nearest is named; or a value of another type.
    """
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign:
            message = f"A setting is written key=value; found {setting!r}."
            raise UsageError(message)
        config = _with(config, key.strip(), text.strip())
    return config


def _with(config: Any, key: str, text: str) -> Any:
    head, _, rest = key.partition(".")
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    now = values.get(head)
    if rest and is_dataclass(now):
        return replace(config, **{head: _with(now, rest, text)})
    if rest and isinstance(now, Mapping):
        return replace(config, **{head: {**now, rest: _parsed(text)}})
    if is_dataclass(now) or isinstance(now, Mapping) or (key == "architecture" and "start" in values):
        message = f"{key} has parts and is no single value; found {text!r}."
        hint = "An architecture is that of the recipe, or of start=CHECKPOINT." if key == "architecture" else ""
        raise UsageError(message, hint=hint or f"Set one of its parts: {key}.NAME=VALUE.")
    if key == "start" and "architecture" in values and text != RANDOM:
        values["architecture"] = None
    return config_from(type(config), {**values, key: _like(now, text, key=key)})


def _like(now: Any, text: str, *, key: str) -> Any:
    """The value of a text, of the type of the value it replaces."""
    if isinstance(now, str):
        return text
    if isinstance(now, tuple):
        whole = _parsed(text)
        found = whole if isinstance(whole, list) else [part.strip() for part in text.split(",") if part.strip()]
        if not now or isinstance(now[0], str):
            return tuple(str(part) for part in found)
        parts = tuple(_parsed(part) if isinstance(part, str) else part for part in found)
        if not all(type(part) in (int, float) for part in parts):
            message = f"{key} is {len(now)} numbers with commas; found {text!r}."
            raise UsageError(message)
        return parts
    value = _parsed(text)
    if type(now) is float and type(value) is int:
        return float(value)
    if type(now) in (bool, int, float) and type(value) is not type(now):
        message = f"{key} is {_TYPES[type(now)]}; found {text!r}."
        raise UsageError(message)
    return value


_TYPES = {bool: "true or false", int: "a whole number", float: "a number"}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
