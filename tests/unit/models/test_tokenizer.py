import subprocess
import sys

import numpy as np

from callosum.models.tokenizer import WordPiece, pad, train_wordpiece

TEXTS = ["a chest x-ray with pneumonia", "a chest x-ray without pneumonia", "pneumothorax on a chest film"] * 3


def test_a_learnt_vocabulary_splits_unknown_words_and_ignores_case() -> None:
    wordpiece = WordPiece(train_wordpiece(TEXTS, vocab_size=200), context_length=8)
    ids = wordpiece.ids(["Chest X-ray", "chest x-ray", "\u4e00", ""])
    assert ids[0] == ids[1]
    assert ids[2] == ids[3] == [1]
    assert wordpiece.mask_id == 2
    assert len(wordpiece.ids(["chest " * 50])[0]) == 8


def test_padding() -> None:
    ids, mask = pad([[5, 6], [7]])
    assert ids.tolist() == [[5, 6], [7, 0]]
    assert mask.tolist() == [[True, True], [True, False]]
    assert ids.dtype == np.int64


def test_equal_texts_give_equal_vocabularies_in_every_process() -> None:
    code = (
        "from callosum.models.tokenizer import train_wordpiece\n"
        "texts = [f'{a}{b}{c} {c}{a}' for a in 'abcdefg' for b in 'hijklm' for c in 'nopqrs']\n"
        "print(train_wordpiece(texts, vocab_size=120).to_str())"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert len({run.stdout for run in runs}) == 1
    assert '"##n"' in runs[0].stdout
