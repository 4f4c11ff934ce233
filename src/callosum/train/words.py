"""Word vectors from caption statistics: the start of the text tower, and caption similarity.

Positive pointwise mutual information of word pieces within a window, reduced by a singular value decomposition
(Levy and Goldberg 2014). On a few thousand captions this is a better start than random vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def ppmi_vectors(
    captions: Sequence[Sequence[int]], *, vocab_size: int, width: int, window: int = 8, rng: np.random.Generator
) -> Float[np.ndarray, "V W"]:
    """Vectors of every word piece, rows of norm about one; pieces never seen get small random rows."""
    counts_VV = np.zeros((vocab_size, vocab_size), np.float32)
    for ids in captions:
        row = np.asarray(ids)
        for step in range(1, window + 1):
            if len(row) > step:
                np.add.at(counts_VV, (row[:-step], row[step:]), 1.0 / np.sqrt(step))
    counts_VV += counts_VV.T
    total_V = counts_VV.sum(axis=1)
    context_V = total_V**0.75
    context_V /= max(context_V.sum(), 1.0)
    expected_VV = np.outer(total_V, context_V)
    with np.errstate(divide="ignore", invalid="ignore"):
        ppmi_VV = np.log(counts_VV / expected_VV)
    ppmi_VV[~np.isfinite(ppmi_VV)] = 0.0
    np.maximum(ppmi_VV, 0.0, out=ppmi_VV)
    vectors_VW = _svd(ppmi_VV, width, rng=rng)
    norm_V = np.linalg.norm(vectors_VW, axis=1, keepdims=True)
    noise_VW = rng.normal(0.0, 0.3 / np.sqrt(width), vectors_VW.shape)
    return np.where(norm_V > 1e-6, vectors_VW / np.maximum(norm_V, 1e-6), noise_VW).astype(np.float32)


def caption_vectors(
    captions: Sequence[Sequence[int]], *, vocab_size: int, width: int, rng: np.random.Generator
) -> Float[np.ndarray, "N W"]:
    """Latent semantic analysis: unit vectors of captions from their TF-IDF word pieces (Deerwester et al. 1990)."""
    tfidf_NV = np.zeros((len(captions), vocab_size), np.float32)
    for n, ids in enumerate(captions):
        np.add.at(tfidf_NV[n], np.asarray(ids), 1.0)
    document_V = (tfidf_NV > 0).sum(axis=0)
    tfidf_NV = np.log1p(tfidf_NV) * np.log((1 + len(captions)) / (1 + document_V))
    tfidf_NV /= np.maximum(np.linalg.norm(tfidf_NV, axis=1, keepdims=True), 1e-6)
    vectors_NW = _svd(tfidf_NV, width, rng=rng)
    return vectors_NW / np.maximum(np.linalg.norm(vectors_NW, axis=1, keepdims=True), 1e-6)


def _svd(matrix: Float[np.ndarray, "N M"], width: int, *, rng: np.random.Generator) -> Float[np.ndarray, "N W"]:
    """Left singular vectors times the root of the singular values, by randomised range finding (Halko et al. 2011)."""
    width = min(width, *matrix.shape)
    basis = rng.normal(size=(matrix.shape[1], width + 16)).astype(np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))
    left, values, _ = np.linalg.svd(matrix @ basis, full_matrices=False)
    out = (left * np.sqrt(values))[:, :width]
    return np.ascontiguousarray(out, dtype=np.float32)
