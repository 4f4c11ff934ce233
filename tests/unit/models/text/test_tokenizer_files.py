import gzip
import json
import re
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callosum.core.errors import InputError, NotFound, UsageError
from callosum.models.tokenizer import SubwordTokenizer, WordPiece, pad, train_wordpiece
from callosum.models.tokenizer_files import tokenizer_from_folder

SPECIAL = ["[UNK]", "[PAD]", "[MASK]", "[SEP]", "[CLS]"]
PIECES = ["no", "heart", "##s", "pneum", "##othorax", "cafe", "Heart", "caf\u00e9", "<", "&", ";", "lt", ".", "\u80ba"]
START, END = "<|startoftext|>", "<|endoftext|>"


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(SPECIAL + PIECES) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of CLIP's merges with other merges: pairs of letters and of signs, then words of the first pairs."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [*map(chr, range(0x21, 0x7F)), *map(chr, range(0xA1, 0xAD)), *map(chr, range(0xAE, 0x100))]
    closed = [f"{letter}</w>" for letter in letters]
    merges = [f"{a} {b}" for a, b in product("thecar", [*"thecar", "t</w>", "e</w>", "r</w>"])]
    merges += ["th e</w>", "he ar", "hear t</w>", "at e</w>", "ca re</w>"]
    merges += [f"{a} {b}" for a, b in product(letters, [*letters, *closed]) if f"{a} {b}" not in merges]
    with gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz", "wb") as stream:
        stream.write("\n".join(["heading", *merges]).encode())
    return folder


def pieces(tokenizer: SubwordTokenizer, text: str) -> list[str]:
    return [tokenizer.tokenizer.id_to_token(number) for number in tokenizer.ids([text])[0]]


def test_word_pieces_between_special_pieces_wherever_they_stand(bert: Path) -> None:
    tokenizer = tokenizer_from_folder(bert, context_length=9)
    assert pieces(tokenizer, "No  HEARTS.") == ["[CLS]", "no", "heart", "##s", ".", "[SEP]"]
    assert pieces(tokenizer, "caf\u00e9\u80ba xyz") == ["[CLS]", "cafe", "\u80ba", "[UNK]", "[SEP]"]
    assert pieces(tokenizer, "[MASK] heart") == ["[CLS]", "[MASK]", "heart", "[SEP]"]
    assert tokenizer.ids(["", "  "]) == [[4, 3], [4, 3]]
    ids, mask = tokenizer(["heart", ""])
    assert ids.tolist() == [[4, 6, 3], [4, 3, 1]]
    assert mask.tolist() == [[True, True, True], [True, True, False]]
    assert tokenizer.joins_V.nonzero()[0].tolist() == [7, 9]


def test_settings_beside_the_vocabulary(bert: Path) -> None:
    values = {"do_lower_case": False, "strip_accents": False, "sep_token": {"content": "."}, "unk_token": "&"}
    (bert / "tokenizer_config.json").write_text(json.dumps(values))
    tokenizer = tokenizer_from_folder(bert, context_length=9)
    assert pieces(tokenizer, "Heart caf\u00e9 Caf\u00e9") == ["[CLS]", "Heart", "caf\u00e9", "&", "."]


def test_a_long_text_is_cut_before_the_piece_that_ends_it(bert: Path) -> None:
    tokenizer = tokenizer_from_folder(bert, context_length=6)
    texts = ["heart " * 10_000, "no heart . no", "no heart . no .", ""]
    assert [len(row) for row in tokenizer.ids(texts)] == [6, 6, 6, 2]
    assert [row[-1] for row in tokenizer.ids(texts)] == [3] * 4
    assert tokenizer.truncated(texts) == [True, False, True, False]


def test_a_fixed_length_of_padding(bert: Path) -> None:
    tokenizer = tokenizer_from_folder(bert, context_length=5, pad_length=7)
    ids, mask = tokenizer(["heart", "no " * 9])
    assert ids.tolist() == [[4, 6, 3, 1, 1, 1, 1], [4, 5, 5, 5, 3, 1, 1]]
    assert mask.sum(axis=1).tolist() == [3, 5]
    assert pad([], pad_id=4, length=3)[0].shape == (0, 3)
    with pytest.raises(UsageError, match="at least context_length \\(5\\); found 4"):
        tokenizer_from_folder(bert, context_length=5, pad_length=4)
    with pytest.raises(UsageError, match="more than 2; found 2"):
        tokenizer_from_folder(bert, context_length=2)


def test_html_is_resolved_twice_where_it_is_asked_for(bert: Path, tmp_path: Path) -> None:
    text = "heart &amp;lt; no"
    plain = tokenizer_from_folder(bert, context_length=20)
    assert pieces(plain, text)[2:-2] == ["&", "[UNK]", ";", "lt", ";"]
    asked = tokenizer_from_folder(bert, context_length=20, unescapes_html=True)
    assert pieces(asked, text) == ["[CLS]", "heart", "<", "no", "[SEP]"]
    asked.save(tmp_path / "tokenizer.json")
    assert SubwordTokenizer.from_file(tmp_path / "tokenizer.json", context_length=20).ids([text]) == asked.ids([text])
    again = tokenizer_from_folder(tmp_path, context_length=20, unescapes_html=True)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


TEXTS = st.lists(st.text(st.sampled_from("thecar HEART'st19.-&;\u00e9\u80ba\n"), max_size=30), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS)
def test_one_file_keeps_word_pieces(bert: Path, texts: list[str]) -> None:
    tokenizer = tokenizer_from_folder(bert, context_length=8)
    tokenizer.save(bert / "kept.json")
    again = SubwordTokenizer.from_file(bert / "kept.json", context_length=8)
    for one, other in zip(again(texts), tokenizer(texts), strict=True):
        assert np.array_equal(one, other)
    assert again.truncated(texts) == tokenizer.truncated(texts)
    assert again.pad_id == 1


def test_saving_changes_nothing(bert: Path, clip: Path, tmp_path: Path) -> None:
    for number, folder in enumerate((bert, clip)):
        tokenizer = tokenizer_from_folder(folder, context_length=5)
        texts = ["heart heart heart heart the rate", "no"]
        before = tokenizer(texts)
        tokenizer.save(tmp_path / f"{number}.json")
        assert np.array_equal(before[0], tokenizer(texts)[0])
        SubwordTokenizer.from_file(tmp_path / f"{number}.json", context_length=5).save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == (tmp_path / f"{number}.json").read_bytes()


def reference_bpe(text: str, ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte pairs of Sennrich et al. 2016, the lowest rank first, on the words of CLIP; ASCII only."""
    found = []
    for word in re.findall(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+", text.lower()):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: ranks.get(pair, 1 << 30))
            if best not in ranks:
                break
            joined: list[str] = []
            while parts:
                if tuple(parts[:2]) == best:
                    joined.append(parts.pop(0) + parts.pop(0))
                else:
                    joined.append(parts.pop(0))
            parts = joined
        found += parts
    return found


@pytest.fixture(scope="module")
def clip_tokenizer(clip: Path) -> SubwordTokenizer:
    return tokenizer_from_folder(clip, context_length=77)


@pytest.fixture(scope="module")
def clip_ranks(clip: Path) -> dict[tuple[str, str], int]:
    lines = gzip.open(clip / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")[1:48895]
    return {(a, b): rank for rank, (a, b) in enumerate(line.split() for line in lines)}


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("thecar HEART'st19.-\n"), max_size=30))
def test_byte_pairs_equal_the_definition(
    text: str, clip_tokenizer: SubwordTokenizer, clip_ranks: dict[tuple[str, str], int]
) -> None:
    assert pieces(clip_tokenizer, text) == [START, *reference_bpe(text, clip_ranks), END]


def test_byte_pairs_of_clip(clip: Path, clip_tokenizer: SubwordTokenizer) -> None:
    assert clip_tokenizer.vocab_size == 49408
    assert pieces(clip_tokenizer, "Heart  RATE's") == [START, "heart</w>", "ra", "te</w>", "'s</w>", END]
    assert clip_tokenizer.ids(["", "!"]) == [[49406, 49407], [49406, 256, 49407]]
    assert clip_tokenizer.ids(["\u80ba", "e\u0301"]) == clip_tokenizer.ids(["&#x80BA;", "&amp;eacute;"])
    short = tokenizer_from_folder(clip, context_length=4)
    ids, mask = short(["heart heart heart", "heart"])
    assert ids[:, 0].tolist() == [49406] * 2
    assert (ids[0, 3], ids[1, 2], ids[1, 3]) == (49407, 49407, 0)
    assert mask.sum(axis=1).tolist() == [4, 3]
    assert short.truncated(["heart heart heart", "heart"]) == [True, False]


def test_byte_pairs_in_two_files(clip: Path, clip_tokenizer: SubwordTokenizer, tmp_path: Path) -> None:
    lines = gzip.open(clip / "bpe_simple_vocab_16e6.txt.gz").read().decode().split("\n")
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *lines[1:48895]]) + "\n", encoding="utf-8")
    (tmp_path / "vocab.json").write_text(json.dumps(clip_tokenizer.tokenizer.get_vocab()))
    texts = ["the heart rate's 1.9", "caf\u00e9 \u80ba &lt; [MASK]", "", "the " * 90]
    assert tokenizer_from_folder(tmp_path, context_length=77).ids(texts) == clip_tokenizer.ids(texts)
    (tmp_path / "vocab.json").write_text(json.dumps({START: 0, END: 1}))
    with pytest.raises(InputError, match=r"merges\.txt does not fit vocab\.json"):
        tokenizer_from_folder(tmp_path, context_length=77)
    (tmp_path / "merges.txt").write_text("a b\na b c\n")
    with pytest.raises(InputError, match="holds two pieces; found 3"):
        tokenizer_from_folder(tmp_path, context_length=77)


def test_tokenizer_json_comes_first_and_is_framed(bert: Path) -> None:
    learnt = train_wordpiece(["a heart without a pneumothorax"] * 3, vocab_size=90)
    WordPiece(learnt, context_length=8).save(bert / "tokenizer.json")
    with pytest.raises(InputError, match=r"this one has no \[CLS\], \[SEP\]\."):
        tokenizer_from_folder(bert, context_length=8)
    learnt.add_special_tokens(["[SEP]", "[CLS]"])
    WordPiece(learnt, context_length=8).save(bert / "tokenizer.json")
    framed = tokenizer_from_folder(bert, context_length=8)
    assert pieces(framed, "a heart") == ["[CLS]", "a", "heart", "[SEP]"]


@pytest.mark.parametrize("missing", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
def test_a_vocabulary_without_a_special_piece(missing: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(piece for piece in SPECIAL + PIECES if piece != missing))
    with pytest.raises(InputError, match=re.escape(f"this one has no {missing}.")):
        tokenizer_from_folder(tmp_path, context_length=8)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("tokenizer.json", b"not json", "not the JSON form"),
        ("tokenizer.json", b'{"version": "1.0"}', "not the JSON form"),
        ("tokenizer.json", b"\xff\xfe", "not the JSON form"),
        ("tokenizer_config.json", b"[]", "one JSON object"),
        ("tokenizer_config.json", b"{", "not JSON"),
        ("vocab.txt", b"\xff\xfe\n", "not UTF-8"),
    ],
)
def test_files_that_are_not_what_they_should_be(name: str, content: bytes, says: str, bert: Path) -> None:
    (bert / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        tokenizer_from_folder(bert, context_length=8)
    assert str(bert) not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"plain", "not a whole gzip"),
        (gzip.compress(b"heading\n" + b"a b\n" * 9000)[:-9], "not a whole gzip"),
        (gzip.compress(b"heading\na b\na c"), "at least 48894 merges; found 2"),
        (gzip.compress(b"heading\n\xff \xfe"), "not a whole gzip file of text"),
    ],
)
def test_merges_of_clip_that_are_not_whole(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "bpe_simple_vocab_16e6.txt.gz").write_bytes(content)
    with pytest.raises(InputError, match=says):
        tokenizer_from_folder(tmp_path, context_length=8)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"vocab\.txt"):
        tokenizer_from_folder(tmp_path, context_length=8)
    with pytest.raises(NotFound, match="there is none"):
        SubwordTokenizer.from_file(tmp_path / "tokenizer.json", context_length=8)


def test_both_files_of_a_published_model_agree(goldens: Path, tmp_path: Path) -> None:
    folder = goldens / "biomedclip_tiny"
    (tmp_path / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    texts = [*json.loads((folder / "texts.json").read_text()), "", "[MASK] na\u00efve \u80ba x" * 9]
    one, other = (tokenizer_from_folder(each, context_length=32) for each in (folder, tmp_path))
    assert one.ids(texts) == other.ids(texts)
