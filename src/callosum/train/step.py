"""One step: a batch through both towers, an objective over what comes out, and the gradients of the whole batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from callosum.models.dual import DualEncoder
from callosum.models.preprocess import TowerResample
from callosum.models.runtime.bucket import bucketed
from callosum.models.text.pooling import Pool
from callosum.models.tokenizer import SubwordTokenizer
from callosum.objectives.cached import cached_backward
from callosum.objectives.gather import gather_views
from callosum.objectives.objective import Need, Objective
from callosum.objectives.views import Side, Views
from callosum.train.precision import StepPrecision, computing

TEXTS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """A batch as the network takes it.

    Attributes:
        image: Pictures `[N, 3, S, S]` in 0..1, or the features of a locked tower `[N, F]`.
        text: Token ids of M texts, or their features `[M, F]`.
        image_facts: What `objectives.views.Side` knows of images beside their vectors, one row each.
        text_facts: The same of texts.
    """

    image: Tensor
    text: Sequence[Sequence[int]] | Tensor
    image_facts: Mapping[str, Tensor] = field(default_factory=dict)
    text_facts: Mapping[str, Tensor] = field(default_factory=dict)

    def chunks(self, num_rows: int) -> list[tuple[slice, slice]]:
        """Rows of images and of texts to hold at once: at most `num_rows` of the longer side; 0 for all."""
        N, M = len(self.image), len(self.text)
        parts = -(-max(N, M) // num_rows) if num_rows else 1
        parts = max(1, min(parts, N, M))
        cuts = [(n * N // parts, (n + 1) * N // parts, n * M // parts, (n + 1) * M // parts) for n in range(parts)]
        return [(slice(a, b), slice(c, d)) for a, b, c, d in cuts]


class Step:
    """Runs the network on inputs; the objective sees what comes out.

    Args:
        network: Both towers.
        tokenizer: Says how texts are padded, and which pieces continue a word.
        objective: What is minimised.
        precision: Number format of the towers' products.
        chunk_rows: Rows that are held at once; fewer than a batch has costs a second forward pass and gives the same
            gradients (Gao et al. 2021, GradCache). 0 holds them all.
        locked: Fast copies of towers that are not trained, under `vision` and `text`.
        is_bucketed: Whether texts go through their tower in batches of like length. How many these are depends on the
            texts: towers that are dealt out over processes must be run equally often by all.
    """

    def __init__(
        self,
        network: DualEncoder,
        tokenizer: SubwordTokenizer,
        objective: Objective,
        *,
        precision: StepPrecision = StepPrecision.FP32,
        chunk_rows: int = 0,
        locked: Mapping[str, nn.Module] | None = None,
        is_bucketed: bool = True,
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.objective = objective
        self.precision = precision
        self.chunk_rows = chunk_rows
        self.locked = locked or {}
        self.is_bucketed = is_bucketed
        self.has_tokens = Need.TOKENS in objective.needs
        self._joins = torch.from_numpy(tokenizer.joins_V) if self.has_tokens else None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.log_logit_scale.device

    def backward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Add the gradients of the whole batch to those that are there; returns the terms, without a graph."""
        chunks = inputs.chunks(self.chunk_rows)
        if len(chunks) > 1:
            return cached_backward(chunks, encode=lambda rows: self.sides(inputs, *rows), loss=self.loss)
        terms = self.loss(*self.sides(inputs, *chunks[0]))
        terms["loss"].backward()
        return {name: value.detach() for name, value in terms.items()}

    def loss(self, image: Side, text: Side) -> dict[str, Tensor]:
        """The objective over both sides and the rows of other processes."""
        return self.objective(gather_views(self._views(image, text)))

    def local_loss(self, image: Side, text: Side) -> dict[str, Tensor]:
        """The objective over both sides alone."""
        return self.objective(self._views(image, text))

    def _views(self, image: Side, text: Side) -> Views:
        return Views(
            image=image,
            text=text,
            logit_scale=self.network.logit_scale,
            logit_bias=self.network.logit_bias if self.network.config.has_logit_bias else None,
        )

    def sides(self, inputs: Inputs, images: slice, texts: slice) -> tuple[Side, Side]:
        """Vectors of some images and texts, and what is known of them."""
        return self.image_side(inputs, images), self.text_side(inputs, texts)

    def image_side(self, inputs: Inputs, rows: slice = slice(None)) -> Side:
        """Vectors of some images, and what is known of them."""
        with computing(self.precision, self.device.type):
            embedding_ND, token_NPD = self.embed_images(inputs.image[rows].to(self.device))
        return Side(
            embedding_ND=embedding_ND, token_NLD=token_NPD, **_rows(inputs.image_facts, rows, device=self.device)
        )

    def text_side(self, inputs: Inputs, rows: slice = slice(None)) -> Side:
        """Vectors of some texts, and what is known of them."""
        with computing(self.precision, self.device.type):
            embedding_MD, token_MLD, mask_ML = self.embed_texts(inputs.text[rows])
        facts = _rows(inputs.text_facts, rows, device=self.device)
        return Side(embedding_ND=embedding_MD, token_NLD=token_MLD, token_mask_NL=mask_ML, **facts)

    def embed_images(self, image: Tensor) -> tuple[Float[Tensor, "N D"], Tensor | None]:
        """Unit vectors of pictures, or of their features; and their regions, where the objective wants them."""
        network = self.network
        if image.ndim == 2:
            return network.embed_features(image), None
        x = normalised(network, image)
        if not self.has_tokens:
            return network.embed_features(self._features("vision", x)), None
        features_NF, map_NCHW = network.vision.features_and_map(x)
        regions = network.region_projection(map_NCHW.flatten(2).transpose(1, 2)).float()
        return network.embed_features(features_NF), regions

    def embed_texts(
        self, text: Sequence[Sequence[int]] | Tensor
    ) -> tuple[Float[Tensor, "M D"], Tensor | None, Tensor | None]:
        """Unit vectors of texts, or of their features; and their words with a mask, where the objective wants them."""
        network = self.network
        if isinstance(text, Tensor):
            return functional.normalize(network.text_projection(text.to(self.device)).float(), dim=-1), None, None
        if self.has_tokens:
            assert self._joins is not None
            ids, mask = self._padded(text)
            words, word_mask = network.text.word_features(ids, mask, self._joins.to(self.device)[ids])
            num_slots = network.config.text.context_length
            if network.text.pool is Pool.GLORIA:  # the sum over words is that over pieces: one pass is enough
                whole = network.text_projection(words.sum(dim=1) / num_slots)
                return functional.normalize(whole.float(), dim=-1), network.text_projection(words).float(), word_mask
            return network.encode_text(ids, mask), network.text_projection(words).float(), word_mask
        if not self.is_bucketed:
            vectors_MD = network.text_projection(self._features("text", *self._padded(text)))
            return functional.normalize(vectors_MD.float(), dim=-1), None, None
        plan = bucketed(text, batch_size=TEXTS_AT_ONCE, pad_length=self.tokenizer.pad_length)
        parts = [self._features("text", *self._padded([text[n] for n in batch])) for batch in plan.batches]
        vectors_MD = network.text_projection(torch.cat(parts)[torch.from_numpy(plan.restore_N).to(self.device)])
        return functional.normalize(vectors_MD.float(), dim=-1), None, None

    def _features(self, side: str, *inputs: Tensor) -> Tensor:
        """Features of a tower, or of its fast copy, which chooses its own number format."""
        if side not in self.locked:
            features: Tensor = getattr(self.network, side)(*inputs)
            return features
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            fast: Tensor = self.locked[side](*inputs).float()
            return fast

    def _padded(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        rows, mask = self.tokenizer.padded(ids)
        return torch.from_numpy(rows).to(self.device), torch.from_numpy(mask).to(self.device)


def normalised(network: DualEncoder, pixels: Float[Tensor, "N 3 S S"]) -> Float[Tensor, "N 3 T T"]:
    """Pictures in 0..1 to the input of the image tower, as `DualEncoder.normalise` makes it of whole numbers."""
    x = (pixels - network.mean) / network.std
    if side := network.preprocess.tower_px:
        has_corners = network.preprocess.tower_resample is TowerResample.BILINEAR_CORNERS
        mode = "bilinear" if has_corners else "bicubic"
        x = functional.interpolate(x, size=side, mode=mode, align_corners=has_corners)
    return x.contiguous(memory_format=torch.channels_last)


def _rows(facts: Mapping[str, Tensor], rows: slice, *, device: torch.device) -> dict[str, Tensor]:
    return {name: value[rows].to(device) for name, value in facts.items()}
