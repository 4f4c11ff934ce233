"""The shared layers in numpy: what one query needs, without torch and its start-up second.

Equal to `models.layers` within 1e-5; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

Weights = Mapping[str, Float[np.ndarray, "..."]]
EPSILON = np.float32(1e-5)


def linear(weights: Weights, name: str, x: Float[np.ndarray, "*B W"]) -> Float[np.ndarray, "*B V"]:
    """A linear layer with a bias."""
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_norm(weights: Weights, name: str, x: Float[np.ndarray, "*B W"]) -> Float[np.ndarray, "*B W"]:
    """Layer normalisation (Ba et al. 2016) over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def block(
    weights: Weights,
    name: str,
    x_BLW: Float[np.ndarray, "B L W"],
    mask_BL: Bool[np.ndarray, "B L"] | None = None,
    *,
    num_heads: int,
) -> Float[np.ndarray, "B L W"]:
    """Pre-norm transformer block with the tanh form of GELU."""
    B, L, W = x_BLW.shape
    qkv = linear(weights, f"{name}.attention.qkv", layer_norm(weights, f"{name}.norm1", x_BLW))
    query, key, value = qkv.reshape(B, L, 3, num_heads, W // num_heads).transpose(2, 0, 3, 1, 4)
    score_BHLL = query @ key.swapaxes(-1, -2) * np.float32((W // num_heads) ** -0.5)
    if mask_BL is not None:
        score_BHLL = np.where(mask_BL[:, None, None, :], score_BHLL, -np.inf)
    share_BHLL = np.exp(score_BHLL - score_BHLL.max(axis=-1, keepdims=True))
    share_BHLL /= share_BHLL.sum(axis=-1, keepdims=True)
    mixed = (share_BHLL @ value).transpose(0, 2, 1, 3).reshape(B, L, W)
    x_BLW = x_BLW + linear(weights, f"{name}.attention.out", mixed)
    hidden = _gelu(linear(weights, f"{name}.mlp.up", layer_norm(weights, f"{name}.norm2", x_BLW)))
    return x_BLW + linear(weights, f"{name}.mlp.down", hidden)


def _gelu(x: Float[np.ndarray, "*B W"]) -> Float[np.ndarray, "*B W"]:
    """GELU in its tanh form (Hendrycks and Gimpel 2016)."""
    inner = x * x  # a power of 3 is several times slower than two products
    inner *= x
    inner *= np.float32(0.044715)
    inner += x
    inner *= np.float32(0.7978845608)
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= np.float32(0.5)
    return inner
