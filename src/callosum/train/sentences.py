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
from callosum.train.chance import permutation


class Take(StrEnum):
    """How much of a text is drawn."""

    ONE = "one"
    """One sentence, all equally likely."""
    SOME = "some"
    """`num_sentences` of them, or all when there are no more, in the order written."""
    WHOLE = "whole"
    """All of them."""


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
    """

    take: Take = Take.ONE
    num_sentences: int = 3
    min_words: int = 3
    inherits_labels: bool = False

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


def text_key(text: str) -> str:
    """What texts share that are equal but for case and spaces."""
    return " ".join(text.casefold().split())
