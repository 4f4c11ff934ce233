"""Tokenizers of published models, from the files that come with their weights.

A folder is read as `tokenizer.json`, else as `vocab.txt` (word pieces of BERT, Devlin et al. 2019), else as the byte
pairs of CLIP (Radford et al. 2021). `SubwordTokenizer.save` turns any of them into one `tokenizer.json` of equal ids.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from callosum.core.errors import InputError, NotFound
from callosum.models.tokenizer import ESCAPED, MASK, PAD, UNESCAPED, UNKNOWN, SubwordTokenizer, read_tokenizer

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
VOCAB_TXT, VOCAB_JSON, MERGES, CLIP_MERGES = "vocab.txt", "vocab.json", "merges.txt", "bpe_simple_vocab_16e6.txt.gz"
BERT_NAMES = {
    "pad_token": PAD,
    "unk_token": UNKNOWN,
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": MASK,
}
"""Special pieces by the keys of `tokenizer_config.json`; all but the mask are needed."""
CLIP_NAMES = {"cls_token": "<|startoftext|>", "sep_token": "<|endoftext|>"}
CLIP_VOCAB_SIZE = 49408
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
MAX_MERGES_BYTES = 1 << 26


def tokenizer_from_folder(
    folder: Path, *, context_length: int, pad_length: int | None = None, unescapes_html: bool | None = None
) -> SubwordTokenizer:
    """Read the tokenizer of a published model.

    Args:
        folder: Holds `tokenizer.json`; or `vocab.txt`, with `tokenizer_config.json` where a setting is not BERT's
            default (lower case, accents stripped); or `bpe_simple_vocab_16e6.txt.gz`; or `vocab.json` and `merges.txt`.
        context_length: Longest text in pieces; the rest is cut, the piece that ends a text is kept.
        pad_length: Length of every padded row, where the pooling counts the padding.
        unescapes_html: Whether `&lt;` and the like are resolved, as `open_clip` does for every model that it trained
            (BiomedCLIP too). By default only for byte pairs. Nothing else of its `ftfy` is done: texts with broken
            encodings or curly quotes may get other ids there.

    Raises:
        NotFound: none of these files is there.
        InputError: a file is not what its name says, or the vocabulary has no special pieces; the message names them.
    """
    if (folder / TOKENIZER).is_file():
        tokenizer = read_tokenizer(folder / TOKENIZER)
    elif (folder / VOCAB_TXT).is_file():
        tokenizer = _bert(folder)
    elif (folder / CLIP_MERGES).is_file():
        tokenizer = _clip(*_clip_merges(folder / CLIP_MERGES))
    elif (folder / VOCAB_JSON).is_file() and (folder / MERGES).is_file():
        tokenizer = _clip(*_vocab_and_merges(folder))
    else:
        message = f"A tokenizer is read from {TOKENIZER}, {VOCAB_TXT}, {CLIP_MERGES}, or {VOCAB_JSON} and {MERGES}."
        raise NotFound(message, hint="None of them is in the folder; put them beside the weights.")
    is_clip = isinstance(tokenizer.model, models.BPE)
    _frame(tokenizer, CLIP_NAMES if is_clip else _bert_names(_settings(folder)))
    if is_clip if unescapes_html is None else unescapes_html:
        _unescape(tokenizer)
    return SubwordTokenizer(tokenizer, context_length=context_length, pad_length=pad_length)


def _bert(folder: Path) -> Tokenizer:
    """Word pieces of `vocab.txt`, one per line; where a piece is there twice the later line counts."""
    settings = _settings(folder)
    lines = _text(folder / VOCAB_TXT).removesuffix("\n").split("\n")
    vocab = {line.rstrip("\r"): number for number, line in enumerate(lines)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=_bert_names(settings)["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=bool(settings.get("do_lower_case", True)),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _bert_names(settings: Mapping[str, Any]) -> dict[str, str]:
    """Special pieces, as the settings name them."""
    found = {key: settings.get(key) or name for key, name in BERT_NAMES.items()}
    return {key: str(value["content"] if isinstance(value, dict) else value) for key, value in found.items()}


def _clip(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """Lower-case byte pairs: words, single digits and runs of signs, each closed by `</w>`."""
    try:
        model = models.BPE(vocab, merges, unk_token=CLIP_NAMES["sep_token"], end_of_word_suffix="</w>")
    except Exception as error:  # the library raises nothing more specific
        message = f"{MERGES} does not fit {VOCAB_JSON}: a merge needs a piece that has no whole number there."
        raise InputError(message, hint="Check that the files belong together.") from error
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _clip_merges(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The file of OpenAI's CLIP: after a heading the merges in order of rank, of which the first 48,894 are used."""
    try:
        with gzip.open(path) as stream:
            lines = stream.read(MAX_MERGES_BYTES).decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        message = f"{CLIP_MERGES} is not a whole gzip file of text."
        raise InputError(message) from error
    letters = _byte_letters()
    num_merges = CLIP_VOCAB_SIZE - 2 * len(letters) - len(CLIP_NAMES)
    merges = _pairs(lines[1 : 1 + num_merges], CLIP_MERGES)
    if len(merges) < num_merges:
        message = f"{CLIP_MERGES} holds at least {num_merges} merges; found {len(merges)}."
        raise InputError(message)
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    return {piece: number for number, piece in enumerate([*pieces, *CLIP_NAMES.values()])}, merges


def _vocab_and_merges(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The same in two files: ids by piece, and the merges after a heading."""
    vocab = _json_object(folder / VOCAB_JSON)
    lines = _text(folder / MERGES).split("\n")
    return vocab, _pairs([line for line in lines if line and not line.startswith("#version")], MERGES)


def _pairs(lines: Sequence[str], name: str) -> list[tuple[str, str]]:
    pairs = []
    for line in lines:
        parts = line.split()
        if len(parts) != 2:
            message = f"A line of {name} holds two pieces; found {len(parts)}."
            raise InputError(message)
        pairs.append((parts[0], parts[1]))
    return pairs


def _byte_letters() -> list[str]:
    """One printable letter per byte, in the order of CLIP's ids: the printable bytes, then the others."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(byte) for byte in printable] + [chr(0x100 + n) for n in range(0x100 - len(printable))]


def _frame(tokenizer: Tokenizer, names: Mapping[str, str]) -> None:
    """Make the special pieces known, wherever the vocabulary has them, and put a text between two of them."""
    needed = [name for key, name in names.items() if key != "mask_token"]
    if missing := [name for name in needed if tokenizer.token_to_id(name) is None]:
        message = f"A vocabulary of this kind holds {', '.join(needed)}; this one has no {', '.join(missing)}."
        raise InputError(message, hint="Check that the files belong together.")
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer.add_special_tokens(
        [name for name in names.values() if name not in known and tokenizer.token_to_id(name) is not None]
    )
    if tokenizer.num_special_tokens_to_add(is_pair=False) == 0:
        begin, end = names["cls_token"], names["sep_token"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A {end}",
            special_tokens=[(name, tokenizer.token_to_id(name)) for name in (begin, end)],
        )
    if "pad_token" in names:
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id(names["pad_token"]), pad_token=names["pad_token"])


def _unescape(tokenizer: Tokenizer) -> None:
    """Write into the tokenizer that HTML entities are resolved; `SubwordTokenizer` reads it and does so."""
    first = normalizers.Replace(ESCAPED, UNESCAPED)
    then = tokenizer.normalizer
    if then is None or then.normalize_str(ESCAPED) != UNESCAPED:
        tokenizer.normalizer = first if then is None else normalizers.Sequence([first, then])


def _settings(folder: Path) -> dict[str, Any]:
    return _json_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_text(path))
    except ValueError as error:
        message = f"{path.name} is not JSON."
        raise InputError(message) from error
    if not isinstance(value, dict):
        message = f"{path.name} must hold one JSON object."
        raise InputError(message)
    return value


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"{path.name} is not UTF-8 text."
        raise InputError(message) from error
