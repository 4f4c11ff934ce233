"""Semantic matching (MedCLIP, Wang et al. 2022): an image fits every text that speaks of its findings.

Targets are the softmax of how similar the findings of an image and of a text are, so pairs are not needed. The paper
takes the cosine of the two label vectors; the released code takes their dot product. At the papers' target temperature
of one a softmax of values in 0..1 is nearly uniform: `target_entropy_share` says how nearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from callosum.core.errors import InputError, UsageError
from callosum.objectives.blockwise import log_sum_exps
from callosum.objectives.contrastive import CLIP_LOGIT_SCALE
from callosum.objectives.objective import Need
from callosum.objectives.pairs import FalseNegatives, Pairing
from callosum.objectives.patterns import Said, Targets, patterns, targets
from callosum.objectives.views import Side, Views


class TargetSimilarity(StrEnum):
    """How similar two label vectors are."""

    COSINE = "cosine"
    """As in the paper; zero where a row has no finding at all."""
    DOT = "dot"
    """As in the released code: findings in common, so rows with many findings have sharper targets."""


class UncertainFinding(StrEnum):
    """What a finding counts as when it is not known whether it is there."""

    IGNORE = "ignore"
    """A similarity is that of the findings which both sides know."""
    ZERO = "zero"
    """Absent."""
    HALF = "half"
    """0.5."""
    ONE = "one"
    """Present."""
    MINUS_ONE = "minus_one"
    """-1, as label files write it and the released code computes with it: less like a finding than its absence."""


UNCERTAIN_VALUE = {
    UncertainFinding.IGNORE: 0.0,
    UncertainFinding.ZERO: 0.0,
    UncertainFinding.HALF: 0.5,
    UncertainFinding.ONE: 1.0,
    UncertainFinding.MINUS_ONE: -1.0,
}


@dataclass(frozen=True, kw_only=True)
class MedClip(Pairing):
    """Mean of both directions' cross-entropy with the targets.

    Equal texts have equal findings and hence equal targets, so false negatives are kept by default. A policy may leave
    pairs out of both softmaxes, or lift their similarity, and that of own pairs, to at least one. Own pairs are never
    left out.

    Attributes:
        targets: What the targets are the softmax of.
        target_temperature: Similarities are divided by it; lower is sharper.
        uncertain: What counts for findings of which it is not known whether they are there.
    """

    equal_text: FalseNegatives = FalseNegatives.KEEP
    targets: TargetSimilarity = TargetSimilarity.COSINE
    target_temperature: float = 1.0
    uncertain: UncertainFinding = UncertainFinding.IGNORE

    needs: ClassVar[frozenset[Need]] = frozenset({Need.SCALE, Need.FINDINGS})
    initial_logit_scale: ClassVar[float] = CLIP_LOGIT_SCALE
    initial_logit_bias: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        if not self.target_temperature > 0:
            message = f"MedCLIP: target_temperature is above zero, found {self.target_temperature:g}."
            raise UsageError(message)

    def __call__(self, views: Views) -> dict[str, Tensor]:
        """`loss`; each direction's, the mean entropy of the targets in nats, and its share of a uniform target's."""
        if self._has_ties:
            views = views.paired()
        found = targets(patterns(self._said(views.image)), patterns(self._said(views.text)), self.similarity)
        forward, backward = self._cross_entropies(views, found)
        entropy = torch.stack([found.entropy(of="image"), found.entropy(of="text")])
        most = torch.tensor([len(views.text), len(views.image)], device=entropy.device).to(entropy.dtype).log()
        return {
            "loss": (forward + backward) / 2,
            "image_to_text": forward.detach(),
            "text_to_image": backward.detach(),
            "target_entropy": entropy.mean(),
            "target_entropy_share": entropy.mean() / most.mean().clamp_min(1e-6),
        }

    def similarity(self, image: Said, text: Said) -> Float[Tensor, "U V"]:
        """Similarity of findings over the temperature, with ties applied; minus infinity where a pair is left out."""
        similarity_UV = self._findings_in_common(image, text)
        if FalseNegatives.POSITIVE in (self.equal_text, self.equal_patient):
            tied_UV = self.positive(image, text)
            similarity_UV = torch.where(tied_UV, similarity_UV.clamp_min(1.0), similarity_UV)
        similarity_UV = similarity_UV / self.target_temperature
        if self.leaves_out:
            similarity_UV = similarity_UV.masked_fill(self.left_out(image, text), float("-inf"))
        return similarity_UV

    def _findings_in_common(self, image: Said, text: Said) -> Float[Tensor, "U V"]:
        image_UK, text_VK = image.finding_NK, text.finding_NK
        dot_UV = image_UK @ text_VK.T
        if self.targets is TargetSimilarity.DOT:
            return dot_UV
        image_UV, text_UV = image_UK.square().sum(dim=1)[:, None], text_VK.square().sum(dim=1)[None, :]
        # Lengths are taken over the findings that the other side knows.
        if text.known_NK is not None:
            image_UV = image_UK.square() @ text.known_NK.T
        if image.known_NK is not None:
            text_UV = image.known_NK @ text_VK.square().T
        return dot_UV / (image_UV * text_UV).sqrt().clamp_min(1e-12)

    def _said(self, side: Side) -> Said:
        """What a side says, in the settings' reading of uncertain findings."""
        if side.present_NK is None:
            message = "This objective needs the findings of both sides."
            raise InputError(message, hint="Take them from a label table, or extract them from the reports.")
        finding_NK, known_NK = side.present_NK.to(side.embedding_ND.dtype), None
        if side.uncertain_NK is not None:
            finding_NK = finding_NK.masked_fill(side.uncertain_NK, UNCERTAIN_VALUE[self.uncertain])
            if self.uncertain is UncertainFinding.IGNORE:
                known_NK = (~side.uncertain_NK).to(finding_NK.dtype)
        if not self._has_ties:
            return Said(finding_NK=finding_NK, known_NK=known_NK)
        return Said(
            finding_NK=finding_NK,
            known_NK=known_NK,
            pair_N=side.pair_N,
            text_N=side.text_N,
            patient_N=side.patient_N,
        )

    @property
    def _has_ties(self) -> bool:
        """Whether keys change anything."""
        return {self.equal_text, self.equal_patient} != {FalseNegatives.KEEP}

    def _cross_entropies(self, views: Views, found: Targets) -> tuple[Tensor, Tensor]:
        """Cross-entropy of images over texts, and of texts over images: log-sum-exp of the logits less their target."""
        image_ND, text_MD, scale = views.image.embedding_ND, views.text.embedding_ND, views.scale()
        said_image, said_text = self._said(views.image), self._said(views.text)
        image_rows, text_rows = slice(None), slice(None)
        if views.share is not None:
            image_rows, text_rows = views.share.image_rows, views.share.text_rows

        def log_sums(image_rows: slice, text_rows: slice) -> tuple[Tensor, Tensor]:
            image, text = said_image.rows(image_rows), said_text.rows(text_rows)

            def left_out(rows: slice) -> Tensor:
                return self.left_out(image.rows(rows), text)

            return log_sum_exps(
                image_ND[image_rows],
                text_MD[text_rows],
                scale=scale,
                left_out=left_out if self.leaves_out else None,
            )

        row_N, column_M = log_sums(image_rows, text_rows if views.share is None else slice(None))
        if views.share is not None:
            column_M = log_sums(slice(None), text_rows)[1]
        image_UD, text_VD = found.image.sums(image_ND), found.text.sums(text_MD)
        forward = found.expected(found.image.sums(image_ND[image_rows], image_rows), text_VD, of="image")
        backward = found.expected(image_UD, found.text.sums(text_MD[text_rows], text_rows), of="text")
        num_image = found.num_targets(of="image").clamp_min(1) / views.num_processes
        num_text = found.num_targets(of="text").clamp_min(1) / views.num_processes
        # A row without any pair has no target, and minus infinity as log-sum-exp.
        row_total, column_total = (lse.masked_fill(lse.isneginf(), 0.0).sum() for lse in (row_N, column_M))
        return (row_total - scale * forward) / num_image, (column_total - scale * backward) / num_text
