"""Symmetric InfoNCE with equal texts not treated as negatives.

Radford et al. 2021 (CLIP) take the diagonal as the only positives; with captions written from labels most of a batch
shares its text, and those pairs would be pushed apart. Here a truth matrix says which pairs are positive (1), negative
(0) or not known (NaN, left out of the denominator); rows with several positives share the target between them, as in
the supervised contrastive loss of Khosla et al. 2020.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


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
    """Mean cross-entropy of both directions.

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
    known_NM = ~truth_NM.isnan()
    logits_NM = logit_scale * image_ND @ text_MD.T
    logits_NM = logits_NM.masked_fill(~known_NM, float("-inf"))
    weight_NM = truth_NM.nan_to_num(0.0)
    forward = _soft_cross_entropy(logits_NM, _rows(weight_NM, smoothing, known_NM))
    if smoothing is not None:
        smoothing = smoothing.T
    backward = _soft_cross_entropy(logits_NM.T, _rows(weight_NM.T, smoothing, known_NM.T))
    return {"image_to_text": forward, "text_to_image": backward, "contrastive": (forward + backward) / 2}


def _rows(weight: Tensor, smoothing: Tensor | None, known: Tensor) -> Tensor:
    """Target distribution per row: positives share what the smoothing leaves."""
    target = weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6)
    if smoothing is not None:
        target = target + smoothing * known
        target = target / target.sum(dim=1, keepdim=True).clamp_min(1e-6)
    return target


def _soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross-entropy over the rows that have a target; zero when none has."""
    log_probability = functional.log_softmax(logits, dim=1).masked_fill(target == 0, 0.0)
    has_target = target.sum(dim=1) > 0
    return -(target * log_probability).sum(dim=1)[has_target].sum() / has_target.sum().clamp_min(1)
