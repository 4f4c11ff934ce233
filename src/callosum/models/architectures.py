"""Towers and preprocessing of methods whose authors published no weights: built by name, to be trained here.

Loading never comes here: weights that are missing are an error. Random ones are drawn where that is said in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from callosum.core.errors import UsageError
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Fit, Preprocess, Resample
from callosum.models.text.bert import BertConfig
from callosum.models.text.pooling import Pool
from callosum.models.towers import DualConfig, Projection
from callosum.models.vision.resnet import ResNetConfig

RANDOM = "random"
CLINICAL_BERT_PIECES = 28996
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a method says about its network.

    Attributes:
        config: Sizes.
        preprocess: From a picture to the tower's input.
        temperature: Divides similarities at the start of training, or throughout where the method fixes it.
    """

    config: DualConfig
    preprocess: Preprocess
    temperature: float


def convirt(*, vocab_size: int = CLINICAL_BERT_PIECES, context_length: int = 256) -> Architecture:
    """ConVIRT (Zhang et al. 2020, arXiv:2010.00747): ResNet-50, and ClinicalBERT with the maximum over its tokens.

    Both sides have two layers with a ReLU between them, to 512; the temperature is 0.1 and stays so. The authors
    published neither weights nor code, and do not say how a whole film becomes a square: here it is padded with black.

    Args:
        vocab_size: Word pieces; the default is ClinicalBERT's.
        context_length: Longest text in pieces.
    """
    return Architecture(
        config=DualConfig(
            dim=512,
            vision=ResNetConfig(),
            text=BertConfig(vocab_size=vocab_size, context_length=context_length, pool=Pool.MAX),
            image_head=Projection.RELU,
            text_head=Projection.RELU,
        ),
        preprocess=Preprocess(
            size_px=224, fit=Fit.PAD, resample=Resample.BICUBIC, mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
        temperature=0.1,
    )


ARCHITECTURES: dict[str, Callable[..., Architecture]] = {"convirt": convirt}


def build(what: str | Architecture, *, weights: str, seed: int = 0) -> DualEncoder:
    """A network with random weights, in training mode.

    Args:
        what: A name in `ARCHITECTURES`, or an architecture with sizes of one's own.
        weights: `random`, said in so many words; there are no others for these methods.
        seed: Of the weights: equal seeds, equal weights. The state of torch's generator is left as it was.

    Raises:
        UsageError: no such architecture, or other weights were asked for.
    """
    if weights != RANDOM:
        message = f"An architecture is built with weights={RANDOM!r}, to be trained; found {weights!r}."
        raise UsageError(message, hint="Trained weights are loaded by name: callosum.load_encoder.")
    if isinstance(what, str):
        if what not in ARCHITECTURES:
            message = f"No architecture is called {what!r}."
            raise UsageError(message, hint=f"There are: {', '.join(ARCHITECTURES)}.")
        what = ARCHITECTURES[what]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DualEncoder(what.config, what.preprocess)
    with torch.no_grad():
        network.log_logit_scale.fill_(-math.log(what.temperature))
    return network
