"""Learned words: prompt tuning that a checkpoint can hold (Zhou et al. 2022, CoOp).

The words `[V1]`, `[V2]`, ... are added to the vocabulary, and only their vectors are trained. Afterwards they are words
like any other: `callosum classify --template "[V1] [V2] [V3] [V4] {}"` uses them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from callosum.core.errors import UsageError
from callosum.models.dual import DualEncoder
from callosum.models.tokenizer import SubwordTokenizer


class SoftWords(nn.Module):
    """A table of word vectors whose last rows are trained and the others not."""

    def __init__(self, table: nn.Embedding, num_words: int) -> None:
        super().__init__()
        self.table = table
        mean_W = table.weight.detach().mean(dim=0)
        noise_NW = torch.randn(num_words, table.embedding_dim) * table.weight.detach().std()
        self.words = nn.Parameter(mean_W + noise_NW)

    @property
    def weight(self) -> Float[Tensor, "V W"]:
        """All rows."""
        return torch.cat([self.table.weight, self.words])

    def forward(self, ids_BL: Int[Tensor, "B L"]) -> Float[Tensor, "B L W"]:
        """Rows of `weight`."""
        V = self.table.num_embeddings
        is_old_BL1 = (ids_BL < V)[..., None]
        old_BLW, new_BLW = self.table(ids_BL.clamp_max(V - 1)), self.words[(ids_BL - V).clamp_min(0)]
        return torch.where(is_old_BL1, old_BLW, new_BLW.to(old_BLW.dtype))


def words(num_words: int) -> list[str]:
    """Their spelling."""
    return [f"[V{n}]" for n in range(1, num_words + 1)]


def add_soft_words(network: DualEncoder, tokenizer: SubwordTokenizer, *, num_words: int) -> None:
    """Add words to the vocabulary and trained rows to the text tower, in place.

    Raises:
        UsageError: no word is asked for, they are there already, or the vocabulary and the table differ in size.
    """
    names = words(num_words)
    if num_words < 1 or any(tokenizer.tokenizer.token_to_id(name) is not None for name in names):
        message = f"At least one word that the vocabulary does not have is learned; {num_words} were asked for."
        raise UsageError(message, hint="A model that was tuned so before cannot be again.")
    rows = network.config.text.vocab_size
    highest = max(tokenizer.tokenizer.get_vocab(with_added_tokens=True).values())
    if highest + 1 != rows:
        message = f"The vocabulary ends at id {highest}; the table of word vectors has {rows} rows."
        raise UsageError(message, hint="Words can be learned where the two agree.")
    tokenizer.tokenizer.add_special_tokens(names)
    network.text.token = SoftWords(network.text.token, num_words)
    _resize(network, rows + num_words)


def merge_soft_words(network: DualEncoder) -> None:
    """Make one plain table of both, in place."""
    if isinstance(network.text.token, SoftWords):
        weight_VW = network.text.token.weight.detach().clone()
        network.text.token = nn.Embedding.from_pretrained(weight_VW)


def _resize(network: DualEncoder, num_rows: int) -> None:
    sizes = replace(network.config.text, vocab_size=num_rows)
    network.text.config = sizes
    network.config = replace(network.config, text=sizes)
