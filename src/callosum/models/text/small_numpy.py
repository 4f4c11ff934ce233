"""The small text tower in numpy: a text query then needs neither torch nor its start-up second.

Equal to `models.text.small` within 1e-5; tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int64

from callosum.models.text.sizes import SmallTextConfig

Weights = Mapping[str, Float[np.ndarray, "..."]]
EPSILON = np.float32(1e-5)


class SmallTextNumpy:
    """Token ids to unit vectors.

    Args:
        config: Sizes of the tower.
        weights: float32 arrays under the names of `DualEncoder.state_dict()`.
    """

    def __init__(self, config: SmallTextConfig, weights: Weights) -> None:
        self.config = config
        self.weights = {k: v for k, v in weights.items() if k.startswith("text")}

    def __call__(self, ids_BL: Int64[np.ndarray, "B L"], mask_BL: Bool[np.ndarray, "B L"]) -> Float[np.ndarray, "B D"]:
        """Unit vectors of padded token ids."""
        word_BLW = self._norm("text.norm_in", self.weights["text.token.weight"][ids_BL])
        x_BLW = word_BLW + self.weights["text.place"][: ids_BL.shape[1]]
        for n in range(self.config.num_blocks):
            x_BLW = self._block(f"text.blocks.{n}", x_BLW, mask_BL)
        count_B1 = np.maximum(mask_BL.sum(axis=1, keepdims=True), 1).astype(np.float32)
        keep_BL1 = mask_BL[..., None]
        both = [(part * keep_BL1).sum(axis=1) / count_B1 for part in (x_BLW, word_BLW)]
        features_BF = self._norm("text.norm", np.concatenate(both, axis=1))
        out_BD = features_BF @ self.weights["text_projection.weight"].T
        return (out_BD / np.maximum(np.linalg.norm(out_BD, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    def _block(
        self, name: str, x_BLW: Float[np.ndarray, "B L W"], mask_BL: Bool[np.ndarray, "B L"]
    ) -> Float[np.ndarray, "B L W"]:
        B, L, W = x_BLW.shape
        H = self.config.num_heads
        qkv = self._linear(f"{name}.attention.qkv", self._norm(f"{name}.norm1", x_BLW))
        query, key, value = qkv.reshape(B, L, 3, H, W // H).transpose(2, 0, 3, 1, 4)
        score_BHLL = query @ key.swapaxes(-1, -2) * np.float32((W // H) ** -0.5)
        score_BHLL = np.where(mask_BL[:, None, None, :], score_BHLL, -np.inf)
        share_BHLL = np.exp(score_BHLL - score_BHLL.max(axis=-1, keepdims=True))
        share_BHLL /= share_BHLL.sum(axis=-1, keepdims=True)
        mixed = (share_BHLL @ value).transpose(0, 2, 1, 3).reshape(B, L, W)
        x_BLW = x_BLW + self._linear(f"{name}.attention.out", mixed)
        hidden = _gelu(self._linear(f"{name}.mlp.up", self._norm(f"{name}.norm2", x_BLW)))
        return x_BLW + self._linear(f"{name}.mlp.down", hidden)

    def _linear(self, name: str, x: Float[np.ndarray, "*B W"]) -> Float[np.ndarray, "*B V"]:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, x: Float[np.ndarray, "*B W"]) -> Float[np.ndarray, "*B W"]:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def _gelu(x: Float[np.ndarray, "*B W"]) -> Float[np.ndarray, "*B W"]:
    """GELU in its tanh form (Hendrycks and Gimpel 2016)."""
    return np.float32(0.5) * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x**3)))
