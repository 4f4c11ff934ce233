"""The small text tower in numpy: a text query then needs neither torch nor its start-up second.

Equal to `models.text.small` within 1e-5; tests compare the two.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int64

from callosum.core.embedding import unit_rows
from callosum.models.layers_numpy import Weights, block, layer_norm
from callosum.models.text.sizes import SmallTextConfig


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
        word_BLW = layer_norm(self.weights, "text.norm_in", self.weights["text.token.weight"][ids_BL])
        x_BLW = word_BLW + self.weights["text.place"][: ids_BL.shape[1]]
        for n in range(self.config.num_blocks):
            x_BLW = block(self.weights, f"text.blocks.{n}", x_BLW, mask_BL, num_heads=self.config.num_heads)
        count_B1 = np.maximum(mask_BL.sum(axis=1, keepdims=True), 1).astype(np.float32)
        keep_BL1 = mask_BL[..., None]
        both = [(part * keep_BL1).sum(axis=1) / count_B1 for part in (x_BLW, word_BLW)]
        features_BF = layer_norm(self.weights, "text.norm", np.concatenate(both, axis=1))
        return unit_rows(features_BF @ self.weights["text_projection.weight"].T)
