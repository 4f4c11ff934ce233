"""How far a cue reaches in its sentence: the grammar of clauses, lists and asides that every cue obeys.

The words here are grammar, not cues: which words say something is in `tables/cues.csv`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from callosum.knowledge.assertion.cues import CueBook, Direction, Effect, FoundCue, Reach
from callosum.knowledge.assertion.tokens import DASH, PARAGRAPH

WINDOW = 60
"""Words: the longest list of a medical history. It keeps the work on a text without stops linear."""
_NEAR = 8

_STOPS = frozenset({".", ";", "!", "?", ":", "•", DASH, PARAGRAPH})
_ENDS = _STOPS - {":", DASH}
_HEADED = frozenset({":", DASH, "?", "("})
_VERBS = frozenset(
    "is are was were be been has have had does do did shows show showed demonstrates demonstrate demonstrated remains "
    "remain remained appears appear appeared reveals reveal revealed contains contain measures measure indicates "
    "indicated".split()
)
_ADVERBS = frozenset(
    "also now currently still again since completely fully entirely totally clearly definitely otherwise almost nearly "
    "significantly markedly slightly mildly somewhat essentially grossly otherwise however been be to".split()
)
_FILLERS = frozenset("this it these that they to there been be".split())
_EITHER = frozenset({"or", "nor", "and/or"})
_JOINS = frozenset({"and", "or", "nor", "and/or", "as", "well"})
_LINKS = frozenset({",", "(", "and", "with", "w/"})
_SIZES = frozenset(
    "small mild mildly minimal minimally trace tiny moderate moderately severe slight slightly stable unchanged "
    "persistent increased increasing worsening improved improving decreased redemonstrated bibasilar multiple several "
    "some status normal clear there also he she patient lungs heart positive".split()
)
"""A new statement begins with one of these after a comma: nobody denies "stable" or "trace" things in a list."""
_ARTICLES = frozenset("a an the left right bilateral large marked extensive diffuse patchy scattered".split())
"""As `_SIZES`, unless an "or" closes the list further on ("no focal opacity, large effusion, or pneumothorax")."""
_SEEN = frozenset(
    "seen identified noted visualized visualised present evident demonstrated appreciated detected found shown".split()
)
_ASIDES = frozenset("which if as when seen noted previously although though best better".split())
_ELIDING = frozenset({"and", "but", "yet", "though", "although"})
"""Before a cue that reaches back, one of these stands for a subject that is not said again."""
_RELATIVE = frozenset({"which", "that", "who"})
_BEFORE_VERSUS = frozenset(
    "with for from to due representing reflecting suggesting likely probably and but after following".split()
)
_PRONOUNS = frozenset({"it", "this", "that", "one", "ones", "these", "they"})
_SHOWING = frozenset("shows show showed demonstrates demonstrate demonstrated reveals reveal contains contain".split())
"""What follows one of these is denied when nobody is the subject: "neither lung shows a nodule"."""
_NOBODY = frozenset({"neither nor", "none of"})
_ANSWERS = frozenset({"present", "absent"})
_LOCATING = frozenset("on in at before previously earlier within over throughout".split())
_DOUBTS = frozenset({Effect.DOUBT, Effect.LEAN})
_LISTING = _DOUBTS | {Effect.NEGATE}
_SPEAKING = _LISTING | {Effect.ASK, Effect.PAST, Effect.OTHER}


class Grammar:
    """The words and cues of a sentence, and how far each cue reaches.

    Args:
        words: The tokens of the sentence.
        book: The cues to look for.
    """

    def __init__(self, words: Sequence[str], book: CueBook) -> None:
        self.words = words
        self.cues = book.find(words)
        self._stops_forward = {c.first for c in self.cues if _is_stop(c, Direction.FORWARD)}
        self._stops_backward = {c.after - 1 for c in self.cues if _is_stop(c, Direction.BACKWARD)}
        self._contrasts = {c.first for c in self.cues if c.cue.effect is Effect.STOP and c.cue.rule == "but"}
        self._speaks = {c.first: c.cue.effect for c in self.cues if _speaks(c)}
        self._firsts = [c.first for c in self.cues]
        self._ends: dict[FoundCue, tuple[int, int]] = {}

    def near(self, first: int, after: int) -> list[FoundCue]:
        """The cues that are close enough to some words to reach them, or overlap them."""
        low = bisect_left(self._firsts, first - WINDOW)
        return self.cues[low : bisect_left(self._firsts, after + WINDOW)]

    def span(self, found: FoundCue) -> tuple[int, int]:
        """The first word that a cue reaches, and one past the last."""
        ends = self._ends.get(found)
        if ends is None:
            ends = self._ends[found] = self._span(found)
        return ends

    def _span(self, found: FoundCue) -> tuple[int, int]:
        low, high, cue = found.first, found.after, found.cue
        if cue.direction is Direction.VALUE:
            return (self._backward(found), high) if self._is_value(found) else (low, high)
        if cue.direction is Direction.FORWARD and self._answers(found):
            return low, high
        if cue.direction in (Direction.FORWARD, Direction.BOTH):
            high = self._forward(found)
        if cue.direction is Direction.OPENING and self._opens(found):
            high = self._forward(found)
        if cue.direction is Direction.BACKWARD or (cue.direction is Direction.BOTH and not self._begins(found)):
            low = self._backward(found)
        return low, high

    def clause(self, first: int, after: int, furthest: int) -> tuple[int, int]:
        """Where the clause of some words starts and ends, no further away than so many words."""
        low, high = first, after
        while low > max(0, first - furthest) and not self._parts(low - 1):
            low -= 1
        while high < min(len(self.words), after + furthest) and not self._parts(high):
            high += 1
        return low, high

    def _parts(self, place: int) -> bool:
        return self.words[place] in _ENDS or place in self._contrasts

    def is_alone(self, first: int, after: int) -> bool:
        """Whether some words are the whole statement: marks or nothing on both sides."""
        return self._word(first - 1) in _STOPS and self._word(after) in _STOPS

    def _word(self, place: int) -> str:
        return self.words[place] if 0 <= place < len(self.words) else PARAGRAPH

    def _opens(self, found: FoundCue) -> bool:
        return self._word(found.first - 1) in _STOPS

    def _begins(self, found: FoundCue) -> bool:
        """Whether a cue of both directions begins an item of a list: "edema, and stable cardiomegaly"."""
        follows = self._word(found.after)
        return self._word(found.first - 1) in (",", *_JOINS) and follows not in _STOPS and follows != ","

    def _is_value(self, found: FoundCue) -> bool:
        """Whether a cue is the whole answer after a heading: what follows is a mark, the end, or the next heading."""
        if self._word(found.first - 1) not in _HEADED:
            return found.after - found.first == 1 and self._word(found.after) in _STOPS and not self._opens(found)
        if self._word(found.after) in _STOPS or self._word(found.after) in (",", ")"):
            return True
        following = range(found.after, found.after + 4)
        return next((self._word(k) for k in following if self._word(k) in _STOPS), "") == ":"

    def _answers(self, found: FoundCue) -> bool:
        """Whether a cue that reaches forward is used as an answer, and so reaches back instead."""
        others = (c for c in self.near(found.first, found.after) if c.first == found.first and c.after == found.after)
        return any(c.cue.direction is Direction.VALUE and self._is_value(c) for c in others)

    def _forward(self, found: FoundCue) -> int:
        place, reach = found.after, found.cue.reach
        if self._word(place) == ":":
            place += 1
        if reach is Reach.NEAR:
            return self._forward_near(place)
        place = self._opening(place)
        limit, closed, listing = self._limit(place), False, found.cue.effect in _LISTING
        while place < limit:
            word = self.words[place]
            if (word in _STOPS and word != DASH) or place in self._stops_forward or (word == DASH and listing):
                break
            if reach is Reach.LIST:
                if word in _VERBS and found.cue.effect is not Effect.ASK and not _is_nobodys(found, word):
                    break
                if found.cue.effect is Effect.PAST and self._returns(found.after, place):
                    break
                if word in _LINKS and not self._goes_on(place, found.cue.effect, closed=closed):
                    break
                closed = closed or word in _EITHER
            elif word == "," and found.cue.effect in (Effect.PAST, Effect.OTHER) and self._new_subject(place + 1):
                break
            place += 1
        return place

    def _opening(self, place: int) -> int:
        """The place after the verbs and pronouns that follow a cue: "does not | appear to be", "unclear if | it is"."""
        while self._word(place) in _VERBS or self._word(place) in _FILLERS:
            place += 1
        cause = next((c for c in self.near(place, place) if c.first == place and c.cue.rule == "cause"), None)
        return place if cause is None else cause.after

    def _limit(self, place: int) -> int:
        """The furthest that a cue may reach forward: the window, or the end of the bracket that it stands in."""
        depth = 0
        for k in range(place, min(len(self.words), place + WINDOW)):
            depth += (self.words[k] == "(") - (self.words[k] == ")")
            if depth < 0:
                return k
        return min(len(self.words), place + WINDOW)

    def _forward_near(self, place: int) -> int:
        limit = min(self._limit(place), place + _NEAR)
        while place < limit and not (
            self.words[place] in _STOPS
            or self.words[place] in _VERBS
            or self.words[place] in (",", "and", "with", "w/")
            or place in self._stops_forward
        ):
            place += 1
        return place

    def _goes_on(self, place: int, effect: Effect, *, closed: bool) -> bool:
        """Whether a list goes on after a comma, an "and" or a "with"."""
        joint, after = self.words[place], place + 1
        joint = "," if joint == "(" else joint
        if joint == "," and self._word(after) == "and":
            joint, after = "and", after + 1
        word = self._word(after)
        if joint == "," and word in _EITHER:
            return True
        if word in _STOPS or after in self._stops_forward:
            return False
        if self._speaks.get(after, effect) is not effect or self._new_subject(after):
            return False
        closing = joint == "," and self._closes(after)
        if word in _SIZES or (word in _ARTICLES and not closing):
            return effect not in _LISTING and word not in _SIZES
        if joint in ("with", "w/"):
            return effect not in _DOUBTS
        if joint == "," and effect in _DOUBTS:
            return closing
        return not closed or closing or joint == "and" or effect not in _LISTING

    def _returns(self, start: int, place: int) -> bool:
        """Whether a ", with" comes back from what a past event was for: "history of bypass for angina, with cough"."""
        return self.words[place] == "," and self._word(place + 1) == "with" and "for" in self.words[start:place]

    def _closes(self, place: int) -> bool:
        """Whether an "or" closes the list that goes on here."""
        for k in range(place, min(len(self.words), place + 25)):
            word = self.words[k]
            if word in _EITHER:
                return True
            if word in _STOPS or word in _VERBS or word in ("with", "in", "at") or k in self._stops_forward:
                return False
            if self._speaks.get(k) is Effect.NEGATE:
                return False
        return False

    def _new_subject(self, place: int) -> bool:
        """Whether what follows is a statement of its own: a verb comes before any "or", comma or stop."""
        for k in range(place, min(len(self.words), place + 12)):
            word = self.words[k]
            if word in _VERBS:
                return k > place and self._word(k + 1) not in _SEEN
            if word in _STOPS or word == "," or word in _EITHER or k in self._stops_forward:
                return False
        return False

    def _backward(self, found: FoundCue) -> int:
        place, near = found.first - 1, found.cue.reach is Reach.NEAR
        while self._word(place) in _ADVERBS:
            place -= 1
        place = self._before_pronoun(place)
        elided = self._word(place) in _ELIDING
        if elided or self._word(place) in _RELATIVE:
            place -= 1
        if self._word(place) in _HEADED:
            place -= 1
        elif self._word(place) == ",":
            place = self._before_aside(place)
        while place >= 0 and (self.words[place] in _VERBS or self.words[place] in _ADVERBS):
            place -= 1
        low, joined, limit = place + 1, place + 1, max(-1, place - (_NEAR if near else WINDOW))
        is_joined = False
        while place > limit:
            word = self.words[place]
            if word in _STOPS or place in self._stops_backward or self._is_answer(place):
                return low
            if word in _VERBS and found.cue.reach is not Reach.CLAUSE:
                if not elided:
                    return joined if is_joined else low
                elided = False
            if near and (word in _BEFORE_VERSUS or word == ","):
                return low
            if word == ",":
                if not is_joined:
                    return low
                joined = low
            elif word in _JOINS:
                is_joined, joined = True, low
            low = place
            place -= 1
        return low

    def _is_answer(self, place: int) -> bool:
        """Whether a word says of what stands before it that it is there or not: "effusion present edema absent"."""
        return self.words[place] in _ANSWERS and self._word(place + 1) not in _LOCATING

    def _before_pronoun(self, place: int) -> int:
        """The place of the "but" before a pronoun that stands for what was said: "but a small one", "but it"."""
        if self._word(place) not in _PRONOUNS:
            return place
        return next((k for k in range(place - 1, max(-1, place - 4), -1) if self.words[k] in _ELIDING), place)

    def _before_aside(self, comma: int) -> int:
        """The place before an aside that a comma closes (", which was seen before,"), or before the comma."""
        for place in range(comma - 1, max(-1, comma - 12), -1):
            if self.words[place] in _STOPS:
                break
            if self.words[place] == ",":
                return place - 1 if self._word(place + 1) in _ASIDES else comma - 1
        return comma - 1


def _is_stop(found: FoundCue, direction: Direction) -> bool:
    return found.cue.effect is Effect.STOP and found.cue.direction in (direction, Direction.BOTH)


def _speaks(found: FoundCue) -> bool:
    """Whether a cue says something of others than itself."""
    return found.cue.effect in _SPEAKING and found.cue.direction not in (Direction.ALONE, Direction.WITHIN)


def _is_nobodys(found: FoundCue, verb: str) -> bool:
    return found.cue.rule in _NOBODY and verb in _SHOWING
