"""What the cues that reach a concept say together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from callosum.core.errors import UsageError
from callosum.core.finding import Assertion, Change, Experiencer, Presence, Temporality
from callosum.knowledge.assertion.cues import CueBook, Direction, Effect, FoundCue, Reach, shipped_cues
from callosum.knowledge.assertion.reach import Grammar
from callosum.knowledge.assertion.tokens import read_tokens

_CHANGES = {
    Effect.NEW: Change.NEW,
    Effect.WORSENED: Change.WORSENED,
    Effect.STABLE: Change.STABLE,
    Effect.IMPROVED: Change.IMPROVED,
    Effect.RESOLVED: Change.RESOLVED,
}
_EDGE = frozenset({Effect.PAST, Effect.ASK, Effect.PART})
"""What the first or last words of a concept may say of it."""


@dataclass(frozen=True, slots=True)
class _Mention:
    """A concept's first word and one past its last, as numbers of tokens."""

    first: int
    after: int


class ReadSentence:
    """A sentence whose words and cues are known, to be asked about any number of concepts.

    Args:
        sentence: The text; several sentences are kept apart at their stops.
        book: The cues; those that come with this package when None.
    """

    def __init__(self, sentence: str, book: CueBook | None = None) -> None:
        self._length = len(sentence)
        self._tokens = read_tokens(sentence)
        self._book = shipped_cues() if book is None else book
        self._grammar = Grammar(self._tokens.words, self._book)

    def assess(self, start: int, end: int) -> Assertion:
        """What the sentence says of the concept at these characters.

        Raises:
            UsageError: The characters are not in the sentence, or there are none.
        """
        if not 0 <= start < end <= self._length:
            message = f"A concept should be at 0 <= start < end <= {self._length}; got {start} and {end}."
            raise UsageError(message, hint="Give its place in this sentence.")
        mention = _Mention(*self.tokens_of(start, end))
        reaching = _nearest(self._reaching(mention), mention)
        return self._decide(reaching)

    @property
    def words(self) -> list[str]:
        """The tokens: words in lower case, and marks."""
        return self._tokens.words

    def tokens_of(self, start: int, end: int) -> tuple[int, int]:
        """The first token of some characters, and one past the last."""
        return bisect_right(self._tokens.ends, start), bisect_left(self._tokens.starts, end)

    def clause(self, first: int, after: int, furthest: int) -> tuple[int, int]:
        """The clause of some tokens: its first and one past its last, no further away than so many."""
        return self._grammar.clause(first, after, furthest)

    def _reaching(self, mention: _Mention) -> list[FoundCue]:
        """The cues that reach a concept; a cue that runs into it is cut short before it."""
        reaching = []
        for found in self._grammar.near(mention.first, mention.after):
            if found.after <= mention.first or found.first >= mention.after:
                low, high = self._grammar.span(found)
                if low < mention.after <= found.first or found.after <= mention.first < high:
                    reaching.append(found)
            elif found.first < mention.first:
                reaching += self._cut(found, mention)
            elif self._is_within(found, mention):
                reaching.append(found)
        return reaching

    def _is_within(self, found: FoundCue, mention: _Mention) -> bool:
        """Whether the concept's own words say when: "status post splenectomy", a habit, a lone past illness."""
        if found.cue.direction is Direction.ALONE:
            alone = self._grammar.is_alone(mention.first, mention.after)
            return alone and (found.first, found.after) == (mention.first, mention.after)
        if found.cue.direction is Direction.WITHIN:
            return mention.first <= found.first and found.after <= mention.after
        at_edge = found.first == mention.first or found.after == mention.after
        return at_edge and found.after - found.first < mention.after - mention.first and found.cue.effect in _EDGE

    def _cut(self, found: FoundCue, mention: _Mention) -> list[FoundCue]:
        cues = self._book.find(self._tokens.words, found.first, mention.first)
        forward = [c for c in cues if c.cue.direction in (Direction.FORWARD, Direction.BOTH)]
        return [c for c in forward if c.after <= mention.first < self._grammar.span(c)[1]]

    def _decide(self, reaching: dict[Effect, FoundCue]) -> Assertion:
        negated, doubted = reaching.get(Effect.NEGATE), _doubt(reaching)
        asked, past = reaching.get(Effect.ASK), reaching.get(Effect.PAST)
        change = next((found for effect, found in reaching.items() if effect in _CHANGES), None)
        resolved = change is not None and change.cue.effect is Effect.RESOLVED
        if past is not None and change is not None and past.cue.reach is Reach.NEAR:
            past = None  # "the prior effusion has decreased": it is there now
        if asked is not None and negated is not None and not _overrules(asked, negated):
            asked = None
        if negated is not None and _is_taken_back(negated, reaching):
            negated = None
        if negated is not None and negated.cue.rule == "no that" and change is not None:
            return self._unchanged(negated, change)
        presence = Presence.PRESENT
        if asked is not None:
            presence = Presence.UNCERTAIN
        elif negated is not None or resolved:
            presence = Presence.ABSENT
        elif doubted is not None:
            presence = Presence.UNCERTAIN
        if negated is not None and not resolved:
            change = None
        other = reaching.get(Effect.OTHER)
        deciding = [negated, doubted if presence is Presence.UNCERTAIN else None, asked, past, change, other]
        return Assertion(
            presence=presence,
            temporality=_when(asked, past),
            experiencer=Experiencer.PATIENT if other is None else Experiencer.OTHER,
            change=Change.UNSTATED if change is None else _CHANGES[change.cue.effect],
            leans=presence is Presence.UNCERTAIN and asked is None and Effect.DOUBT not in reaching,
            cues=tuple(sorted({self._characters(found) for found in deciding if found and not _is_own(found)})),
        )

    def _unchanged(self, negated: FoundCue, change: FoundCue) -> Assertion:
        """A thing whose change is denied: "no evidence that the effusion has increased"."""
        return Assertion(change=Change.STABLE, cues=tuple(sorted(map(self._characters, (negated, change)))))

    def _characters(self, found: FoundCue) -> tuple[int, int]:
        return self._tokens.starts[found.first], self._tokens.ends[found.after - 1]


def assess(sentence: str, start: int, end: int) -> Assertion:
    """What a sentence says of the concept at these characters of it.

    A question ("evaluate for", "if") is hypothetical and uncertain; a history is historical and present; what has
    resolved is absent. "No change in the effusion" denies nothing; "no new effusion" and "no definite effusion" deny
    it; "cannot be excluded" is uncertain.

    Raises:
        UsageError: The characters are not in the sentence, or there are none.
    """
    return ReadSentence(sentence).assess(start, end)


def _nearest(reaching: list[FoundCue], mention: _Mention) -> dict[Effect, FoundCue]:
    """The nearest cue of each effect, nearest first; of two as near the one before the concept."""
    nearest: dict[Effect, FoundCue] = {}
    for found in sorted(reaching, key=lambda found: _distance(found, mention)):
        nearest.setdefault(found.cue.effect, found)
    return nearest


def _distance(found: FoundCue, mention: _Mention) -> tuple[int, bool]:
    is_after = found.first >= mention.after
    return (found.first - mention.after if is_after else mention.first - found.after), is_after


def _doubt(reaching: dict[Effect, FoundCue]) -> FoundCue | None:
    """The nearest doubt; what only leans may be doubted outright as well ("may be edema versus infection")."""
    return next((found for effect, found in reaching.items() if effect in (Effect.DOUBT, Effect.LEAN)), None)


def _is_own(found: FoundCue) -> bool:
    """Whether a cue is the concept's own words: then nothing but the mention decided."""
    return found.cue.direction in (Direction.ALONE, Direction.WITHIN)


def _is_taken_back(negated: FoundCue, reaching: dict[Effect, FoundCue]) -> bool:
    """Whether a denial is of a part only, or is followed by "but it cannot be excluded"."""
    doubted = reaching.get(Effect.DOUBT)
    if Effect.PART in reaching and negated.cue.direction is Direction.BACKWARD:
        return True
    return (
        doubted is not None
        and doubted.cue.rule == "cannot exclude"
        and doubted.cue.direction is Direction.BACKWARD
        and negated.after <= doubted.first
    )


def _overrules(asked: FoundCue, negated: FoundCue) -> bool:
    """Whether a question stays one although a denial reaches the concept: the denial is part of what is asked."""
    return asked.after <= negated.first and asked.cue.rule == "if" and negated.first - asked.after <= 4


def _when(asked: FoundCue | None, past: FoundCue | None) -> Temporality:
    if asked is not None:
        return Temporality.HYPOTHETICAL
    return Temporality.RECENT if past is None else Temporality.HISTORICAL
