"""The tokenizer of a checkpoint: one `tokenizer.json`, read by the `tokenizers` library."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64
from tokenizers import Encoding, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from callosum.core.errors import InputError, NotFound, UsageError

PAD, UNKNOWN, MASK = "[PAD]", "[UNK]", "[MASK]"
CONTINUES = "##"
"""How a word piece begins that continues the word before it."""
ESCAPED, UNESCAPED = "&amp;", "&"


class SubwordTokenizer:
    """Texts to padded token ids: word pieces (BERT) or byte pairs (CLIP), whichever `tokenizer.json` describes.

    A tokenizer whose normaliser turns `&amp;` into `&` was trained on texts without HTML entities, as `open_clip`
    cleans them: here they are all resolved, twice, before the text is split.

    Args:
        tokenizer: The library's tokenizer; ids are padded with its padding id, else with that of `[PAD]`, else with 0.
        context_length: Longest text in pieces, those that begin and end a text included; the rest is cut.
        pad_length: Length of every padded row, where the pooling counts the padding; else the longest text decides.

    Raises:
        UsageError: no piece fits between those that begin and end a text, or a text does not fit into `pad_length`.
    """

    def __init__(self, tokenizer: Tokenizer, *, context_length: int, pad_length: int | None = None) -> None:
        num_special = tokenizer.num_special_tokens_to_add(is_pair=False)
        if context_length <= num_special:
            message = f"context_length must be more than {num_special}; found {context_length}."
            raise UsageError(message)
        if pad_length is not None and pad_length < context_length:
            message = f"pad_length must be at least context_length ({context_length}); found {pad_length}."
            raise UsageError(message)
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.pad_length = pad_length
        self._padding = tokenizer.padding
        self.pad_id = int(self._padding["pad_id"] if self._padding else tokenizer.token_to_id(PAD) or 0)
        normalizer = tokenizer.normalizer
        self._unescapes = normalizer is not None and normalizer.normalize_str(ESCAPED) == UNESCAPED
        self.tokenizer.enable_truncation(context_length)
        self.tokenizer.no_padding()

    @classmethod
    def from_file(cls, path: Path, *, context_length: int, pad_length: int | None = None) -> SubwordTokenizer:
        """Read `tokenizer.json`.

        Raises:
            NotFound: there is no file.
            InputError: the file does not describe a tokenizer.
        """
        return cls(read_tokenizer(path), context_length=context_length, pad_length=pad_length)

    @property
    def vocab_size(self) -> int:
        """Number of pieces."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def mask_id(self) -> int:
        """Id of `[MASK]`, used by the masked-word start of the text tower."""
        return self._special(MASK)

    @property
    def joins_V(self) -> Bool[np.ndarray, " V"]:
        """For each id whether its piece continues the word before it; `joins_V[ids]` finds the words of a text."""
        vocab = self.tokenizer.get_vocab()
        joins_V = np.zeros(1 + max(vocab.values()), bool)
        joins_V[[number for piece, number in vocab.items() if piece.startswith(CONTINUES)]] = True
        return joins_V

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text; one that would have none (no known character, no piece that ends it) becomes `[UNK]`."""
        return [e.ids or [self._special(UNKNOWN)] for e in self._encodings(texts)]

    def truncated(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text is longer than `context_length`, so that its end is not looked at."""
        return [bool(e.overflowing) for e in self._encodings(texts)]

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, without the truncation, which belongs to the checkpoint's sizes."""
        self.tokenizer.no_truncation()
        if self._padding:
            self.tokenizer.enable_padding(pad_id=self.pad_id, pad_token=self._padding["pad_token"])
        self.tokenizer.save(str(path), pretty=False)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.context_length)

    def padded(self, ids: Sequence[Sequence[int]]) -> tuple[Int64[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Pad what `ids` returned as this tokenizer pads; also the mask of the positions that count."""
        return pad(ids, pad_id=self.pad_id, length=self.pad_length)

    def _encodings(self, texts: Sequence[str]) -> list[Encoding]:
        if self._unescapes:
            texts = [html.unescape(html.unescape(text)) for text in texts]
        return self.tokenizer.encode_batch(list(texts))

    def _special(self, token: str) -> int:
        number = self.tokenizer.token_to_id(token)
        if number is None:
            message = f"The vocabulary of a checkpoint holds {token}; this one does not."
            raise InputError(message)
        return int(number)

    def __call__(self, texts: Sequence[str]) -> tuple[Int64[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Padded ids and the mask of the positions that count."""
        return self.padded(self.ids(texts))


WordPiece = SubwordTokenizer
"""The name for a tokenizer that `train_wordpiece` made."""


def read_tokenizer(path: Path) -> Tokenizer:
    """Read `tokenizer.json`.

    Raises:
        NotFound: there is no file.
        InputError: the file does not describe a tokenizer.
    """
    if not path.is_file():
        message = "A tokenizer is read from tokenizer.json; there is none."
        raise NotFound(message)
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises nothing more specific
        message = "tokenizer.json is not the JSON form of a tokenizer, which the tokenizers library would read."
        raise InputError(message, hint="Fetch the file again, or give vocab.txt instead.") from error


def pad(
    ids: Sequence[Sequence[int]], *, pad_id: int = 0, length: int | None = None
) -> tuple[Int64[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
    """Pad to `length`, else to the longest, and return the mask of the positions that count."""
    length_B = np.array([len(row) for row in ids])
    ids_BL = np.full((len(ids), max(length or 1, int(length_B.max(initial=1)))), pad_id, np.int64)
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
