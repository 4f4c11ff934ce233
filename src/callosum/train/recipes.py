"""Recipes by name: small towers from random weights with each objective, and ways to tune a checkpoint.

A recipe is a function without arguments that returns a `RunConfig`; `--set` changes single choices. One's own lies in a
file: `callosum train my_recipes.py:chest --data ...`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from callosum.core.errors import CallosumError, InputError, NotFound, UsageError
from callosum.models.architectures import Architecture
from callosum.models.preprocess import Preprocess
from callosum.models.text.bert import BertConfig
from callosum.models.text.pooling import Pool
from callosum.models.text.sizes import SmallTextConfig
from callosum.models.towers import DualConfig, Projection
from callosum.models.vision.resnet import ResNetConfig
from callosum.models.vision.sizes import HybridConfig
from callosum.train.adapt import AdaptConfig, Tune
from callosum.train.augment_recipes import Recipe as Augmentation
from callosum.train.head_run import HeadConfig
from callosum.train.heads import AttentionConfig, ProbeConfig
from callosum.train.optim import OptimConfig
from callosum.train.recipe import BatchConfig, RunConfig, WatchConfig
from callosum.train.sentences import SentenceConfig, Take


def small_towers(*, has_logit_bias: bool = False) -> Architecture:
    """The starter's kind: a hybrid image tower of 112 px and one block over word pieces; minutes on two cores."""
    config = DualConfig(
        dim=256,
        vision=HybridConfig(),
        text=SmallTextConfig(vocab_size=5000, context_length=96),
        has_logit_bias=has_logit_bias,
    )
    return Architecture(config=config, preprocess=Preprocess(), temperature=0.07)


def region_towers() -> Architecture:
    """A narrow ResNet of 128 px, and a BERT of four layers whose words are compared with its regions (GLoRIA)."""
    config = DualConfig(
        dim=256,
        vision=ResNetConfig(stem=16, depths=(2, 2, 2, 2)),
        text=BertConfig(
            vocab_size=5000,
            width=256,
            num_blocks=4,
            num_heads=4,
            hidden=512,
            max_positions=96,
            context_length=96,
            pool=Pool.GLORIA,
        ),
        image_head=Projection.AFFINE,
        has_regions=True,
    )
    return Architecture(config=config, preprocess=Preprocess(size_px=128), temperature=0.1)


def clip() -> RunConfig:
    """Pairs, with the symmetric InfoNCE of CLIP (Radford et al. 2021); equal texts are positives."""
    return RunConfig(
        name="own.clip",
        objective="clip",
        architecture=small_towers(),
        ema_decay=0.998,
        batch=BatchConfig(num_pairs=128, augmentation=Augmentation.CLIP),
        optim=OptimConfig(learning_rate=1e-3),
    )


def siglip() -> RunConfig:
    """Pairs, each judged for itself (Zhai et al. 2023, SigLIP)."""
    return RunConfig(
        name="own.siglip",
        objective="siglip",
        architecture=small_towers(has_logit_bias=True),
        ema_decay=0.998,
        batch=BatchConfig(num_pairs=128, augmentation=Augmentation.CLIP),
        optim=OptimConfig(learning_rate=1e-3),
    )


def convirt() -> RunConfig:
    """Pairs, with ConVIRT's fixed temperature and its augmentation (Zhang et al. 2020)."""
    return RunConfig(
        name="own.convirt",
        objective="convirt",
        architecture=small_towers(),
        ema_decay=0.998,
        batch=BatchConfig(num_pairs=128, augmentation=Augmentation.CONVIRT),
        optim=OptimConfig(learning_rate=1e-3),
    )


def gloria() -> RunConfig:
    """Pairs, whole and in parts: words attend to regions (Huang et al. 2021, GLoRIA)."""
    return RunConfig(
        name="own.gloria",
        objective="gloria",
        architecture=region_towers(),
        ema_decay=0.998,
        batch=BatchConfig(num_pairs=48, augmentation=Augmentation.GLORIA),
        optim=OptimConfig(learning_rate=1e-3),
    )


def medclip() -> RunConfig:
    """Pictures and texts that need not be pairs, matched by their findings (Wang et al. 2022, MedCLIP)."""
    return RunConfig(
        name="own.medclip",
        objective="medclip",
        objective_settings={"target_temperature": 0.1},  # at the paper's 1 targets are nearly uniform
        architecture=small_towers(),
        ema_decay=0.998,
        batch=BatchConfig(num_pairs=0, num_images=128, num_texts=128, augmentation=Augmentation.MEDCLIP),
        sentences=SentenceConfig(take=Take.WHOLE),
        optim=OptimConfig(learning_rate=1e-3),
    )


def projection() -> RunConfig:
    """The projections of a checkpoint on pairs; both towers run once, and then seconds are enough."""
    return RunConfig(
        name="own.projection",
        start="starter",
        num_steps=500,
        batch=BatchConfig(num_pairs=128),
        sentences=SentenceConfig(take=Take.WHOLE),
        optim=OptimConfig(learning_rate=3e-4),
        adapt=AdaptConfig(tune=Tune.PROJECTION),
        watch=WatchConfig(validate_every=50, patience=3, num_interpolations=5),
    )


def finetune() -> RunConfig:
    """A whole checkpoint on pairs, early layers slower, and weights between the start and the end looked at."""
    return RunConfig(
        name="own.finetune",
        start="starter",
        num_steps=500,
        ema_decay=0.99,
        batch=BatchConfig(num_pairs=64, augmentation=Augmentation.CLIP),
        optim=OptimConfig(learning_rate=5e-5, layer_decay=0.8),
        watch=WatchConfig(validate_every=50, patience=3, num_interpolations=5),
    )


def lora() -> RunConfig:
    """Low-rank additions to a checkpoint with attention (Hu et al. 2022)."""
    return RunConfig(
        name="own.lora",
        start="starter",
        num_steps=500,
        batch=BatchConfig(num_pairs=64, augmentation=Augmentation.CLIP),
        optim=OptimConfig(learning_rate=3e-4, weight_decay=0.0),
        adapt=AdaptConfig(tune=Tune.LORA),
        watch=WatchConfig(validate_every=50, patience=3, num_interpolations=5),
    )


def prompt() -> RunConfig:
    """Four words that are put before every text, and nothing else (Zhou et al. 2022, CoOp)."""
    return RunConfig(
        name="own.prompt",
        start="starter",
        num_steps=300,
        batch=BatchConfig(num_pairs=64, text_prefix="[V1] [V2] [V3] [V4] "),
        optim=OptimConfig(learning_rate=2e-3, weight_decay=0.0),
        adapt=AdaptConfig(tune=Tune.PROMPT),
        watch=WatchConfig(validate_every=50, patience=3),
    )


def probe() -> HeadConfig:
    """A linear probe on the vectors of single pictures: logistic regression for each label."""
    return HeadConfig(name="own.probe", probe=ProbeConfig(weight_decay=1e-3))


def attention() -> HeadConfig:
    """Attention over the pictures of a study, and a linear probe of what it pools (Ilse et al. 2018)."""
    return HeadConfig(name="own.attention", group="study_id", attention=AttentionConfig())


RECIPES: dict[str, Callable[[], RunConfig | HeadConfig]] = {
    recipe.__name__: recipe
    for recipe in (clip, siglip, convirt, gloria, medclip, projection, finetune, lora, prompt, probe, attention)
}


def find_recipe(name: str) -> RunConfig | HeadConfig:
    """The run, or the head, that a recipe describes.

    Args:
        name: One of `RECIPES`; or `module:function`; or `FILE.py:function`, whose code is run.

    Raises:
        NotFound: there is no such recipe, module, file or function.
        InputError: the function returns something else than a `RunConfig` or a `HeadConfig`, or its code fails.
    """
    if name in RECIPES:
        return RECIPES[name]()
    place, _, function = name.rpartition(":")
    if not place:
        message = f"There is no recipe {name!r}. There are {', '.join(RECIPES)}."
        raise NotFound(message, hint="One's own is named as module:function or FILE.py:function.")
    found = getattr(_module(place), function, None)
    if not callable(found):
        message = f"There is no function {function!r} in that module."
        raise NotFound(message)
    with _running("The recipe"):
        config = found()
    if not isinstance(config, RunConfig | HeadConfig):
        message = f"A recipe returns a RunConfig or a HeadConfig; {function!r} returned {type(config).__name__}."
        raise InputError(message)
    return config


def _module(place: str) -> object:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            message = f"There is no module {place!r}."
            raise NotFound(message, hint="A file is named with its ending: FILE.py:function.") from error
    path = Path(place)
    if not path.is_file():
        message = "The file of the recipe is not there."
        raise NotFound(message, hint="Check its path.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        message = "The file of the recipe cannot be read as a module."
        raise UsageError(message)
    module = importlib.util.module_from_spec(spec)
    with _running("The file of the recipe"):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _running(what: str) -> Iterator[None]:
    """Say that code of one's own failed, and how; the cause is kept."""
    try:
        yield
    except CallosumError:
        raise
    except Exception as error:
        message = f"{what} failed with {type(error).__name__}."
        raise InputError(message, hint="Run it with Python to see where.") from error
