"""Symmetric InfoNCE (CLIP), with equal texts not treated as negatives.

Radford et al. 2021 (CLIP) take the diagonal as the only positives; with captions written from labels most of a batch
shares its text, and those pairs would be pushed apart. Here a truth matrix says which pairs are positive (1), negative
(0) or not known (NaN, left out of the denominator); rows with several positives share the target between them, as in
the supervised contrastive loss of Khosla et al. 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from callosum.objectives.objective import Need
from callosum.objectives.pairs import Pairing
from callosum.objectives.views import Side, Views

CLIP_LOGIT_SCALE = 1 / 0.07
Score = Callable[[Side, Side], Float[Tensor, "N M"]]


@dataclass(frozen=True, kw_only=True)
class Clip(Pairing):
    """Mean cross-entropy of both directions at a learnt scale (Radford et al. 2021)."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.SCALE})
    initial_logit_scale: ClassVar[float] = CLIP_LOGIT_SCALE
    initial_logit_bias: ClassVar[float] = 0.0

    def __call__(self, views: Views) -> dict[str, Tensor]:
        """`loss`; `image_to_text`, `text_to_image` and `matched`. A bias changes no softmax, but is let in."""
        scale, bias = views.scale(), views.logit_bias

        def score(image: Side, text: Side) -> Tensor:
            logits_NM = scale * image.embedding_ND @ text.embedding_ND.T
            return logits_NM if bias is None else logits_NM + bias

        return both_ways(views, self, score)


def both_ways(views: Views, pairing: Pairing, score: Score, *, image_weight: float = 0.5) -> dict[str, Tensor]:
    """Weighted cross-entropy of images over texts and of texts over images, for any score of a pair.

    Means are over the rows that have a positive; the loss is zero where none has.

    Args:
        views: The batch; with a share, only that share's rows are summed.
        pairing: Which pairs are positive.
        score: Logits of all pairs of two sides.
        image_weight: Weight of images over texts; that of texts over images is what is left to one.

    Returns:
        `loss`, and without graph `image_to_text`, `text_to_image` and `matched`, the share of images with a positive.
    """
    views = views.paired()
    image, text, my_image = views.image, views.text, views.my_image
    logits_NM, truth_NM = score(my_image, text), pairing.truth(my_image, text)
    if views.share is None:
        logits_MN, truth_MN = logits_NM.T, truth_NM.T
    else:
        my_text = views.my_text
        logits_MN, truth_MN = score(image, my_text).T, pairing.truth(image, my_text).T
    num_images = pairing.num_matched(image, text)
    forward = _total(logits_NM, truth_NM) * views.num_processes / num_images.clamp_min(1)
    backward = _total(logits_MN, truth_MN) * views.num_processes / pairing.num_matched(text, image).clamp_min(1)
    return {
        "loss": image_weight * forward + (1 - image_weight) * backward,
        "image_to_text": forward.detach(),
        "text_to_image": backward.detach(),
        "matched": num_images / len(image),
    }


def equal_text_truth(keys: list[str]) -> Float[Tensor, "N N"]:
    """Truth matrix of pairs whose only knowledge is their text: equal texts are positives."""
    code = {key: n for n, key in enumerate(dict.fromkeys(keys))}
    code_N = torch.tensor([code[key] for key in keys])
    return (code_N[:, None] == code_N[None, :]).float()


def contrastive_loss(
    image_ND: Float[Tensor, "N D"],
    text_MD: Float[Tensor, "M D"],
    *,
    logit_scale: Float[Tensor, ""],
    truth_NM: Float[Tensor, "N M"] | None = None,
    smoothing: Float[Tensor, "N M"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Mean cross-entropy of both directions, for a truth matrix that keys cannot say.

    Args:
        image_ND: Unit image embeddings.
        text_MD: Unit text embeddings.
        logit_scale: One over the temperature.
        truth_NM: 1 positive, 0 negative, NaN not known; the identity when absent.
        smoothing: Non-negative weights added to the target of known pairs, such as caption similarity.

    Returns:
        `image_to_text`, `text_to_image` and their mean `contrastive`.
    """
    if truth_NM is None:
        truth_NM = torch.eye(len(image_ND), len(text_MD), device=image_ND.device)
    logits_NM = logit_scale * image_ND @ text_MD.T
    backward_smoothing = None if smoothing is None else smoothing.T
    forward = _mean(*_cross_entropies(logits_NM, truth_NM, smoothing))
    backward = _mean(*_cross_entropies(logits_NM.T, truth_NM.T, backward_smoothing))
    return {"image_to_text": forward, "text_to_image": backward, "contrastive": (forward + backward) / 2}


def _cross_entropies(
    logits_NM: Tensor, truth_NM: Tensor, smoothing_NM: Tensor | None = None
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Cross-entropy of each row over its known pairs, and the mass of its target: zero where it has none."""
    known_NM = ~truth_NM.isnan()
    weight_NM = truth_NM.nan_to_num(0.0)
    target_NM = weight_NM / weight_NM.sum(dim=1, keepdim=True).clamp_min(1e-6)
    if smoothing_NM is not None:
        target_NM = target_NM + smoothing_NM * known_NM
        target_NM = target_NM / target_NM.sum(dim=1, keepdim=True).clamp_min(1e-6)
    logits_NM = logits_NM.masked_fill(~known_NM, float("-inf"))
    log_probability_NM = functional.log_softmax(logits_NM, dim=1).masked_fill(target_NM == 0, 0.0)
    return -(target_NM * log_probability_NM).sum(dim=1), target_NM.sum(dim=1)


def _mean(entropy_N: Tensor, mass_N: Tensor) -> Float[Tensor, ""]:
    """Mean over the rows that have a target; zero when none has."""
    has_target_N = mass_N > 0
    return entropy_N[has_target_N].sum() / has_target_N.sum().clamp_min(1)


def _total(logits_NM: Tensor, truth_NM: Tensor) -> Float[Tensor, ""]:
    """Sum over the rows that have a positive; the others contribute zero."""
    entropy_N, mass_N = _cross_entropies(logits_NM, truth_NM)
    return entropy_N[mass_N > 0].sum()
