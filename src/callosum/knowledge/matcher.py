"""Where a text names a concept: all phrases of an ontology looked up at once.

Words are compared in a canonical form (`words`), along a tree of the words of all phrases, so that a text is read
once however many phrases there are. Of two readings of the same words the one with more words counts: a "thyroid
nodule" is not a nodule of the lung, and a mask ("mass effect") hides what it covers. Two concepts may share a word,
as they do in "heart size and mediastinal contours are normal". A colon after the first words of a phrase with a gap
is read as "is" ("Heart: enlarged"), and an abbreviation that means one thing only as its words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Protocol, runtime_checkable

from callosum.knowledge.abbreviations import plain_abbreviations
from callosum.knowledge.ontology import Kind, Ontology, read_ontology
from callosum.knowledge.phrases import WHOLE, Gap, Sequence, beginnings, expand, split_words
from callosum.knowledge.words import COLON, PLACEHOLDER, Canon, Shorthand, Token, tokenize

_MASK = ""
_MOST_WHOLE = 12
_BARRIERS = frozenset(
    "but however although though while whereas which who with without within there normal clear unremarkable except "
    "because due secondary :".split()
)
"""Words that no gap of a phrase reaches over: what follows is said of something else."""


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """Words that name a concept.

    Attributes:
        start: First character.
        end: One past the last.
        concept: Its name in the ontology; of a UMLS index its CUI.
        anchor_start: First character of the words that cues attach to: in "the heart may be enlarged" those are
            "enlarged", for the doubt stands between; in a phrase without a gap, `start`.
    """

    start: int
    end: int
    concept: str
    anchor_start: int

    @property
    def anchor(self) -> tuple[int, int]:
        """`(start, end)` of the words that cues attach to: what `assess` should be given."""
        return (self.anchor_start, self.end)


@runtime_checkable
class MentionFinder(Protocol):
    """What finds where concepts are named: the phrases of an ontology, or a UMLS installation."""

    def mentions(self, text: str) -> list[Mention]:
        """Every mention, in the order of the text."""
        ...


class _Node:
    """What may follow the words so far, and the concepts that they name."""

    __slots__ = ("concepts", "gaps", "is_place", "next")

    def __init__(self) -> None:
        self.next: dict[str, _Node] = {}
        self.gaps: dict[int, _Node] | None = None
        self.concepts: tuple[str, ...] = ()
        self.is_place = False


@dataclass(slots=True)
class _Reading:
    """A phrase that fits: the numbers of its words, the one after its last gap (0: none), and what it names."""

    words: tuple[int, ...]
    after_gap: int
    concepts: tuple[str, ...]
    is_place: bool

    @property
    def heads(self) -> tuple[int, ...]:
        """The words that its meaning hangs on: its last, and where it has a gap, its first."""
        return (self.words[0], self.words[-1]) if self.after_gap else self.words[-1:]

    def hides(self, other: _Reading) -> bool:
        """Whether the other is only a part of this one, or is masked by it."""
        if self is other:
            return False
        if self.words[-1] < other.words[0] or other.words[-1] < self.words[0]:
            return False
        mine, its = set(self.words), set(other.words)
        if its < mine:
            return True
        if self.concepts[0] == _MASK:
            return its == mine or (not mine < its and not mine.isdisjoint(other.heads))
        if other.concepts[0] == _MASK or not (mine & its):
            return False
        alike = not self.after_gap and not other.after_gap and self.is_place == other.is_place
        return alike and (len(self.words), -self.words[0]) > (len(other.words), -other.words[0])


class PhraseMatcher:
    """Finds the phrases of an ontology in texts.

    Args:
        ontology: Whose phrases; the one that comes with this package when None.

    Raises:
        InputError: A phrase of the ontology is not in the language of `phrases`.
    """

    def __init__(self, ontology: Ontology | None = None) -> None:
        self.ontology = read_ontology() if ontology is None else ontology
        self._places = frozenset(self.ontology.of_kind(Kind.SITE))
        self._root = _Node()
        self._canon = Canon()
        self._shorthand = Shorthand(plain_abbreviations())
        self._whole: dict[tuple[str, ...], str] = {}
        self._waiting: dict[str, list[tuple[str, str]]] = {}
        self._spelled: dict[tuple[str, str], dict[str, list[Sequence]]] = {}
        self._turn = Lock()
        for mask in self.ontology.masks:
            self._announce(mask, _MASK)
        for concept in self.ontology:
            for phrase in concept.phrases:
                self._announce(phrase, concept.name)
        self._canon.close()
        if self.ontology is not read_ontology():  # a mistake in a table of one's own is told at once
            for key in list(self._waiting):
                self._grow(key)

    def _announce(self, phrase: str, concept: str) -> None:
        """Note which words a phrase begins with; it is spelled out when a text has one of them."""
        if phrase.startswith(WHOLE):
            for sequence in expand(phrase):
                words = tuple(self._canon.learn(item) for item in sequence[1:] if isinstance(item, str))
                self._whole[words] = concept
            return
        for word in split_words(phrase):
            self._canon.learn(word)
        starts = beginnings(phrase) or {str(sequence[0]) for sequence in expand(phrase)}
        for key in dict.fromkeys(map(self._canon.learn, starts)):
            self._waiting.setdefault(key, []).append((phrase, concept))

    def _grow(self, key: str) -> None:
        """Spell out all phrases that begin with a word, as one new branch of the tree."""
        with self._turn:
            branch = _Node()
            for named in self._waiting.get(key, ()):
                self._add(branch, self._sequences(named).pop(key, []), named[1])
            if self._waiting.pop(key, None):
                self._root.next[key] = branch

    def _sequences(self, named: tuple[str, str]) -> dict[str, list[Sequence]]:
        """What a phrase of a concept stands for, by the first word, which is left out; each is taken once."""
        if named not in self._spelled:
            self._spelled[named] = defaultdict(list)
            for sequence in expand(named[0]):
                self._spelled[named][self._canon.learn(str(sequence[0]))].append(sequence[1:])
        return self._spelled[named]

    def _add(self, branch: _Node, sequences: list[Sequence], concept: str) -> None:
        for sequence in sequences:
            node = branch
            for item in sequence:
                if isinstance(item, Gap):
                    node.gaps = node.gaps or {}
                    following = node.gaps.get(item.words)
                    if following is None:
                        following = node.gaps[item.words] = _Node()
                else:
                    key = self._canon.learn(item)
                    following = node.next.get(key)
                    if following is None:
                        following = node.next[key] = _Node()
                node = following
            if not any(self._is_kind(other, concept) for other in node.concepts):
                node.concepts = (*(other for other in node.concepts if not self._is_kind(concept, other)), concept)
                node.is_place = concept in self._places

    def _is_kind(self, concept: str, other: str) -> bool:
        return concept == other or (bool(concept and other) and self.ontology.is_a(concept, other))

    def mentions(self, text: str) -> list[Mention]:
        """Every mention of a concept, in the order of the text; empty when there is none."""
        tokens = self._shorthand.written_out(tokenize(text, self._canon))
        if len(tokens) <= _MOST_WHOLE and (whole := self._said_as_a_whole(tokens)):
            return [whole]
        readings: list[_Reading] = []
        first, waiting = self._root.next, self._waiting
        keys = [*[token.word for token in tokens], *[token.capitals for token in tokens]]
        if not waiting.keys().isdisjoint(keys):
            for key in keys:
                if key in waiting:
                    self._grow(key)
        for at, token in enumerate(tokens):
            if token.word in first or token.capitals in first:
                self._walk(tokens, at, self._root, (), 0, readings)
        if not readings:
            return []
        readings = [reading for near in _clusters(readings) for reading in self._best(near)]
        found = {}
        for reading in sorted(readings, key=lambda r: r.after_gap, reverse=True):  # the one without a gap is kept
            start, end = tokens[reading.words[0]].start, tokens[reading.words[-1]].end
            anchor = tokens[reading.after_gap].start if reading.after_gap else start
            for concept in reading.concepts:
                if concept != _MASK:
                    found[start, end, concept] = Mention(start, end, concept, anchor)
        return sorted(found.values())

    def _said_as_a_whole(self, tokens: list[Token]) -> Mention | None:
        """What the text says when nothing else stands in it, a heading and marks apart: "Impression: normal."."""
        words = tuple([token.word for token in tokens if token.word and token.word != COLON])
        concept = self._whole.get(words)
        if concept is None:
            return None
        spoken = [token for token in tokens if token.word]
        return Mention(spoken[0].start, spoken[-1].end, concept, spoken[0].start)

    def _best(self, readings: list[_Reading]) -> list[_Reading]:
        """Those that no mask covers, no longer one holds, and no more special one shares words with."""
        if len(readings) == 1:
            return readings
        masks = [reading for reading in readings if reading.concepts[0] == _MASK]
        kept = [r for r in readings if not any(mask.hides(r) for mask in masks)] if masks else readings
        kept = [reading for reading in kept if not any(other.hides(reading) for other in kept)]
        return [reading for reading in kept if not any(self._is_special(other, reading) for other in kept)]

    def _is_special(self, one: _Reading, other: _Reading) -> bool:
        if set(one.words).isdisjoint(other.words) or _MASK in (one.concepts[0], other.concepts[0]):
            return False
        return all(any(o != c and self._is_kind(c, o) for c in one.concepts) for o in other.concepts)

    def _walk(
        self,
        tokens: list[Token],
        at: int,
        node: _Node,
        words: tuple[int, ...],
        after_gap: int,
        readings: list[_Reading],
    ) -> None:
        """Add every phrase that starts with the words so far and goes on at this token."""
        if at >= len(tokens):
            return
        token = tokens[at]
        if token.word == PLACEHOLDER:
            if words:
                self._walk(tokens, at + 1, node, words, after_gap, readings)
            return
        for key in (token.word, token.capitals):
            following = node.next.get(key) if key else None
            if following is None:
                continue
            longer = (*words, at)
            if following.concepts:
                readings.append(_Reading(longer, after_gap, following.concepts, following.is_place))
            if following.next and at + 1 < len(tokens):
                beside = tokens[at + 1]
                if beside.word in following.next or beside.capitals in following.next or beside.word == PLACEHOLDER:
                    self._walk(tokens, at + 1, following, longer, after_gap, readings)
            for num_words, beyond in following.gaps.items() if following.gaps else ():
                first = at + 2 if at + 1 < len(tokens) and tokens[at + 1].word == COLON else at + 1
                self._leap(tokens, range(first, min(first + num_words + 1, len(tokens))), beyond, longer, readings)

    def _leap(
        self, tokens: list[Token], reach: range, node: _Node, words: tuple[int, ...], readings: list[_Reading]
    ) -> None:
        """Go on after a gap: at the first token within reach that the phrase continues with."""
        for place in reach:
            token = tokens[place]
            if token.word in node.next or token.capitals in node.next:
                before = len(readings)
                self._walk(tokens, place, node, words, place, readings)
                if len(readings) > before:
                    return
            if not token.word or token.word in _BARRIERS:
                return


def _clusters(readings: list[_Reading]) -> Iterator[list[_Reading]]:
    """Readings in groups that have no word in common; they come in the order of their first words."""
    near: list[_Reading] = []
    reach = -1
    for reading in readings:
        if reading.words[0] > reach and near:
            yield near
            near = []
        near.append(reading)
        reach = max(reach, reading.words[-1])
    yield near


@lru_cache(maxsize=4)
def matcher_of(ontology: Ontology) -> PhraseMatcher:
    """The matcher of an ontology; made once, for it takes a while."""
    return PhraseMatcher(ontology)


def default_matcher() -> PhraseMatcher:
    """The matcher of the ontology that comes with this package; made once."""
    return matcher_of(read_ontology())


def find_mentions(text: str) -> list[Mention]:
    """Every mention of a concept of the ontology that comes with this package, in the order of the text."""
    return default_matcher().mentions(text)
