"""What an objective sees of a batch: two sides, images and texts, and the scale of their logits.

The sides need not be paired: rows are tied by integer keys (`pair`, `text`, `patient`), so that a batch may hold paired
images and texts, images with labels only, and texts only, as MedCLIP decouples them (Wang et al. 2022).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.core.finding import Presence

UNTIED = -1
"""The key of a row that is tied to nothing."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One half of a batch: its images, or its texts.

    Attributes:
        embedding_ND: Float32 or float64 rows, of unit length (GLoRIA takes any length).
        pair_N: Image and text belong together where these are equal; -1 is unpaired. Absent on both sides: by row.
        text_N: Key of the text, or of the image's own text; equal texts have equal keys, -1 is none.
        patient_N: Key of the patient; -1 is none.
        present_NK: Findings in 0..1; what stands in cells that `uncertain_NK` marks does not matter.
        uncertain_NK: Findings of which it is not known whether they are there; absent means none.
        token_NLD: Regions of an image or words of a text, of any length.
        token_mask_NL: True where a token is real; absent means everywhere.

    Raises:
        InputError: no row, a value that is not finite, labels outside 0..1, a row without a token, lengths that differ.
    """

    embedding_ND: Float[Tensor, "N D"]
    pair_N: Int64[Tensor, " N"] | None = None
    text_N: Int64[Tensor, " N"] | None = None
    patient_N: Int64[Tensor, " N"] | None = None
    present_NK: Float[Tensor, "N K"] | None = None
    uncertain_NK: Bool[Tensor, "N K"] | None = None
    token_NLD: Float[Tensor, "N L E"] | None = None
    token_mask_NL: Bool[Tensor, "N L"] | None = None

    def __post_init__(self) -> None:
        N = len(self.embedding_ND)
        if N == 0:
            message = "A side of the batch has no row."
            raise InputError(message, hint="Leave out the step, or the objective that needs this side.")
        if self.embedding_ND.dtype not in (torch.float32, torch.float64):
            message = f"Embeddings are float32 or float64, found {self.embedding_ND.dtype}."
            raise InputError(message, hint="Convert them with .float(); losses lose their value in half precision.")
        for name, value in _present(self):
            if len(value) != N:
                message = f"{name} has {len(value)} rows beside {N} embeddings."
                raise InputError(message)
            if not value.dtype.is_floating_point:
                continue
            is_finite = value.detach().isfinite()
            if name == "present_NK" and self.uncertain_NK is not None and self.uncertain_NK.shape == value.shape:
                is_finite = is_finite | self.uncertain_NK
            if not bool(is_finite.all()):
                message = f"{name} holds a value that is not finite."
                raise InputError(message, hint="Look at the batch, the learning rate and the precision of this step.")
        _check_findings(self.present_NK, self.uncertain_NK)
        _check_tokens(self.token_NLD, self.token_mask_NL)

    def __len__(self) -> int:
        return len(self.embedding_ND)

    def rows(self, chosen: slice | Int64[Tensor, " R"]) -> Side:
        """Some of the rows."""
        return replace(self, **{name: value[chosen] for name, value in _present(self)})


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of a gathered batch whose terms this process computes, all other rows being the other side only.

    Attributes:
        image_rows: Images of this process.
        text_rows: Texts of this process.
        num_processes: A term is scaled so that its mean over this many processes is that of the whole batch.
    """

    image_rows: slice
    text_rows: slice
    num_processes: int


@dataclass(frozen=True, kw_only=True)
class Views:
    """A batch as an objective sees it.

    Attributes:
        image: N images.
        text: M texts.
        logit_scale: What cosines are multiplied with (one over the temperature), with its graph.
        logit_bias: What is added to logits (SigLIP).
        share: Which rows this process answers for; all of them when absent.

    Raises:
        InputError: the sides do not fit together.
    """

    image: Side
    text: Side
    logit_scale: Float[Tensor, ""] | None = None
    logit_bias: Float[Tensor, ""] | None = None
    share: Share | None = None

    def __post_init__(self) -> None:
        image, text = self.image, self.text
        if torch.is_autocast_enabled(image.embedding_ND.device.type):
            message = "Objectives are computed in full precision, and autocast is on."
            raise InputError(message, hint="Encode under autocast, leave it, convert the embeddings with .float().")
        if image.embedding_ND.shape[1] != text.embedding_ND.shape[1]:
            widths = f"{image.embedding_ND.shape[1]} and {text.embedding_ND.shape[1]}"
            message = f"Images and texts lie in one space, found widths {widths}."
            raise InputError(message)
        if image.embedding_ND.dtype != text.embedding_ND.dtype:
            message = f"Both sides have one precision, found {image.embedding_ND.dtype} and {text.embedding_ND.dtype}."
            raise InputError(message, hint="Convert one of them.")
        if (image.pair_N is None) != (text.pair_N is None) or (image.pair_N is None and len(image) != len(text)):
            message = f"{len(image)} images and {len(text)} texts need pair keys on both sides."
            raise InputError(message, hint="Give each row the key of its pair, -1 where it has none.")
        if (image.present_NK is None) != (text.present_NK is None):
            message = "Findings are given for one side only."
            raise InputError(message)
        if image.present_NK is not None and text.present_NK is not None:
            num_image, num_text = image.present_NK.shape[1], text.present_NK.shape[1]
            if num_image != num_text:
                message = f"Both sides have the same findings, found {num_image} and {num_text}."
                raise InputError(message)
        for name, value in (("logit_scale", self.logit_scale), ("logit_bias", self.logit_bias)):
            if value is not None and not bool(value.detach().isfinite()):
                message = f"{name} is not finite."
                raise InputError(message)

    def paired(self, *, start: int = 0) -> Views:
        """The same with pair keys written out, counted from `start` where rows were paired by their number."""
        if self.image.pair_N is not None:
            return self
        pair_N = torch.arange(start, start + len(self.image), device=self.image.embedding_ND.device)
        return replace(self, image=replace(self.image, pair_N=pair_N), text=replace(self.text, pair_N=pair_N))

    @property
    def my_image(self) -> Side:
        """The images this process answers for."""
        return self.image if self.share is None else self.image.rows(self.share.image_rows)

    @property
    def my_text(self) -> Side:
        """The texts this process answers for."""
        return self.text if self.share is None else self.text.rows(self.share.text_rows)

    @property
    def num_processes(self) -> int:
        """How many processes share the batch."""
        return 1 if self.share is None else self.share.num_processes

    def scale(self) -> Float[Tensor, ""]:
        """The logit scale.

        Raises:
            InputError: there is none.
        """
        if self.logit_scale is None:
            message = "This objective needs a logit scale."
            raise InputError(message)
        return self.logit_scale

    def bias(self) -> Float[Tensor, ""]:
        """The logit bias.

        Raises:
            InputError: there is none.
        """
        if self.logit_bias is None:
            message = "This objective needs a logit bias."
            raise InputError(message, hint="SigLIP starts it at -10, because almost all pairs are negative.")
        return self.logit_bias


def join_sides(sides: Sequence[Side]) -> Side:
    """The rows of several sides one after another; tokens are filled up to the longest.

    Raises:
        InputError: one side knows something of its rows that another does not.
    """
    names: list[set[str]] = [{name for name, _ in _present(side)} - {"token_mask_NL"} for side in sides]
    if any(found != names[0] for found in names):
        differing = sorted({name for found in names for name in found ^ names[0]})
        message = f"Parts of one batch differ in what they hold: {', '.join(differing)}."
        raise InputError(message)
    if "token_NLD" in names[0]:
        longest = max(side.token_NLD.shape[1] for side in sides if side.token_NLD is not None)
        sides = [lengthen(side, longest) for side in sides]
    joined = {name: torch.cat([getattr(side, name) for side in sides]) for name, _ in _present(sides[0])}
    return Side(**joined)


def lengthen(side: Side, length: int) -> Side:
    """The same side with `length` tokens per row, those that were added being masked."""
    if side.token_NLD is None:
        return side
    token_NLD, mask_NL = side.token_NLD, side.token_mask_NL
    if mask_NL is None:
        mask_NL = torch.ones(token_NLD.shape[:2], dtype=torch.bool, device=token_NLD.device)
    missing = length - token_NLD.shape[1]
    token_NLD = functional.pad(token_NLD, (0, 0, 0, missing))
    return replace(side, token_NLD=token_NLD, token_mask_NL=functional.pad(mask_NL, (0, missing)))


def key_codes(values: Iterable[str | None]) -> Int64[Tensor, " N"]:
    """Keys of texts or patients, equal in every process and run: 63 bits of BLAKE2b, -1 for None."""
    codes = [
        UNTIED if v is None else int.from_bytes(hashlib.blake2b(v.encode(), digest_size=8).digest()) >> 1
        for v in values
    ]
    return torch.tensor(codes, dtype=torch.int64)


def labels_from(
    rows: Sequence[Sequence[Presence]], *, unknown: Collection[Presence] = (Presence.UNCERTAIN,)
) -> tuple[Float[Tensor, "N K"], Bool[Tensor, "N K"]]:
    """`present_NK` and `uncertain_NK` of rows of findings.

    Args:
        rows: N rows of K findings.
        unknown: What counts as not known; add `UNMENTIONED` where silence does not mean absence.
    """
    present_NK = torch.tensor([[float(p is Presence.PRESENT) for p in row] for row in rows])
    uncertain_NK = torch.tensor([[p in unknown for p in row] for row in rows])
    return present_NK, uncertain_NK


def _present(side: Side) -> list[tuple[str, Tensor]]:
    """What a side holds, by name."""
    named = ((f.name, getattr(side, f.name)) for f in fields(Side))
    return [(name, value) for name, value in named if value is not None]


def _check_findings(present_NK: Tensor | None, uncertain_NK: Tensor | None) -> None:
    if present_NK is None:
        if uncertain_NK is not None:
            message = "Uncertain findings are given without the findings."
            raise InputError(message)
        return
    if uncertain_NK is not None and uncertain_NK.shape != present_NK.shape:
        message = f"{tuple(uncertain_NK.shape)} marks of uncertainty beside {tuple(present_NK.shape)} findings."
        raise InputError(message)
    if present_NK.shape[1] == 0:
        message = "Findings are given, and their list is empty."
        raise InputError(message)
    known_NK = present_NK if uncertain_NK is None else present_NK.masked_fill(uncertain_NK, 0.0)
    low, high = (float(bound) for bound in known_NK.aminmax())
    if low < 0.0 or high > 1.0:
        message = f"Findings lie in 0..1, found {low:g}..{high:g}."
        raise InputError(message, hint="Mark what is not known (often written -1) in `uncertain_NK`.")


def _check_tokens(token_NLD: Tensor | None, mask_NL: Tensor | None) -> None:
    if token_NLD is not None and token_NLD.shape[1] == 0:
        message = "Rows with tokens need at least one each."
        raise InputError(message)
    if mask_NL is None:
        return
    if token_NLD is None or mask_NL.shape != token_NLD.shape[:2]:
        message = "A token mask has one value for each token."
        raise InputError(message)
    if not bool(mask_NL.any(dim=1).all()):
        message = "A row has no token."
        raise InputError(message, hint="Keep the first token of an empty text.")
