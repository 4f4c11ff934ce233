"""What a query asks for and what it excludes, because encoders of this kind hardly see a "no".

A text tower puts "effusion without pneumothorax" beside pictures of both. So a query is divided: the words that are
wanted go to the encoder, and what is denied becomes a list to leave out. Which words are denied is decided by the same
rules that read reports (`assertion`); the concepts among them are named by the ontology, and a denied phrase that
names none is excluded by its words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from callosum.core.finding import Assertion, Change, Presence, Temporality
from callosum.knowledge.abbreviations import Expanded, expand
from callosum.knowledge.assertion import ReadSentence
from callosum.knowledge.matcher import Mention, PhraseMatcher, default_matcher
from callosum.knowledge.modality import mentioned
from callosum.knowledge.ontology import Kind
from callosum.knowledge.prompts import is_normal

NORMAL, ABNORMAL = "normal study", "abnormality"
"""What "no acute abnormality" asks for, and what it denies."""
LONGEST = 5000
"""Characters. A longer query is taken as it is."""
_QUOTED = re.compile(r'"[^"\n]+"|“[^”\n]+”|«[^»\n]+»')
_TECHNIQUE = re.compile(
    r"(?:with ?out|w/o|no|with and without|without and with)\s+(?:(?:iv|oral|intravenous|any)\s+)*contrast\b",
    re.IGNORECASE,
)
"""How a picture was taken, not what it shows."""
_REOPENING = re.compile(
    r"\b(?:(consistent|compatible|those|ones|patients?|persons?|people|anyone|cases?|images?|pictures?|stud(?:y|ies))\s+)?"
    r"with\b",
    re.IGNORECASE,
)
"""In a report "no fracture with displacement" is one denial; in a query a "with" begins what is wanted, but for that
of "excluding those with"."""
_NOT_ONLY = re.compile(r"\bnot (?:only|just|merely|simply|solely)\b", re.IGNORECASE)
_LEAVING_OUT = re.compile(r"(?<!\S)(?:-(?=[^\W\d_]|\")|(?i:minus|sans|except(?: for)?|other than)(?!\S))")
"""What a query has and a report has not: "effusion -pneumothorax", "effusion minus pneumothorax"."""
_TOKENS = re.compile(r"(?<!\S)-(?=[^\W\d_])|[^\s,;:.!?()]+(?:\.\d[^\s,;:!?()]*)*|[,;:.!?()]")
_MARKS = frozenset(",;:.!?()-–—")
_JOINTS = _MARKS | frozenset("and or nor but with w/ plus however although though while".split())
_CLOSING = frozenset(";:.!?") | frozenset({"but", "however", "although", "though", "while"})
"""What ends an "except"."""
_SPOKEN = dict.fromkeys(("but", "however", "although", "though", "while", "nor"), "and")
_FILLERS = frozenset(
    "a an the there is are was were be been being do does did has have had any some evidence sign signs of for to in "
    "on which that who also else other as well me find give search show shows showing see seen all every patient "
    "patients person people anyone case cases image images picture pictures study studies anything everything those "
    "them ones include including included contain contains containing".split()
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """Words of a query that belong together.

    Attributes:
        text: The words, abbreviations written out.
        concepts: Names of the concepts that they name; none when the ontology knows none, and the words count.
        span: `(start, end)` in the query as it was given.
        is_quoted: Whether they stood in quotation marks.
    """

    text: str
    concepts: tuple[str, ...] = ()
    span: tuple[int, int]
    is_quoted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A query, understood.

    Attributes:
        original: As it was given.
        text: For the encoder: what is wanted, without what is denied and without the words that deny; empty when the
            query only excludes.
        want: What is wanted, phrase by phrase.
        exclude: What must not be there.
        expanded: The abbreviations that were written out, or left because nothing decides what they mean.
        notes: What a person should be told, in sentences.
    """

    original: str
    text: str
    want: tuple[Phrase, ...] = ()
    exclude: tuple[Phrase, ...] = ()
    expanded: Expanded
    notes: tuple[str, ...] = ()

    @property
    def only_excludes(self) -> bool:
        """Whether nothing is left to look for."""
        return bool(self.exclude) and not self.text


def parse_query(text: str, modality: str | None = None, *, matcher: PhraseMatcher | None = None) -> Query:
    """Divide a query into what is wanted and what is excluded.

    Quoted words stay together and as they are: nothing in them denies, and no abbreviation is written out. A question
    ("rule out pneumonia") wants what it asks for; what is only doubted, past or resolved is wanted as it is said.

    Args:
        text: What somebody typed.
        modality: The kind of images that is searched, for abbreviations: a DICOM code or a word.
        matcher: Names the concepts; the one of the ontology that comes with this package when None.

    Raises:
        UsageError: the modality is not known.
    """
    expanded = _expanded(text, modality)
    notes = [_ambiguity(span.abbreviation, span.senses) for span in expanded.ambiguous]
    if len(text) > LONGEST:
        notes.append(f"The query is longer than {LONGEST} characters: it was taken as it is, and excludes nothing.")
    if len(text) > LONGEST or is_normal(expanded.text):
        flat = " ".join(expanded.text.split())
        concepts = (NORMAL,) if is_normal(flat) else ()
        want = (Phrase(text=flat, concepts=concepts, span=(0, len(text))),) if flat else ()
        return Query(original=text, text=flat, want=want, expanded=expanded, notes=tuple(notes))
    reading = _Reading(expanded, default_matcher() if matcher is None else matcher)
    kept = reading.kept()
    if reading.exclude and not kept:
        notes.append("Nothing is left to look for: the query only says what must not be there.")
    return Query(
        original=text,
        text=kept,
        want=reading.want,
        exclude=reading.exclude,
        expanded=expanded,
        notes=tuple(notes),
    )


def _ambiguity(abbreviation: str, senses: Sequence[str]) -> str:
    listed = " or ".join(senses) if len(senses) < 3 else f"{', '.join(senses[:-1])} or {senses[-1]}"
    return f"{abbreviation} may stand for {listed}; it was left as it is."


def _expanded(text: str, modality: str | None) -> Expanded:
    """Abbreviations written out, but for those in quotation marks, which are hidden meanwhile."""
    hidden = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    made = expand(_QUOTED.sub(lambda quoted: hidden * len(quoted[0]), text), modality)
    quoted = iter([letter for match in _QUOTED.finditer(text) for letter in match[0]])
    shown = "".join(next(quoted) if letter == hidden else letter for letter in made.text)
    return Expanded(original=text, text=shown, spans=made.spans)


@dataclass(slots=True)
class _Token:
    """A word, mark or quoted phrase."""

    text: str
    start: int
    end: int
    is_quoted: bool = False
    is_denied: bool = False
    is_cue: bool = False

    @property
    def is_joint(self) -> bool:
        return not self.is_quoted and self.text.casefold() in _JOINTS

    @property
    def says_something(self) -> bool:
        is_filler = self.text.casefold() in _FILLERS and self.text != "A"
        return self.is_quoted or not (self.is_joint or self.is_cue or is_filler)


class _Reading:
    """The words of a query, each of which is wanted, denied, or only says so of others."""

    def __init__(self, expanded: Expanded, matcher: PhraseMatcher) -> None:
        self._expanded, self._text = expanded, expanded.text
        self._tokens = list(_tokens(self._text))
        self._ontology = matcher.ontology
        masked = _QUOTED.sub(lambda quoted: "q" * len(quoted[0]), self._text)
        mentions = [m for m in matcher.mentions(masked) if self._kind(m) is not Kind.SITE]
        aside = [m.span() for m in _TECHNIQUE.finditer(masked)]
        aside += [(start, end) for start, end, _ in mentioned(masked)]
        self._mentions = [m for m in mentions if not _is_within((m.start, m.end), aside)]
        self._aside = aside
        normal = self._judge(ReadSentence(_REOPENING.sub(lambda found: found[0] if found[1] else "but ", masked)))
        self.want = tuple(self._phrases(are_denied=False))
        if normal and not self.want:
            self._restore(normal)
            self.want = tuple(self._phrases(are_denied=False))
        self.exclude = tuple(self._phrases(are_denied=True))

    def _kind(self, mention: Mention) -> Kind:
        return self._ontology.concept(mention.concept).kind

    def _judge(self, sentence: ReadSentence) -> list[tuple[int, int]]:
        """Say of every word whether it is denied or denies; where a denial only says that all is well."""
        saying, meant, normal = [m.span() for m in _NOT_ONLY.finditer(self._text)], set(), []
        for mention in self._mentions:
            assertion = sentence.assess(*mention.anchor)
            saying += _speaking(assertion)
            meant |= set() if _speaking(assertion) else set(assertion.cues)
            if _denies(assertion):
                self._deny(mention.start, mention.end)
                if self._kind(mention) is Kind.GENERAL:
                    normal += [(mention.start, mention.end), *assertion.cues]
        anchors = [mention.anchor for mention in self._mentions]
        free = [t for t in self._tokens if not (t.is_joint or _overlaps(t, self._aside) or _overlaps(t, anchors))]
        judged = [(token, sentence.assess(token.start, token.end)) for token in free]
        meant |= {cue for _, assertion in judged if not _speaking(assertion) for cue in assertion.cues}
        for token, assertion in judged:
            around = [span for span in meant if _overlaps(token, [span]) and any(map(_inside(span), assertion.cues))]
            if not around:  # "change" in "no change in the effusion" is not denied
                saying += _speaking(assertion)
                token.is_denied |= _denies(assertion)
        saying = [span for span in saying if span not in meant] + self._left_out()
        for token in self._tokens:
            token.is_cue = _overlaps(token, saying) and not _overlaps(token, self._aside)
        return normal

    def _deny(self, start: int, end: int) -> None:
        for token in self._tokens:
            token.is_denied |= _overlaps(token, [(start, end)])

    def _left_out(self) -> list[tuple[int, int]]:
        """Deny what stands behind a sign that leaves out, up to the next joint; where these signs are.

        An "except" leaves out all to its end: "except those with a chest tube", "except edema and effusion".
        """
        signs = [m.span() for m in _LEAVING_OUT.finditer(self._text)]
        for start, end in signs:
            behind = [token for token in self._tokens if token.start >= end]
            ends = _CLOSING if self._text[start:end].casefold().startswith("except") else _JOINTS
            joint = next((t.start for t in behind if t.is_joint and t.text.casefold() in ends), len(self._text))
            self._deny(end, joint if self._text[start] != "-" or not behind else behind[0].end)
        return signs

    def _restore(self, spans: Sequence[tuple[int, int]]) -> None:
        """Take these words as they are: "no acute abnormality" is what is looked for."""
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        for token in self._tokens:
            if _is_within((token.start, token.end), [(first, last)]):
                token.is_denied = token.is_cue = False
        self._mentions = [
            replace(m, concept=NORMAL) if m.concept == ABNORMAL else m
            for m in self._mentions
            if m.concept == ABNORMAL or self._kind(m) is not Kind.GENERAL
        ]

    def _runs(self, *, are_denied: bool) -> Iterator[list[_Token]]:
        """Wanted or denied words that stand together, without fillers at their ends."""
        run: list[_Token] = []
        for token in [*self._tokens, None]:
            if token is not None and not token.is_joint and not token.is_cue and token.is_denied == are_denied:
                run.append(token)
                continue
            if token is not None and token.is_cue and run and are_denied and token.is_denied:
                continue
            while run and not run[0].says_something:
                run.pop(0)
            while run and not run[-1].says_something:
                run.pop()
            if run:
                yield run
            run = []

    def _phrases(self, *, are_denied: bool) -> Iterator[Phrase]:
        for run in self._runs(are_denied=are_denied):
            span = (run[0].start, run[-1].end)
            named = [m.concept for m in self._mentions if m.start < span[1] and span[0] < m.end]
            quoted = len(run) == 1 and run[0].is_quoted
            text = run[0].text[1:-1] if quoted else " ".join(token.text for token in run)
            source = self._expanded.source(*span)
            yield Phrase(text=text, concepts=tuple(dict.fromkeys(named)), span=source, is_quoted=quoted)

    def kept(self) -> str:
        """The text for the encoder: all of it when nothing is denied or asked, else what is wanted, joined."""
        if not any(token.is_denied or token.is_cue for token in self._tokens):
            return " ".join(_QUOTED.sub(lambda quoted: quoted[0][1:-1], self._text).split())
        text, last = "", 0
        for run in self._runs(are_denied=False):
            words = " ".join(token.text[1:-1] if token.is_quoted else token.text for token in run)
            joints = [t.text for t in self._tokens if t.is_joint and last <= t.start and t.end <= run[0].start]
            if text and joints:
                spoken = [joint for joint in joints if joint not in _MARKS]
                text += f" {_SPOKEN.get(spoken[-1], spoken[-1])}" if spoken else joints[-1]
            text += f" {words}" if text else words
            last = run[-1].end
        return text


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    for quoted in [*_QUOTED.finditer(text), None]:
        for match in _TOKENS.finditer(text, place, quoted.start() if quoted else len(text)):
            yield _Token(match[0], *match.span())
        if quoted:
            yield _Token(quoted[0], *quoted.span(), is_quoted=True)
            place = quoted.end()


def _denies(assertion: Assertion) -> bool:
    """Whether it is said to be absent now; what was there and has gone is looked for by its words."""
    return (
        assertion.presence is Presence.ABSENT
        and assertion.change is not Change.RESOLVED
        and assertion.temporality is not Temporality.HYPOTHETICAL
    )


def _speaking(assertion: Assertion) -> tuple[tuple[int, int], ...]:
    """The words that deny or ask."""
    return assertion.cues if _denies(assertion) or assertion.temporality is Temporality.HYPOTHETICAL else ()


def _overlaps(token: _Token, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < token.end and token.start < end for start, end in spans)


def _inside(span: tuple[int, int]) -> Callable[[tuple[int, int]], bool]:
    return lambda inner: _is_within(inner, [span]) and inner != span


def _is_within(span: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in spans)
