"""The table of cues (`tables/cues.csv`), and where a sentence has them.

A row has the rule's name, an effect, a direction, a reach and a phrase: words, `(one|of these)` and `[may|be|missing]`;
`<year>` and `<month>` stand for any. Of the cues that start at one word the longest counts, and its words belong to no
other: "no change in" holds no denial. What the words of a cue are is told apart from what they do, so that a cue of
effect `void` is how an exception is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from threading import Lock

from callosum.core.errors import InputError
from callosum.knowledge.ontology import read_table

_COLUMNS = ("rule", "effect", "direction", "reach", "phrase")
_PARTS = re.compile(r"\(([^()\[\]]+)\)|\[([^()\[\]]+)\]|([^\s()\[\]|]+)|(\s+)")


class Effect(StrEnum):
    """What a cue says of the concepts that it reaches.

    LEAN is a doubt that leans towards presence ("probable", "versus", "borderline"). PART says that what follows is
    said of a part only: a catheter whose tip is not seen is there. VOID says nothing, and keeps its words from saying
    anything; STOP ends the reach of other cues.
    """

    NEGATE = "negate"
    DOUBT = "doubt"
    LEAN = "lean"
    ASK = "ask"
    PAST = "past"
    OTHER = "other"
    NEW = "new"
    WORSENED = "worsened"
    STABLE = "stable"
    IMPROVED = "improved"
    RESOLVED = "resolved"
    PART = "part"
    VOID = "void"
    STOP = "stop"


class Direction(StrEnum):
    """On which side of the cue the concepts are.

    VALUE is what stands for a whole answer after a heading ("Effusion: no"); OPENING reaches forward when the cue
    opens its clause. ALONE is no cue beside a concept but the concept: a chronic condition that stands alone is an item
    of a list of past illnesses. WITHIN is a word of the concept: an allergy is no event of today.
    """

    FORWARD = "forward"
    BACKWARD = "backward"
    BOTH = "both"
    VALUE = "value"
    OPENING = "opening"
    ALONE = "alone"
    WITHIN = "within"


class Reach(StrEnum):
    """How far: the nouns beside the cue, the list that they belong to, or to the end of the clause."""

    NEAR = "near"
    LIST = "list"
    CLAUSE = "clause"


@dataclass(frozen=True, slots=True)
class Cue:
    """A row of the table, without its phrase."""

    rule: str
    effect: Effect
    direction: Direction
    reach: Reach


@dataclass(frozen=True, slots=True)
class FoundCue:
    """A cue in a sentence: its first word, and one past its last, as numbers of tokens."""

    first: int
    after: int
    cue: Cue


class CueBook:
    """Finds the cues of a table.

    The phrases are one automaton over words, made deterministic state by state as sentences ask for it; there are as
    many states at most as the phrases have, whatever is read.

    Args:
        rows: `rule`, `effect`, `direction`, `reach`, `phrase`.

    Raises:
        InputError: A row has an unknown effect, direction or reach, or a phrase that cannot be read.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self._follows: list[dict[str, set[int]]] = [{}]
        self._says: list[list[Cue]] = [[]]
        for row in rows:
            self._add(row)
        self._states: list[tuple[int, ...]] = [(0,)]
        self._numbers: dict[tuple[int, ...], int] = {(0,): 0}
        self._steps: list[dict[str, int]] = [{}]
        self._words: list[frozenset[str]] = [frozenset(self._follows[0])]
        self._cues: list[tuple[Cue, ...]] = [()]
        self._making = Lock()

    def _add(self, row: Mapping[str, str]) -> None:
        phrase = row["phrase"]
        try:
            cue = Cue(row["rule"], Effect(row["effect"]), Direction(row["direction"]), Reach(row["reach"]))
        except ValueError:
            message = f"The cue {phrase!r} should have an effect ({', '.join(Effect)}), a direction and a reach."
            raise InputError(message, hint="Correct the row.") from None
        ends, place = {0}, 0
        while place < len(phrase):
            part = _PARTS.match(phrase, place)
            if part is None:
                message = f"The cue {phrase!r} should have every bracket closed, and none inside another."
                raise InputError(message, hint="Correct the row.")
            place = part.end()
            among, optional, word, _ = part.groups()
            if among or optional or word:
                reached = {self._chain(ends, choice.split()) for choice in (among or optional or word).split("|")}
                ends = reached | ends if optional else reached
        if 0 in ends:
            message = f"The cue {phrase!r} should have a word that may not be missing."
            raise InputError(message, hint="Correct the row.")
        for end in ends:
            self._says[end].append(cue)

    def _chain(self, ends: set[int], words: Sequence[str]) -> int:
        """Let words follow on any of these places; the place where they end."""
        for word in words:
            self._follows.append({})
            self._says.append([])
            place = len(self._follows) - 1
            for end in ends:
                self._follows[end].setdefault(word.lower(), set()).add(place)
            ends = {place}
        return next(iter(ends))

    def _step(self, state: int, word: str) -> int:
        """The state after a word that may follow; made when it is first needed."""
        number = self._steps[state].get(word)
        return self._make(state, word) if number is None else number

    def _make(self, state: int, word: str) -> int:
        with self._making:
            places = tuple(sorted({p for place in self._states[state] for p in self._follows[place].get(word, ())}))
            number = self._numbers.get(places, len(self._states))
            if number == len(self._states):
                self._steps.append({})
                self._words.append(frozenset(word for place in places for word in self._follows[place]))
                self._cues.append(_only_void([cue for place in places for cue in self._says[place]]))
                self._states.append(places)
                self._numbers[places] = number
            self._steps[state][word] = number
            return number

    def longest(self, words: Sequence[str], first: int, limit: int) -> tuple[int, tuple[Cue, ...]]:
        """One past the last word of the longest cue that starts at a word and ends by `limit`, and what it says.

        The place is `first` when there is none.
        """
        cues: tuple[Cue, ...] = ()
        state, after = 0, first
        for place in range(first, limit):
            if words[place] not in self._words[state]:
                break
            state = self._step(state, words[place])
            if self._cues[state]:
                after, cues = place + 1, self._cues[state]
        return after, cues

    def find(self, words: Sequence[str], first: int = 0, limit: int | None = None) -> list[FoundCue]:
        """The cues among words, in order; those that start earlier first, and of those the longest."""
        found: list[FoundCue] = []
        place, limit, opening = first, len(words) if limit is None else limit, self._words[0]
        while place < limit:
            if words[place] in opening:
                after, cues = self.longest(words, place, limit)
                if after > place:
                    found += [FoundCue(place, after, cue) for cue in cues]
                    place = after
                    continue
            place += 1
        return found


def _only_void(cues: list[Cue]) -> tuple[Cue, ...]:
    """What a phrase says that several rows have: each thing once, and nothing when one row says so."""
    void = [cue for cue in cues if cue.effect is Effect.VOID]
    return tuple(dict.fromkeys(void[:1] or cues))


@cache
def shipped_cues() -> CueBook:
    """The cues that come with this package."""
    return read_cues()


def read_cues(folder: Path | None = None) -> CueBook:
    """The cues of a folder's `cues.csv`, or those that come with this package.

    Raises:
        InputError: It lacks a column, or a row cannot be read.
    """
    return CueBook(read_table("cues.csv", folder=folder, columns=_COLUMNS))
