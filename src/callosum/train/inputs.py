"""A batch of the loader as a step takes it: token ids, and the keys and findings that an objective ties rows by."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from callosum.core.finding import Presence
from callosum.knowledge.vectors import CODES
from callosum.objectives.objective import Need, Objective
from callosum.objectives.views import key_codes
from callosum.train.feed import Batch
from callosum.train.step import Inputs

Texts = Callable[[list[str]], Sequence[Sequence[int]] | Tensor]
"""Texts to token ids, or to the features of a locked tower."""


def inputs_of(batch: Batch, objective: Objective | None, *, texts: Texts, prefix: str) -> Inputs:
    """Turn a batch into inputs.

    Args:
        batch: What the loader gave.
        objective: Says whether findings are wanted; None where only vectors are.
        texts: What becomes of its texts.
        prefix: Put before every text.
    """
    image_facts, text_facts = facts_of(batch)
    if objective is not None and Need.FINDINGS in objective.needs:
        image_facts |= _findings(batch.image_labels)
        text_facts |= _findings(batch.text_labels)
    return Inputs(
        image=batch.pixels,
        text=texts([prefix + text for text in batch.texts]) if batch.texts else [],
        image_facts=image_facts,
        text_facts=text_facts,
    )


def facts_of(batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Keys of pairs, texts and patients, of images and of texts."""
    image = {
        "pair_N": batch.image_pairs,
        "text_N": key_codes(batch.image_text_keys),
        "patient_N": key_codes(batch.image_patients),
    }
    text = {
        "pair_N": batch.text_pairs,
        "text_N": key_codes(batch.text_keys),
        "patient_N": key_codes(batch.text_patients),
    }
    return image, text


def _findings(labels_NK: Float[Tensor, "N K"]) -> dict[str, Tensor]:
    """What is positive, and what is uncertain; what is not mentioned counts as absent, as in MedCLIP."""
    return {
        "present_NK": (labels_NK == CODES[Presence.PRESENT]).float(),
        "uncertain_NK": labels_NK == CODES[Presence.UNCERTAIN],
    }


def nearest_text_accuracy(
    image_ND: Float[Tensor, "N D"], text_MD: Float[Tensor, "M D"], keys_N: Sequence[str], keys_M: Sequence[str]
) -> float:
    """Share of images whose nearest text, among the distinct ones, is one equal to their own.

    Of images with a prompt of their class as text this is zero-shot accuracy; of pairs, Recall@1.
    """
    first = {key: m for m, key in reversed(list(enumerate(keys_M)))}
    rows = torch.tensor(list(first.values()))
    number = {key: n for n, key in enumerate(first)}
    right_N = torch.tensor([number[key] for key in keys_N])
    return float(((image_ND @ text_MD[rows].T).argmax(dim=1) == right_N).float().mean())
