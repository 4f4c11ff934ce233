"""Many unit rows to one: the vector of a study, a series or a slide from those of its pictures.

Every rule is invariant to the order of the rows, gives a row of norm one, and leaves one row as it is. Sums are in
float64, so that the order shows at most in the last bit of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Integer

from callosum.core.embedding import unit_rows
from callosum.core.errors import InputError, UsageError

_CANCELLED = 1e-6
"""Sums of unit rows that are shorter have no direction but that of rounding errors in float32."""


class Pooling(StrEnum):
    """How many rows become one."""

    MEAN = "mean"
    MAX = "max"
    ATTENTION = "attention"


def pool(
    rows_ND: Float[np.ndarray, "N D"],
    *,
    by: Pooling,
    query: Float[np.ndarray, " D"] | None = None,
    temperature: float = 0.07,
) -> Float[np.ndarray, " D"]:
    """Pool unit rows to one unit row; see `pool_groups`."""
    one_group = np.zeros(len(rows_ND), dtype=np.int64)
    return pool_groups(rows_ND, one_group, by=by, query=query, temperature=temperature)[0]


def pool_groups(
    rows_ND: Float[np.ndarray, "N D"],
    groups_N: Integer[np.ndarray, " N"],
    *,
    by: Pooling,
    query: Float[np.ndarray, " D"] | None = None,
    temperature: float = 0.07,
) -> Float[np.ndarray, "G D"]:
    """Pool the unit rows of each group to one unit row.

    `mean` is the direction of the mean. `max` takes the largest value of each dimension. `attention` weighs each row
    by softmax(q.v / temperature): q is the query, or the direction of the group's mean, and then outliers count less.
    The higher the temperature, the closer it is to `mean`; the lower, the closer to the one row that is most like the
    query. Rows that cancel have no direction: the row that is first in lexicographic order then stands for its group.

    Args:
        rows_ND: Rows of norm one.
        groups_N: The group of each row, numbered from 0, in any order.
        by: The rule.
        query: What attention looks for, in the space of the rows; of any length but zero.
        temperature: Of attention, in units of cosine.

    Returns:
        float32, one row of norm one for each group.

    Raises:
        InputError: no rows, rows that are not finite, a group without a row, a query that does not fit.
        UsageError: the temperature is not above zero.
    """
    by = Pooling(by)
    if not temperature > 0:
        message = f"The temperature of attention is above zero; found {temperature}."
        raise UsageError(message)
    rows_ND, starts_G, group_N = _by_group(rows_ND, groups_N)
    if by is Pooling.MAX:
        return _directions(np.maximum.reduceat(rows_ND, starts_G), rows_ND, starts_G)
    mean_GD = np.add.reduceat(rows_ND, starts_G) / _sizes(starts_G, len(rows_ND))[:, None]
    if by is Pooling.MEAN:
        return _directions(mean_GD, rows_ND, starts_G)
    if query is None:
        score_N = np.einsum("nd,nd->n", rows_ND, _lengthen(mean_GD)[group_N])
    else:
        score_N = rows_ND @ _checked_query(query, rows_ND.shape[1])
    weight_N = _softmax(score_N / temperature, starts_G, group_N)
    return _directions(np.add.reduceat(rows_ND * weight_N[:, None], starts_G), rows_ND, starts_G)


@dataclass(frozen=True, kw_only=True, eq=False)
class GatedAttention:
    """Learned attention over the rows of one bag: softmax(w . (tanh(V h) * sigmoid(U h))).

    Source: Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning, ICML 2018, equation 9.

    Attributes:
        content_LD: V.
        gate_LD: U.
        score_L: w.
    """

    content_LD: Float[np.ndarray, "L D"]
    gate_LD: Float[np.ndarray, "L D"]
    score_L: Float[np.ndarray, " L"]

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            InputError: V, U and w do not fit each other, or hold numbers that are not finite.
        """
        shape = self.content_LD.shape
        if self.content_LD.ndim != 2 or self.gate_LD.shape != shape or self.score_L.shape != shape[:1]:
            found = f"{list(shape)}, {list(self.gate_LD.shape)} and {list(self.score_L.shape)}"
            message = f"Gated attention has weights [L, D], [L, D] and [L]; found {found}."
            raise InputError(message)
        if not all(np.isfinite(weights).all() for weights in (self.content_LD, self.gate_LD, self.score_L)):
            message = "The weights of gated attention are not finite."
            raise InputError(message)

    def weights(self, rows_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
        """How much each row counts: float64, their sum is one."""
        rows_ND, starts_G, group_N = _by_group(rows_ND, np.zeros(len(rows_ND), dtype=np.int64))
        if rows_ND.shape[1] != self.content_LD.shape[1]:
            message = f"The weights are for rows of {self.content_LD.shape[1]}; found {rows_ND.shape[1]}."
            raise InputError(message)
        gate_NL = 0.5 * (1.0 + np.tanh(0.5 * (rows_ND @ self.gate_LD.T)))  # a sigmoid that cannot overflow
        return _softmax((np.tanh(rows_ND @ self.content_LD.T) * gate_NL) @ self.score_L, starts_G, group_N)

    def pool(self, rows_ND: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " D"]:
        """One unit row, float32."""
        pooled_1D = self.weights(rows_ND)[None, :] @ rows_ND
        return _directions(pooled_1D, rows_ND, np.zeros(1, dtype=np.int64))[0]


def _by_group(rows_ND: np.ndarray, groups_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in float64 and in the order of their groups, where each group starts, and the group of each row."""
    if rows_ND.ndim != 2 or not len(rows_ND) or groups_N.shape != rows_ND.shape[:1]:
        found = f"{list(rows_ND.shape)} and {list(groups_N.shape)}"
        message = f"Pooling takes rows [N, D], N at least 1, and the group [N] of each; found {found}."
        raise InputError(message)
    if not np.isfinite(rows_ND).all():
        message = "A row to be pooled is not finite."
        raise InputError(message)
    order_N = np.argsort(groups_N, kind="stable")
    group_N = groups_N[order_N]
    numbers_G, starts_G = np.unique(group_N, return_index=True)
    if not np.array_equal(numbers_G, np.arange(len(numbers_G))):
        message = "Groups are numbered from 0, and each has a row; some number is missing or negative."
        raise InputError(message)
    return rows_ND[order_N].astype(np.float64), starts_G, group_N


def _sizes(starts_G: np.ndarray, num_rows: int) -> np.ndarray:
    return np.diff(starts_G, append=num_rows)


def _softmax(score_N: np.ndarray, starts_G: np.ndarray, group_N: np.ndarray) -> np.ndarray:
    exp_N = np.exp(score_N - np.maximum.reduceat(score_N, starts_G)[group_N])
    weight_N: np.ndarray = exp_N / np.add.reduceat(exp_N, starts_G)[group_N]
    return weight_N


def _checked_query(query: np.ndarray, width: int) -> np.ndarray:
    length = float(np.linalg.norm(np.asarray(query, dtype=np.float64)))
    if query.shape != (width,) or not np.isfinite(length) or length == 0:
        message = f"A query is one finite row [{width}] that is not zero; found {list(query.shape)}."
        raise InputError(message)
    return query / length


def _lengthen(rows_GD: np.ndarray) -> np.ndarray:
    """Norm one; a row without direction becomes zero, so that attention to it is even."""
    norm_G1 = np.linalg.norm(rows_GD, axis=1, keepdims=True)
    return np.where(norm_G1 > _CANCELLED, rows_GD / np.maximum(norm_G1, _CANCELLED), 0.0)


def _directions(pooled_GD: np.ndarray, rows_ND: np.ndarray, starts_G: np.ndarray) -> np.ndarray:
    """Norm one, in float32; a group whose rows cancelled is stood for by its first row in lexicographic order."""
    pooled_GD = _lengthen(pooled_GD)
    for group in np.flatnonzero(~pooled_GD.any(axis=1)):
        members = rows_ND[starts_G[group] :][: _sizes(starts_G, len(rows_ND))[group]]
        pooled_GD[group] = members[np.lexsort(members.T[::-1])[0]]
    return unit_rows(pooled_GD.astype(np.float32))
