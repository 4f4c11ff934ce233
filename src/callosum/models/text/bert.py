"""BERT as a text tower (Devlin et al. 2019): the text side of BiomedCLIP, MedCLIP and GLoRIA."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from callosum.core.errors import InputError, UsageError
from callosum.models.layers import Activation, Attention, Mlp
from callosum.models.text.pooling import Pool, pooled, word_sums


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """Sizes of the tower; the defaults are those of BERT-base.

    Attributes:
        vocab_size: Word pieces.
        width: Width of tokens and features.
        num_blocks: Transformer blocks.
        num_heads: Heads per block.
        hidden: Width inside the perceptrons.
        max_positions: Rows of the table of positions.
        type_vocab: Rows of the table of token types, of which a tower for single texts uses the first.
        context_length: Longest text in word pieces; the rest is cut by the tokenizer.
        norm_eps: What the norms add to the variance.
        activation: Non-linearity of the perceptrons.
        pool: How hidden states become features.

    Raises:
        UsageError: the table of positions is shorter than the longest text.
    """

    vocab_size: int
    width: int = 768
    num_blocks: int = 12
    num_heads: int = 12
    hidden: int = 3072
    max_positions: int = 512
    type_vocab: int = 2
    context_length: int = 512
    norm_eps: float = 1e-12
    activation: Activation = Activation.GELU
    pool: Pool = Pool.CLS

    def __post_init__(self) -> None:
        if self.context_length > self.max_positions:
            message = f"A text of {self.context_length} pieces needs as many positions; found {self.max_positions}."
            raise UsageError(message, hint="Lower context_length.")

    @property
    def pad_length(self) -> int | None:
        """Length to which texts must be padded, where the pooling counts the padding."""
        return self.context_length if self.pool == Pool.MEDCLIP_UNMASKED else None


class BertBlock(nn.Module):
    """Post-norm transformer block: each step's sum with its input is normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config.width, config.num_heads)
        self.norm1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config.width, config.hidden, activation=Activation(config.activation))
        self.norm2 = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, x_BLW: Float[Tensor, "B L W"], mask_BL: Bool[Tensor, "B L"] | None = None) -> Tensor:
        """Two residual steps."""
        x_BLW = self.norm1(x_BLW + self.attention(x_BLW, mask_BL))
        x_BLW = self.norm2(x_BLW + self.mlp(x_BLW))
        return x_BLW


class Bert(nn.Module):
    """Token ids to features. It has no dropout and no next-sentence pooler: checkpoints drop the latter's weights.

    Raises:
        UsageError: the pooling reads layers that the tower does not have.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.pool = Pool(config.pool)
        self._pooled_layers = self.pool.layers(config.num_blocks)
        self.token = nn.Embedding(config.vocab_size, config.width)
        self.place = nn.Parameter(torch.zeros(config.max_positions, config.width))
        self.kind = nn.Parameter(torch.zeros(config.type_vocab, config.width))
        self.norm_in = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.blocks = nn.ModuleList(BertBlock(config) for _ in range(config.num_blocks))
        for table in (self.token.weight, self.place, self.kind):
            nn.init.normal_(table, std=0.02)

    @property
    def feature_width(self) -> int:
        """Width of the features."""
        return self.config.width

    def hidden_states(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> list[Float[Tensor, "B L W"]]:
        """The embeddings, then the output of each block.

        Raises:
            InputError: the rows are longer than the table of positions.
        """
        return list(self._states(ids_BL, mask_BL))

    def forward(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Float[Tensor, "B W"]:
        """Features before projection.

        Raises:
            InputError: the rows are longer than the table of positions; or not of length `config.pad_length`, where
                the pooling counts the padding.
        """
        wanted = self.config.pad_length
        if wanted is not None and ids_BL.shape[1] != wanted:
            message = f"The pooling {self.pool.value} counts padding: rows must have {wanted} ids; "
            message += f"found {ids_BL.shape[1]}."
            raise InputError(message, hint="Pad to the context length.")
        return pooled(self.pool, self._pooled_states(ids_BL, mask_BL), mask_BL, num_slots=self.config.context_length)

    def word_features(
        self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"], joins_BL: Bool[Tensor, "B L"]
    ) -> tuple[Float[Tensor, "B K W"], Bool[Tensor, "B K"]]:
        """Features of whole words, from the sum of the layers that are pooled, and the mask of the words.

        Args:
            ids_BL: Token ids.
            mask_BL: The positions that count.
            joins_BL: Pieces that continue the word before; see `pooling.word_sums`.
        """
        return word_sums(torch.stack(self._pooled_states(ids_BL, mask_BL)).sum(dim=0), mask_BL, joins_BL)

    def _pooled_states(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> list[Tensor]:
        """Only the states that are pooled, so that the others need not be held."""
        states = enumerate(self._states(ids_BL, mask_BL))
        kept = {n: x_BLW for n, x_BLW in states if n in self._pooled_layers}
        return [kept[n] for n in self._pooled_layers]

    def _states(self, ids_BL: Int[Tensor, "B L"], mask_BL: Bool[Tensor, "B L"]) -> Iterator[Tensor]:
        L = ids_BL.shape[1]
        if len(self.place) < L:
            message = f"This tower has {len(self.place)} positions; found a row of {L} ids."
            raise InputError(message, hint="Cut texts to the context length.")
        x_BLW = self.norm_in(self.token(ids_BL) + self.place[:L] + self.kind[0])
        yield x_BLW
        for block in self.blocks:
            x_BLW = block(x_BLW, mask_BL)
            yield x_BLW
