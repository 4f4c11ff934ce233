"""Evening out the text side after training: directions in which everything lies are turned down.

Embeddings of a small model crowd around a few common directions, so that a few captions are near to everything. The
second moment of training captions and training pictures tells those directions; a power of its inverse, multiplied
into the text projection, turns them down (a mild form of whitening, as in Su et al. 2021). It costs nothing at use.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from callosum.models.dual import DualEncoder


def tempering(rows_ND: Float[np.ndarray, "N D"], *, power: float, ridge: float) -> Float[np.ndarray, "D D"]:
    """The symmetric matrix `(C + ridge * mean(eigenvalues)) ** (-power / 2)` of the rows' second moment `C`."""
    value_D, vector_DD = np.linalg.eigh(rows_ND.T.astype(np.float64) @ rows_ND / len(rows_ND))
    value_D = np.maximum(value_D, 0.0)
    value_D += ridge * value_D.mean()
    return ((vector_DD * value_D ** (-power / 2)) @ vector_DD.T).astype(np.float32)


@torch.no_grad()
def temper_text(model: DualEncoder, matrix_DD: Float[np.ndarray, "D D"]) -> None:
    """Multiply the matrix into the text projection, in place; the weights keep their size."""
    weight = model.text_projection.get_parameter("weight")
    changed = torch.from_numpy(matrix_DD) @ weight
    weight.copy_(changed * weight.norm() / changed.norm())
