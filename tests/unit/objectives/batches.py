"""Random batches of every kind that objectives see, and the goldens."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from callosum.objectives.views import Side, Views


def golden(name: str) -> dict[str, Tensor]:
    root = os.environ.get("CALLOSUM_DATA")
    path = Path(root).parent / "goldens" / name / "golden.npz" if root else None
    if path is None or not path.is_file():
        pytest.skip("the goldens are not here: set CALLOSUM_DATA to the folder beside them")
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(path).items()}


def unit(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(*shape, generator=generator, dtype=dtype), dim=-1)


def side(
    seed: int, *, num_rows: int = 7, dim: int = 5, num_tokens: int = 4, dtype: torch.dtype = torch.float64
) -> Side:
    """Rows with all there is; rows 1 and 2 have one text, rows 0, 3 and 5 one patient, the last has no pair."""
    generator = torch.Generator().manual_seed(seed + 100)
    pair_N = torch.arange(num_rows)
    pair_N[-1] = -1
    text_N, patient_N = torch.arange(num_rows) + 10, torch.arange(num_rows) + 20
    text_N[2], text_N[-1] = text_N[1], -1
    patient_N[3:6:2] = patient_N[0]
    return Side(
        embedding_ND=unit(num_rows, dim, seed=seed, dtype=dtype),
        pair_N=pair_N,
        text_N=text_N,
        patient_N=patient_N,
        # Findings are those of the row, so that both sides agree on most and rows repeat each other.
        present_NK=torch.stack([torch.arange(num_rows) % 3 == k for k in range(4)], dim=1).to(dtype),
        uncertain_NK=torch.rand(num_rows, 4, generator=generator) < 0.15,
        token_NLD=torch.randn(num_rows, num_tokens, dim, generator=generator, dtype=dtype),
        token_mask_NL=torch.arange(num_tokens) < torch.arange(num_rows)[:, None] % num_tokens + 1,
    )


def batch(*, num_rows: int = 7, dtype: torch.dtype = torch.float64) -> Views:
    return Views(
        image=side(1, num_rows=num_rows, dtype=dtype),
        text=side(2, num_rows=num_rows, num_tokens=6, dtype=dtype),
        logit_scale=torch.tensor(6.0, dtype=dtype),
        logit_bias=torch.tensor(-3.0, dtype=dtype),
    )


def leaves(views: Views) -> tuple[Views, list[Tensor]]:
    """The same batch on fresh leaves, and the leaves."""
    sides, found = [], []
    for part in (views.image, views.text):
        embedding, token = part.embedding_ND.clone().requires_grad_(), None
        found.append(embedding)
        if part.token_NLD is not None:
            token = part.token_NLD.clone().requires_grad_()
            found.append(token)
        sides.append(replace(part, embedding_ND=embedding, token_NLD=token))
    scalars = [
        None if s is None else s.detach().clone().requires_grad_() for s in (views.logit_scale, views.logit_bias)
    ]
    found.extend(s for s in scalars if s is not None)
    return Views(image=sides[0], text=sides[1], logit_scale=scalars[0], logit_bias=scalars[1]), found


def value_and_gradients(objective, views: Views) -> list[Tensor]:
    """The loss and its gradient in every leaf, zero where it does not depend on one."""
    views, found = leaves(views)
    loss = objective(views)["loss"]
    return [loss.detach(), *torch.autograd.grad(loss, found, allow_unused=True, materialize_grads=True)]


def plain(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor | None = None) -> Views:
    """Embeddings paired by row, nothing else known."""
    return Views(image=Side(embedding_ND=image), text=Side(embedding_ND=text), logit_scale=scale, logit_bias=bias)
