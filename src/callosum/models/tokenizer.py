"""The WordPiece tokenizer of a checkpoint: one `tokenizer.json`, read by the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from callosum.core.errors import InputError

PAD, UNKNOWN, MASK = "[PAD]", "[UNK]", "[MASK]"


class WordPiece:
    """Texts to padded token ids.

    Args:
        tokenizer: The library's tokenizer, with `[PAD]` as id 0.
        context_length: Longest text in word pieces; the rest is cut.
    """

    def __init__(self, tokenizer: Tokenizer, *, context_length: int) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.tokenizer.enable_truncation(context_length)
        self.tokenizer.no_padding()

    @classmethod
    def from_file(cls, path: Path, *, context_length: int) -> WordPiece:
        """Read `tokenizer.json`."""
        return cls(Tokenizer.from_file(str(path)), context_length=context_length)

    @property
    def vocab_size(self) -> int:
        """Number of word pieces."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def mask_id(self) -> int:
        """Id of `[MASK]`, used by the masked-word start of the text tower."""
        return self._special(MASK)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Word-piece ids of each text; a text without a known character becomes one `[UNK]`."""
        unknown = self._special(UNKNOWN)
        return [e.ids or [unknown] for e in self.tokenizer.encode_batch(list(texts))]

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, without the truncation, which belongs to the checkpoint's sizes."""
        self.tokenizer.no_truncation()
        self.tokenizer.save(str(path), pretty=False)
        self.tokenizer.enable_truncation(self.context_length)

    def _special(self, token: str) -> int:
        number = self.tokenizer.token_to_id(token)
        if number is None:
            message = f"The vocabulary of a checkpoint holds {token}; this one does not."
            raise InputError(message)
        return int(number)

    def __call__(self, texts: Sequence[str]) -> tuple[Int64[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Padded ids and the mask of the positions that count."""
        return pad(self.ids(texts))


def pad(ids: Sequence[Sequence[int]]) -> tuple[Int64[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
    """Pad with zeros to the longest and return the mask of the positions that count."""
    length_B = np.array([len(row) for row in ids])
    ids_BL = np.zeros((len(ids), int(length_B.max(initial=1))), np.int64)
    for n, row in enumerate(ids):
        ids_BL[n, : len(row)] = row
    return ids_BL, np.arange(ids_BL.shape[1])[None, :] < length_B[:, None]


def train_wordpiece(texts: Iterable[str], *, vocab_size: int, min_frequency: int = 2) -> Tokenizer:
    """Learn a lower-case WordPiece vocabulary (Wu et al. 2016) from `texts`: equal texts, equal vocabulary.

    The library numbers the letters that continue a word in the order of a hash table, and breaks ties between equally
    frequent pairs by that number. Naming them beforehand, in order, makes the vocabulary reproducible.
    """
    tokenizer = _wordpiece(models.WordPiece(unk_token=UNKNOWN))
    texts = list(texts)
    normalizer, splitter = tokenizer.normalizer, tokenizer.pre_tokenizer
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    continued = sorted({f"##{letter}" for word in words for letter in word[1:]})
    special = [PAD, UNKNOWN, MASK]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[*special, *continued],
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learnt = _wordpiece(models.WordPiece(tokenizer.get_vocab(), unk_token=UNKNOWN, max_input_chars_per_word=60))
    learnt.add_special_tokens(special)
    return learnt


def _wordpiece(model: models.WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer
