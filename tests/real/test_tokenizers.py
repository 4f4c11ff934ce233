"""Published vocabularies give the ids that their own tokenizers gave, and keep them in one `tokenizer.json`."""

import csv
import json
from pathlib import Path

import pytest

from callosum.models.tokenizer import SubwordTokenizer
from callosum.models.tokenizer_files import tokenizer_from_folder

NAMES = ["bert_base_uncased", "scibert_scivocab_uncased", "pubmed_cord19_wordpiece50k", "clip_bpe"]
UNICORN = "The unicorn heart was examined using cardiac MRI scans"
UNICORN_IDS = [2, 1680, 20803, 4610, 3196, 1734, 2904, 2019, 3443, 4668, 8115, 3]


@pytest.fixture(scope="session")
def vocabularies(data_root: Path) -> Path:
    if not (data_root / "tokenizers").is_dir():
        pytest.skip("the data packs hold no tokenizers")
    return data_root / "tokenizers"


@pytest.fixture(scope="session")
def gold(vocabularies: Path) -> list[dict[str, str]]:
    with (vocabularies / "gold_encodings.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", NAMES)
def test_every_gold_row(name: str, vocabularies: Path, gold: list[dict[str, str]], tmp_path: Path) -> None:
    rows = [row for row in gold if row["tokenizer"] == name]
    assert len(rows) >= 81
    texts = [row["text"] for row in rows]
    expected = [json.loads(row["ids"]) for row in rows]
    tokenizer = tokenizer_from_folder(vocabularies / name, context_length=512)
    found = tokenizer.ids(texts)
    assert [row["id"] for row, ids, gold_ids in zip(rows, found, expected, strict=True) if ids != gold_ids] == []
    assert [[tokenizer.tokenizer.id_to_token(n) for n in ids] for ids in found] == [
        json.loads(row["tokens"]) for row in rows
    ]
    assert not any(tokenizer.truncated(texts))
    tokenizer.save(tmp_path / "tokenizer.json")
    assert SubwordTokenizer.from_file(tmp_path / "tokenizer.json", context_length=512).ids(texts) == expected
    assert tokenizer_from_folder(tmp_path, context_length=512).ids(texts) == expected
    long = [n for n, ids in enumerate(expected) if len(ids) > 12]
    cut = tokenizer_from_folder(vocabularies / name, context_length=12)
    assert cut.ids([texts[n] for n in long]) == [expected[n][:11] + expected[n][-1:] for n in long]
    assert all(cut.truncated([texts[n] for n in long]))


def test_pieces_of_pubmedbert_that_are_known(vocabularies: Path, tmp_path: Path) -> None:
    known = json.loads((vocabularies / "pubmedbert_known_ids.json").read_text())
    pieces = [f"[unused{n}]" for n in range(30522)]
    pieces[:5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for piece, number in {**known["special"], **known["ids"]}.items():
        pieces[number] = piece
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    tokenizer = tokenizer_from_folder(tmp_path, context_length=256)
    assert tokenizer.vocab_size == 30522
    example = known["encoding_example"]
    assert tokenizer.ids([example["text"]]) == [example["ids"]]
    assert tokenizer.ids(["Patient shows abnormalities on echocardiogram"]) == [[2, 2348, 4549, 5094, 1755, 25546, 3]]
    assert tokenizer.ids([UNICORN, "", "gastric"]) == [UNICORN_IDS, [2, 3], [2, 1, 3]]


def test_the_vocabulary_of_pubmedbert(vocabularies: Path) -> None:
    folder = vocabularies / "pubmedbert"
    if not (folder / "vocab.txt").is_file():
        pytest.skip("the vocabulary of PubMedBERT is not here: put its vocab.txt into tokenizers/pubmedbert")
    tokenizer = tokenizer_from_folder(folder, context_length=256)
    assert tokenizer.vocab_size == 30522
    assert tokenizer.ids([UNICORN]) == [UNICORN_IDS]
