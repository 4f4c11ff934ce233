"""What an encoder may misread in a prompt: said before anybody wonders about its scores.

Nothing here changes a prompt. Each remark has a place, a sentence, and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from callosum.core.errors import UsageError
from callosum.core.finding import Temporality
from callosum.knowledge.abbreviations import expand
from callosum.knowledge.assertion import ReadSentence
from callosum.knowledge.matcher import Mention, PhraseMatcher, default_matcher
from callosum.knowledge.ontology import Kind
from callosum.knowledge.prompts import is_normal
from callosum.knowledge.query import parse_query

Pieces = Callable[[str], Sequence[str]]
"""A tokenizer as a function: a text to its pieces, without those that begin and end every text."""
MANY_WORDS = 50
"""Words that are more than 77 pieces in most vocabularies; used when no tokenizer is given."""
MANY_PIECES = 4
_UNKNOWN = frozenset({"[UNK]", "<unk>", "[unk]"})
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
_MEASURE = re.compile(
    r"(?<![\w-])\d+(?:[.,]\d+)*(?:\s?(?:x|×)\s?\d+(?:[.,]\d+)*)*\s?(?:mm|cm|ml|cc|hu|%|mg)?(?![\w-])", re.I
)
_SIDE = re.compile(r"\b(?:left|right)(?:-sided)?\b", re.IGNORECASE)
_QUESTION = re.compile(
    r"\?\s*$|\b(?:evaluate|assess|look|check|query|please|rule out|r/o|is there|are there|any)\b(?:\s+for)?",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"\b(?:image|photo|photograph|picture|x-?ray|radiograph|scan|slide|tile|figure)s?\s+(?:of|showing|with|demonstrating)\b",
    re.IGNORECASE,
)
_HOLE = re.compile(r"\{\w*\}|\bX{3,}\b|_{3,}|\[[A-Z]+\]|<[a-z_]+>")


class Severity(StrEnum):
    """How bad: nothing is read as meant (ERROR), it may be read otherwise (WARNING), or it says little (NOTE)."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Trouble(StrEnum):
    """What is wrong with a prompt."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    UNKNOWN_PIECE = "unknown_piece"
    HOLE = "hole"
    NEGATED = "negated"
    QUESTION = "question"
    ABBREVIATION = "abbreviation"
    AMBIGUOUS = "ambiguous"
    SHATTERED = "shattered"
    TEMPLATE_TWICE = "template_twice"
    SEVERAL_CLASSES = "several_classes"
    LATERALITY = "laterality"
    NUMBER = "number"
    CAPITALS = "capitals"


_SEVERITY = {
    **dict.fromkeys((Trouble.EMPTY, Trouble.TOO_LONG, Trouble.UNKNOWN_PIECE, Trouble.HOLE), Severity.ERROR),
    **dict.fromkeys(
        (Trouble.NEGATED, Trouble.QUESTION, Trouble.ABBREVIATION, Trouble.AMBIGUOUS, Trouble.SHATTERED),
        Severity.WARNING,
    ),
    Trouble.TEMPLATE_TWICE: Severity.WARNING,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """One thing that an encoder may misread.

    Attributes:
        trouble: What.
        span: `(start, end)` of the words in the prompt.
        message: Why, in a sentence.
        suggestion: What to write instead; empty when there is nothing to suggest.
    """

    trouble: Trouble
    span: tuple[int, int]
    message: str
    suggestion: str = ""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return _SEVERITY.get(self.trouble, Severity.NOTE)


def lint(
    prompt: str,
    *,
    tokenizer: Pieces | None = None,
    context_length: int | None = None,
    modality: str | None = None,
    matcher: PhraseMatcher | None = None,
) -> list[Remark]:
    """What an encoder may misread in a prompt, the worst first; empty when there is nothing to say.

    Args:
        prompt: One text for an encoder.
        tokenizer: The encoder's; without it nothing is said of pieces, and length is guessed from words.
        context_length: Most pieces that the encoder reads, those that begin and end a text not counted.
        modality: The kind of images it is for, which may tell what an abbreviation means.
        matcher: Names the concepts; the one of the ontology that comes with this package when None.

    Raises:
        UsageError: the context length is less than one, or the modality is not known.
    """
    if context_length is not None and context_length < 1:
        message = f"An encoder reads at least one piece; context_length is {context_length}."
        raise UsageError(message)
    if not prompt.strip():
        remark = Remark(
            trouble=Trouble.EMPTY,
            span=(0, len(prompt)),
            message="There are no words: the vector would be that of an empty text.",
            suggestion="Write what the picture should show.",
        )
        return [remark]
    found = [
        *_length(prompt, tokenizer, context_length),
        *_form(prompt, tokenizer),
        *_shorthand(prompt, modality),
        *_meaning(prompt, modality, default_matcher() if matcher is None else matcher),
    ]
    if tokenizer is not None:
        found += _shattered(prompt, tokenizer)
    order = list(Severity)
    return sorted(found, key=lambda remark: (order.index(remark.severity), remark.span))


def _length(prompt: str, tokenizer: Pieces | None, context_length: int | None) -> Iterator[Remark]:
    words = list(re.finditer(r"\S+", prompt))
    shorter = "Say it in fewer words, or split it into several prompts and average their vectors."
    if tokenizer is None or context_length is None:
        if len(words) > MANY_WORDS:
            message = f"{len(words)} words are more than many encoders read; what they cut is not looked at."
            span = (words[MANY_WORDS].start(), len(prompt))
            yield Remark(trouble=Trouble.TOO_LONG, span=span, message=message, suggestion=shorter)
        return
    count = len(tokenizer(prompt))
    if count <= context_length:
        return
    first, last = 0, len(words)
    while first < last:  # the longest beginning that is read
        middle = (first + last) // 2
        if len(tokenizer(prompt[: words[middle].end()])) <= context_length:
            first = middle + 1
        else:
            last = middle
    message = f"It has {count} pieces, and the encoder reads {context_length}: the rest is not looked at."
    span = (words[first].start(), len(prompt))
    yield Remark(trouble=Trouble.TOO_LONG, span=span, message=message, suggestion=shorter)


def _form(prompt: str, tokenizer: Pieces | None) -> Iterator[Remark]:
    for match in _HOLE.finditer(prompt):
        message = "A place that should have been filled in was left open."
        yield Remark(
            trouble=Trouble.HOLE, span=match.span(), message=message, suggestion="Fill it in, or leave it out."
        )
    openings = list(_OPENING.finditer(prompt))
    if len(openings) > 1:
        message = "It says twice what kind of picture it is, as when a template is put into a template."
        span = (openings[0].start(), openings[-1].end())
        rest = prompt[openings[-1].start() :]
        yield Remark(trouble=Trouble.TEMPLATE_TWICE, span=span, message=message, suggestion=f"Write {rest!r}.")
    is_folded = tokenizer is not None and list(tokenizer(prompt)) == list(tokenizer(prompt.lower()))
    long_words = [word for word in _WORD.findall(prompt) if len(word) > 4]
    if prompt.isupper() and len(long_words) > 1 and not is_folded:
        message = "It is all in capitals, which a vocabulary of mixed case cuts into letters."
        whole, small = (0, len(prompt)), prompt.capitalize()
        yield Remark(trouble=Trouble.CAPITALS, span=whole, message=message, suggestion=f"Write {small!r}.")
    for match in _MEASURE.finditer(prompt):
        message = "Encoders of this kind do not measure: a number says next to nothing to them."
        hint = "Use words: small, large, several."
        yield Remark(trouble=Trouble.NUMBER, span=match.span(), message=message, suggestion=hint)
    for match in _SIDE.finditer(prompt):
        message = "Left and right are hardly told apart, least of all where training mirrored its pictures."
        hint = "Do not rely on the side; leave it out, or check it with a mirrored picture."
        yield Remark(trouble=Trouble.LATERALITY, span=match.span(), message=message, suggestion=hint)


def _shorthand(prompt: str, modality: str | None) -> Iterator[Remark]:
    for span in expand(prompt, modality).spans:
        place = (span.start, span.end)
        if span.expansion is None:
            message = f"{span.abbreviation} may stand for {', or '.join(span.senses)}."
            hint = "Write out the one that is meant."
            yield Remark(trouble=Trouble.AMBIGUOUS, span=place, message=message, suggestion=hint)
        else:
            message = f"{span.abbreviation} is shorthand, which captions seldom use."
            hint = f"Write {span.expansion!r}."
            yield Remark(trouble=Trouble.ABBREVIATION, span=place, message=message, suggestion=hint)


def _meaning(prompt: str, modality: str | None, matcher: PhraseMatcher) -> Iterator[Remark]:
    query = parse_query(prompt, modality, matcher=matcher)
    for phrase in query.exclude:
        message = 'Encoders of this kind hardly see a "no": this is read much as if it were there.'
        name = phrase.concepts[0] if phrase.concepts else phrase.text
        hint = f"Compare two prompts, {name!r} and 'no {name}', and take the difference; or exclude it in the search."
        yield Remark(trouble=Trouble.NEGATED, span=phrase.span, message=message, suggestion=hint)
    kinds = {Kind.FINDING, Kind.DEVICE}
    mentions = [m for m in matcher.mentions(prompt) if matcher.ontology.concept(m.concept).kind in kinds]
    sentence = ReadSentence(prompt)
    asked = [m for m in mentions if sentence.assess(*m.anchor).temporality is Temporality.HYPOTHETICAL]
    question = _QUESTION.search(prompt)
    if question or asked:
        message = "It is a question, not a description; captions and reports say what is seen."
        span = question.span() if question else (asked[0].start, asked[0].end)
        hint = f"Write {query.text!r}." if query.text and query.text != prompt else "Write what should be seen."
        yield Remark(trouble=Trouble.QUESTION, span=span, message=message, suggestion=hint)
    distinct = _unrelated([m for m in mentions if not is_normal(prompt)], matcher)
    if len(distinct) > 1:
        names = [m.concept for m in distinct]
        message = f"It names {len(names)} findings; one vector is near each of them, and near neither for sure."
        span = (distinct[0].start, max(m.end for m in distinct))
        hint = f"Write a prompt for each: {', '.join(map(repr, names))}."
        yield Remark(trouble=Trouble.SEVERAL_CLASSES, span=span, message=message, suggestion=hint)


def _unrelated(mentions: Sequence[Mention], matcher: PhraseMatcher) -> list[Mention]:
    """One mention for each concept that is no kind of another of them, and does not share its words."""
    is_a, kept = matcher.ontology.is_a, list[Mention]()
    for mention in mentions:
        if not any(
            is_a(mention.concept, other.concept)
            or is_a(other.concept, mention.concept)
            or (mention.start < other.end and other.start < mention.end)
            for other in kept
        ):
            kept.append(mention)
    return kept


def _shattered(prompt: str, tokenizer: Pieces) -> Iterator[Remark]:
    for match in _WORD.finditer(prompt):
        word = match[0]
        pieces = list(tokenizer(word))
        if _UNKNOWN & set(pieces):
            message = f"The vocabulary has nothing for {word!r}: it is read as an unknown word."
            hint = "Use another word for it."
            yield Remark(trouble=Trouble.UNKNOWN_PIECE, span=match.span(), message=message, suggestion=hint)
        elif len(pieces) >= MANY_PIECES:
            shown = " ".join(piece.removeprefix("##").removesuffix("</w>").lstrip("Ġ▁") for piece in pieces)
            message = f"{word!r} falls into {len(pieces)} pieces ({shown}): the encoder hardly knows it as a word."
            hint = "Use a commoner word beside it or instead."
            yield Remark(trouble=Trouble.SHATTERED, span=match.span(), message=message, suggestion=hint)
