"""The vocabulary of a run: word pieces of the open captions and of the templates."""

from __future__ import annotations

import random
from collections.abc import Sequence

from callosum.models.tokenizer import WordPiece, train_wordpiece
from callosum.train.captions import Captioner
from callosum.train.examination import EXAMINED
from callosum.train.packs import Row

NUM_TEMPLATES = 6000


def build_wordpiece(
    rows: Sequence[Row], extra_texts: Sequence[str], *, vocab_size: int, context_length: int, seed: int
) -> WordPiece:
    """Learn word pieces from the texts of `rows`, captions without pictures, and template captions."""
    rng = random.Random(seed)
    captioner = Captioner(rng, free_text=0.0, avoid=EXAMINED)
    labelled = [row for row in rows if not row.texts]
    written = [captioner.for_row(rng.choice(labelled)).text for _ in range(NUM_TEMPLATES if labelled else 0)]
    texts = [*(text for row in rows for text in row.texts), *extra_texts, *written]
    return WordPiece(train_wordpiece(texts, vocab_size=vocab_size), context_length=context_length)
