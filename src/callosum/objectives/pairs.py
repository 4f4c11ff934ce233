"""Which pairs are true: own texts, and what becomes of the false negatives among the others.

Many radiographs are described by the same sentence, and two films of one patient say nearly the same;
taken as negatives, such pairs are pushed apart. A policy for each says whether that happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from callosum.core.errors import InputError
from callosum.objectives.views import UNTIED, Side


@runtime_checkable
class Keyed(Protocol):
    """What has keys: a side, or the different rows of one."""

    @property
    def pair_N(self) -> Int64[Tensor, " N"] | None:
        """Key of the own pair."""

    @property
    def text_N(self) -> Int64[Tensor, " N"] | None:
        """Key of the own text."""

    @property
    def patient_N(self) -> Int64[Tensor, " N"] | None:
        """Key of the patient."""


class FalseNegatives(StrEnum):
    """What becomes of a pair that is not an own pair, and yet tied."""

    KEEP = "keep"
    """A negative like any other, as in the papers."""
    MASK = "mask"
    """Left out: neither pulled nor pushed."""
    POSITIVE = "positive"
    """As true as the own pair."""


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """The settings that all objectives have: how ties other than the own pair count.

    A pair that is tied in both ways is positive if either says so, else left out if either says so. Sides without keys
    have no ties. An image is tied to a text by the key of its own text.

    Attributes:
        equal_text: Images whose own text is the same.
        equal_patient: Images and texts of one patient.
    """

    equal_text: FalseNegatives = FalseNegatives.POSITIVE
    equal_patient: FalseNegatives = FalseNegatives.KEEP

    def truth(self, image: Side, text: Side) -> Float[Tensor, "N M"]:
        """1 where a pair is positive, 0 where negative, NaN where left out; sides as of `Views.paired`."""
        positive_NM = self.positive(image, text)
        truth_NM = positive_NM.to(image.embedding_ND.dtype)
        return truth_NM.masked_fill(self.left_out(image, text), float("nan")) if self.leaves_out else truth_NM

    @property
    def leaves_out(self) -> bool:
        """Whether pairs may be left out."""
        return FalseNegatives.MASK in (self.equal_text, self.equal_patient)

    def positive(self, image: Keyed, text: Keyed) -> Bool[Tensor, "N M"]:
        """Own pairs, and those whose ties make them as good."""
        return _any_tie([_own(image, text), *self._ties(image, text, FalseNegatives.POSITIVE)])

    def left_out(self, image: Keyed, text: Keyed) -> Bool[Tensor, "N M"]:
        """Pairs that are neither positive nor negative."""
        own = _own(image, text)
        nothing = (torch.full_like(own[0], UNTIED), own[1])
        tied_NM = _any_tie([nothing, *self._ties(image, text, FalseNegatives.MASK)])
        return tied_NM & ~self.positive(image, text)

    def num_matched(self, rows: Keyed, others: Keyed) -> Int64[Tensor, ""]:
        """How many of `rows` have a positive among `others`, without the matrix."""
        has_N = torch.zeros_like(_own(rows, others)[0], dtype=torch.bool)
        for a_N, b_M in (_own(rows, others), *self._ties(rows, others, FalseNegatives.POSITIVE)):
            has_N |= torch.isin(a_N, b_M) & (a_N != UNTIED)
        return has_N.sum()

    def _ties(self, image: Keyed, text: Keyed, policy: FalseNegatives) -> list[tuple[Tensor, Tensor]]:
        """The keys whose equality has this policy."""
        named = [
            (self.equal_text, image.text_N, text.text_N),
            (self.equal_patient, image.patient_N, text.patient_N),
        ]
        return [(a_N, b_M) for mine, a_N, b_M in named if mine == policy and a_N is not None and b_M is not None]


def _own(image: Keyed, text: Keyed) -> tuple[Tensor, Tensor]:
    if image.pair_N is None or text.pair_N is None:
        message = "Rows have no pair keys here."
        raise InputError(message, hint="Use `Views.paired()`.")
    return image.pair_N, text.pair_N


def _any_tie(keys: list[tuple[Tensor, Tensor]]) -> Bool[Tensor, "N M"]:
    """Where the two keys of any kind are equal and not `UNTIED`."""
    tied = [(a_N[:, None] == b_M[None, :]) & (a_N != UNTIED)[:, None] for a_N, b_M in keys]
    return torch.stack(tied).any(dim=0) if len(tied) > 1 else tied[0]
