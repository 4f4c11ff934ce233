"""The hybrid image tower in numpy: a query by a picture then needs neither torch nor its start-up second.

Equal to `models.vision.hybrid` within 1e-5; tests compare the two. Torch is several times faster for many pictures.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from callosum.core.embedding import unit_rows
from callosum.models.layers_numpy import Weights, block, layer_norm, linear
from callosum.models.preprocess import Preprocess
from callosum.models.vision.sizes import HybridConfig

EPSILON = np.float32(1e-5)


class HybridNumpy:
    """Prepared pictures to unit vectors.

    Args:
        config: Sizes of the tower.
        weights: float32 arrays under the names of `DualEncoder.state_dict()`.
        preprocess: Gives the mean and deviation that pictures are normalised with.
    """

    def __init__(self, config: HybridConfig, weights: Weights, preprocess: Preprocess) -> None:
        self.config = config
        self.mean, self.std = np.array(preprocess.mean, np.float32), np.array(preprocess.std, np.float32)
        self.weights = {k: v for k, v in weights.items() if not k.startswith("text")}

    def __call__(self, pixels: UInt8[np.ndarray, "N S S 3"]) -> Float[np.ndarray, "N D"]:
        """Unit vectors, one picture at a time."""
        return unit_rows(np.concatenate([self._features(one[None]) for one in pixels]))

    def _features(self, pixels: UInt8[np.ndarray, "1 S S 3"]) -> Float[np.ndarray, "1 D"]:
        config, weights = self.config, self.weights
        x_BHWC = (pixels.astype(np.float32) / np.float32(255.0) - self.mean) / self.std
        grid = self._conv(x_BHWC, "vision.stem.0", "vision.stem.1", stride=2, is_rectified=True)
        number = 0
        for depth in config.depths:
            for n in range(depth):
                grid = self._residual(grid, f"vision.stages.{number}", stride=2 if n == 0 else 1)
                number += 1
        tokens_BPW = linear(weights, "vision.to_token", grid.reshape(1, -1, grid.shape[-1])) + weights["vision.place"]
        parts = [weights["vision.query"]]
        if config.thumbnail_px:
            grey = x_BHWC[0].mean(axis=-1)
            small = _pooled(grey[:, :, None], _edges(len(grey), config.thumbnail_px))
            parts.append(linear(weights, "vision.thumbnail", small.reshape(1, 1, -1)))
        x_BLW = np.concatenate([*parts, tokens_BPW], axis=1)
        for n in range(config.num_blocks):
            x_BLW = block(weights, f"vision.blocks.{n}", x_BLW, num_heads=config.num_heads)
        both = np.concatenate([x_BLW[:, 0], x_BLW[:, len(parts) :].mean(axis=1)], axis=1)
        return layer_norm(weights, "vision.norm", both) @ weights["image_projection.weight"].T

    def _residual(self, x: Float[np.ndarray, "B H W C"], name: str, *, stride: int) -> Float[np.ndarray, "B H2 W2 D"]:
        y = self._conv(x, f"{name}.conv1", f"{name}.norm1", stride=stride, is_rectified=True)
        y = self._conv(y, f"{name}.conv2", f"{name}.norm2", stride=1)
        if f"{name}.shortcut.1.weight" in self.weights:
            size = x.shape[1]
            pairs = [(n, min(n + stride, size)) for n in range(0, size, stride)]
            x = self._conv(_pooled(x[0], pairs)[None], f"{name}.shortcut.1", f"{name}.shortcut.2", stride=1)
        return np.maximum(y + x, 0)

    def _conv(
        self, x: Float[np.ndarray, "B H W C"], conv: str, norm: str, *, stride: int, is_rectified: bool = False
    ) -> Float[np.ndarray, "B H2 W2 D"]:
        """A convolution without bias, the batch norm after it folded in, as one matrix product."""
        kernel = self.weights[f"{conv}.weight"]
        gain = self.weights[f"{norm}.weight"] / np.sqrt(self.weights[f"{norm}.running_var"] + EPSILON)
        shift = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * gain
        side = kernel.shape[2]
        edge = side // 2
        padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))[:, ::stride, ::stride]
        B, H, W, C = windows.shape[:4]
        rows = np.ascontiguousarray(windows.transpose(0, 1, 2, 4, 5, 3)).reshape(B * H * W, side * side * C)
        matrix = (kernel * gain[:, None, None, None]).transpose(2, 3, 1, 0).reshape(side * side * C, -1)
        y = (rows @ matrix + shift).reshape(B, H, W, -1)
        return np.maximum(y, 0) if is_rectified else y


def _edges(size: int, side: int) -> list[tuple[int, int]]:
    """Bins of torch's adaptive pooling: as equal as they can be, overlapping where `side` does not divide `size`."""
    return [(n * size // side, -(-(n + 1) * size // side)) for n in range(side)]


def _pooled(x: Float[np.ndarray, "H W C"], edges: list[tuple[int, int]]) -> Float[np.ndarray, "E E C"]:
    """Means over the bins, the same along both sides of a square."""
    share_EH = np.zeros((len(edges), x.shape[0]), np.float32)
    for n, (start, stop) in enumerate(edges):
        share_EH[n, start:stop] = 1.0 / (stop - start)
    return np.einsum("ih,hwc,jw->ijc", share_EH, x, share_EH, optimize=True)
