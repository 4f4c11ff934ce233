"""Small heads on vectors computed once: a linear probe, and attention over the pictures of a study or slide.

Neither moves a vector: a probe scores vectors as they are stored, and attention weighs those of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Integer
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError, UsageError
from callosum.core.pooling import GatedAttention, Pooling, pool_groups

POSITIVE, NEGATIVE = 1.0, 0.0


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """How a linear probe is fitted.

    Attributes:
        weight_decay: Of the weights on standardised features; per row, as in a mean of losses.
        num_steps: Most steps of L-BFGS, which goes through all rows in each.
    """

    weight_decay: float = 1e-3
    num_steps: int = 200

    def __post_init__(self) -> None:
        if self.weight_decay < 0 or self.num_steps < 1:
            message = "weight_decay is at least 0 and num_steps at least 1."
            raise UsageError(message)


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearProbe:
    """One score for each concept: `features @ weight.T + bias`, in logits that are not calibrated.

    Attributes:
        concepts: Names, in the order of the rows.
        weight_KF: Weights.
        bias_K: Biases.
        num_steps: Steps of L-BFGS that it took.
    """

    concepts: tuple[str, ...]
    weight_KF: Float32[np.ndarray, "K F"]
    bias_K: Float32[np.ndarray, " K"]
    num_steps: int = 0

    def scores(self, features_NF: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N K"]:
        """Scores of rows."""
        scores_NK: np.ndarray = features_NF @ self.weight_KF.T + self.bias_K
        return scores_NK


def fit_probe(
    features_NF: Float[np.ndarray, "N F"],
    labels_NK: Float[np.ndarray, "N K"],
    concepts: Sequence[str],
    config: ProbeConfig | None = None,
) -> LinearProbe:
    """Logistic regression of every concept; rows whose label is neither 1 nor 0 do not count for it.

    Raises:
        InputError: features that are not finite, shapes that differ, or a concept of which one class is missing.
    """
    config = config or ProbeConfig()
    known_NK = (labels_NK == POSITIVE) | (labels_NK == NEGATIVE)
    if features_NF.ndim != 2 or labels_NK.shape != (len(features_NF), len(concepts)):
        message = f"Rows {list(features_NF.shape)} and labels {list(labels_NK.shape)} of {len(concepts)} do not fit."
        raise InputError(message)
    if not np.isfinite(features_NF).all():
        message = "A feature is no finite number."
        raise InputError(message)
    for k, concept in enumerate(concepts):
        if len(np.unique(labels_NK[known_NK[:, k], k])) < 2:
            message = f"'{concept}' needs rows that are positive and rows that are negative; one of them is missing."
            raise InputError(message, hint="Leave the concept out, or give more rows.")
    mean_F, std_F = features_NF.mean(axis=0), features_NF.std(axis=0) + 1e-6
    x = torch.from_numpy(((features_NF - mean_F) / std_F).astype(np.float32))
    target, known = (torch.from_numpy(part.astype(np.float32)) for part in (np.where(known_NK, labels_NK, 0), known_NK))
    head = nn.Linear(x.shape[1], len(concepts))
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=config.num_steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        each = functional.binary_cross_entropy_with_logits(head(x), target, reduction="none") * known
        loss = (each.sum(dim=0) / known.sum(dim=0)).sum() + config.weight_decay * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    weight_KF = head.weight.detach().numpy() / std_F
    bias_K = head.bias.detach().numpy() - weight_KF @ mean_F
    return LinearProbe(
        concepts=tuple(concepts),
        weight_KF=weight_KF.astype(np.float32),
        bias_K=bias_K.astype(np.float32),
        num_steps=int(optimizer.state[head.weight]["n_iter"]),
    )


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """How attention over rows is fitted.

    Attributes:
        width: Rows of V and U.
        num_steps: Steps over all groups.
        learning_rate: Of AdamW.
        weight_decay: Likewise.
        logit_scale: Multiplies cosines with the classes.
        seed: Of the first weights.
    """

    width: int = 64
    num_steps: int = 200
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    logit_scale: float = 20.0
    seed: int = 0


def fit_attention(
    rows_ND: Float[np.ndarray, "N D"],
    groups_N: Integer[np.ndarray, " N"],
    class_G: Integer[np.ndarray, " G"],
    classes_KD: Float[np.ndarray, "K D"],
    config: AttentionConfig | None = None,
) -> GatedAttention:
    """Learn which rows of a group tell its class (Ilse, Tomczak and Welling 2018).

    What is pooled stays in the space of the rows, since it is compared with the vectors of the classes' texts: search
    and zero-shot scores go on working for studies and slides.

    Args:
        rows_ND: Unit rows.
        groups_N: The group of each row, from 0.
        class_G: The class of each group, from 0.
        classes_KD: Unit vectors of the classes, such as those of their prompts.
        config: How.

    Raises:
        InputError: shapes that do not fit, a group without rows, or groups of one class only.
    """
    config = config or AttentionConfig()
    G = len(class_G)
    has_rows = np.array_equal(np.unique(groups_N), np.arange(G))
    if not has_rows or rows_ND.shape != (len(groups_N), classes_KD.shape[1]) or not np.isfinite(rows_ND).all():
        message = "Attention is learnt from finite rows [N, D], groups 0 to G-1, each with a row, and classes [K, D]."
        raise InputError(message)
    if len(np.unique(class_G)) < 2 or class_G.min() < 0 or class_G.max() >= len(classes_KD):
        message = f"Attention is learnt from groups of two classes or more, out of {len(classes_KD)}."
        raise InputError(message)
    classes = torch.from_numpy(classes_KD.astype(np.float32))
    target = torch.from_numpy(class_G.astype(np.int64))

    def loss(pooled_GD: Tensor) -> Tensor:
        return functional.cross_entropy(config.logit_scale * pooled_GD @ classes.T, target)

    return _learnt(rows_ND, groups_N, loss, (), num_groups=G, config=config)


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """Scores of groups of rows, such as the pictures of a study or the tiles of a slide; of each row where alone.

    Attributes:
        probe: Scores of one row for each group.
        attention: What makes that row; their mean's direction without.
    """

    probe: LinearProbe
    attention: GatedAttention | None = None

    def scores(
        self, rows_ND: Float[np.ndarray, "N D"], groups_N: Integer[np.ndarray, " N"] | None = None
    ) -> Float[np.ndarray, "G K"]:
        """Scores of groups, numbered from 0, or of each row."""
        group_N = np.arange(len(rows_ND)) if groups_N is None else groups_N
        return self.probe.scores(pooled(rows_ND, group_N, self.attention))


def pooled(
    rows_ND: Float[np.ndarray, "N D"], groups_N: Integer[np.ndarray, " N"], attention: GatedAttention | None = None
) -> Float[np.ndarray, "G D"]:
    """One unit row for each group, numbered from 0; the direction of its mean without attention.

    Raises:
        InputError: as `pool_groups` does.
    """
    mean_GD = pool_groups(rows_ND, groups_N, by=Pooling.MEAN)
    if attention is None:
        return mean_GD
    return np.stack([attention.pool(part) for part in by_group(rows_ND, groups_N)])


def by_group(rows_ND: Float[np.ndarray, "N D"], groups_N: Integer[np.ndarray, " N"]) -> list[np.ndarray]:
    """The rows of each group, in the order of their numbers."""
    order_N = np.argsort(groups_N, kind="stable")
    return np.split(rows_ND[order_N], np.flatnonzero(np.diff(groups_N[order_N])) + 1)


def fit_head(
    rows_ND: Float[np.ndarray, "N D"],
    groups_N: Integer[np.ndarray, " N"],
    labels_GK: Float[np.ndarray, "G K"],
    concepts: Sequence[str],
    *,
    probe: ProbeConfig | None = None,
    attention: AttentionConfig | None = None,
) -> Head:
    """Learn what tells the concepts of a group; attention and a linear layer together, then the layer to its optimum.

    Args:
        rows_ND: Unit rows.
        groups_N: The group of each row, from 0.
        labels_GK: 1 positive, 0 negative, else not known.
        concepts: Their names.
        probe: How the linear layer is fitted.
        attention: How attention is; without it the mean of a group stands for it.

    Raises:
        InputError: as `fit_probe` and `pooled` do.
    """
    pooled(rows_ND, groups_N)
    K = len(concepts)
    learnt = None
    if attention is not None:
        known_GK = (labels_GK == POSITIVE) | (labels_GK == NEGATIVE)
        target, known = (
            torch.from_numpy(part.astype(np.float32)) for part in (np.where(known_GK, labels_GK, 0), known_GK)
        )
        weight, bias = torch.zeros(K, rows_ND.shape[1], requires_grad=True), torch.zeros(K, requires_grad=True)

        def loss(pooled_GD: Tensor) -> Tensor:
            logits = attention.logit_scale * functional.linear(pooled_GD, weight, bias)
            each = functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * known
            return (each.sum(dim=0) / known.sum(dim=0).clamp_min(1)).sum()

        learnt = _learnt(rows_ND, groups_N, loss, (weight, bias), num_groups=len(labels_GK), config=attention)
    return Head(
        probe=fit_probe(pooled(rows_ND, groups_N, learnt), labels_GK, concepts, probe),
        attention=learnt,
    )


def _learnt(
    rows_ND: np.ndarray,
    groups_N: np.ndarray,
    loss: Callable[[Tensor], Tensor],
    beside: Sequence[Tensor],
    *,
    num_groups: int,
    config: AttentionConfig,
) -> GatedAttention:
    """Attention with the least loss of what it pools, and of parameters beside it."""
    x, group = torch.from_numpy(rows_ND.astype(np.float32)), torch.from_numpy(groups_N.astype(np.int64))
    generator = torch.Generator().manual_seed(config.seed)
    shapes = ((config.width, x.shape[1]), (config.width, x.shape[1]), (config.width,))
    weights = [(torch.randn(shape, generator=generator) * shape[-1] ** -0.5).requires_grad_() for shape in shapes]
    optimizer = torch.optim.AdamW([*weights, *beside], lr=config.learning_rate, weight_decay=config.weight_decay)
    for _ in range(config.num_steps):
        optimizer.zero_grad()
        loss(_pooled(x, group, *weights, num_groups=num_groups)).backward()
        optimizer.step()
    content, gate, score = (weight.detach().numpy() for weight in weights)
    return GatedAttention(content_LD=content, gate_LD=gate, score_L=score)


def _pooled(x: Tensor, group: Tensor, content: Tensor, gate: Tensor, score: Tensor, *, num_groups: int) -> Tensor:
    """Unit rows, one a group, as `GatedAttention.pool` makes them."""
    logit_N = (torch.tanh(x @ content.T) * torch.sigmoid(x @ gate.T)) @ score
    top_G = torch.full((num_groups,), float("-inf")).scatter_reduce(0, group, logit_N.detach(), "amax")
    weight_N = (logit_N - top_G[group]).exp()
    total_G = torch.zeros(num_groups).index_add(0, group, weight_N)
    pooled_GD = torch.zeros(num_groups, x.shape[1]).index_add(0, group, x * (weight_N / total_G[group])[:, None])
    return functional.normalize(pooled_GD, dim=-1)
