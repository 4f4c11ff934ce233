"""Which words of a report a step is shown: one sentence, some, or all of them.

One random sentence a step is what ConVIRT, GLoRIA and MedCLIP train on. Sentences are those of the findings, the
impression and addenda, as `callosum.data.report` finds them: what the requester asked is never among them, nor is a
sentence of which de-identification left less than half.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Int64, UInt64

from callosum.core.errors import UsageError
from callosum.data.report import parse_report
from callosum.train.chance import keys, permutation, uniforms

EDA_SHARE = 0.1
"""Share of the words that easy data augmentation touches."""


class Take(StrEnum):
    """How much of a text is drawn."""

    ONE = "one"
    """One sentence, all equally likely."""
    SOME = "some"
    """`num_sentences` of them, or all when there are no more, in the order written."""
    WHOLE = "whole"
    """All of them."""


class Rewording(StrEnum):
    """What becomes of the words that are drawn; validation and search see them as written."""

    NONE = "none"
    EDA = "eda"
    """Of half of the texts, as of the second sentence of MedCLIP's two, a tenth of the words is swapped or left out
    (Wei and Zou 2019, EMNLP). The third of its ways, synonyms from WordNet, is not done. Mind that "no" may move."""


@dataclass(frozen=True, kw_only=True)
class SentenceConfig:
    """What is drawn from a text.

    Attributes:
        take: How much.
        num_sentences: How many, for `some`.
        min_words: Shorter sentences are not drawn one by one (MedCLIP leaves out those of fewer than three words),
            unless a text has no other; a whole text has them.
        inherits_labels: A sentence of a text whose labels are known only for all of it carries them too. That is
            wrong for most sentences of a report ("The heart is normal" of one with an effusion), so it must be asked
            for.
        rewording: What becomes of the words.
    """

    take: Take = Take.ONE
    num_sentences: int = 3
    min_words: int = 3
    inherits_labels: bool = False
    rewording: Rewording = Rewording.NONE

    def __post_init__(self) -> None:
        if self.num_sentences < 1 or self.min_words < 0:
            message = f"num_sentences is 1 or more, min_words 0 or more; found {self.num_sentences}, {self.min_words}."
            raise UsageError(message)


def report_sentences(text: str, *, is_report: bool = True) -> tuple[str, ...]:
    """The sentences of a text that may be shown, in order; none when there are none.

    Args:
        text: A report or a caption.
        is_report: False takes the text as one sentence, as it is: a caption, or a sentence that was cut out before.
    """
    if not is_report:
        plain = " ".join(text.split())
        return (plain,) if plain else ()
    report = parse_report(text)
    found = (report.sentence_text(s) for s in report.findings_sentences() if not s.is_redacted)
    return tuple(sentence for sentence in found if any(letter.isalnum() for letter in sentence))


def draw_sentences(
    sentences: tuple[str, ...], config: SentenceConfig, key_1: UInt64[np.ndarray, " 1"]
) -> Int64[np.ndarray, " T"]:
    """The numbers of the sentences that are shown, in the order written."""
    if config.take is Take.WHOLE or len(sentences) == 1:
        return np.arange(len(sentences))
    long_enough = [n for n, sentence in enumerate(sentences) if len(sentence.split()) >= config.min_words]
    may = np.array(long_enough or range(len(sentences)))
    wanted = 1 if config.take is Take.ONE else config.num_sentences
    return np.sort(may[permutation(key_1, len(may))[:wanted]])


def reworded(text: str, rewording: Rewording, key_1: UInt64[np.ndarray, " 1"]) -> str:
    """The text as it is shown; what is changed is a function of the key alone."""
    words = text.split()
    if rewording is Rewording.NONE or len(words) < 2:
        return text
    key_1 = keys(key_1, 1)
    is_changed, is_swapped = uniforms(key_1, 2)[0] < 0.5
    if not is_changed:
        return text
    chance_N = uniforms(keys(key_1, 1), len(words))[0]
    if not is_swapped:
        kept = [word for word, chance in zip(words, chance_N, strict=True) if chance >= EDA_SHARE]
        return " ".join(kept or [words[int(chance_N.argmax())]])
    for n in range(max(1, int(EDA_SHARE * len(words)))):
        first, second = permutation(keys(key_1, 2, n), len(words))[:2]
        words[first], words[second] = words[second], words[first]
    return " ".join(words)


def text_key(text: str) -> str:
    """What texts share that are equal but for case and spaces."""
    return " ".join(text.casefold().split())
