"""Where headings are in a text: at the beginning of a line, alone on one, or in the middle of running text.

What is asked of a heading grows as the place says less. At the beginning of a line a known phrase with a mark behind
it (colon, dash, bar, tab) is enough; alone on a line it needs capitals, a capital or a mark; in running text it needs
capitals and a colon, or a sentence that ended before it, or the style in which the same text began. Words that need a
noun ("no acute ... findings:") are never followed by a heading. Every loop moves forward through the text and every
look back is bounded, so that time grows with length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from callosum.core.report import SEARCHABLE
from callosum.core.report import SectionKind as Kind
from callosum.data.report.vocabulary import LAST_WORDS, MAX_PHRASE, Meaning, Strength, may_begin, meaning_of

LINE = re.compile(r"[^\n\r\v\f\x85\u2028\u2029]+")
RULE = re.compile(r"[ \t]*[=\-_~*#.–—]{5,}[ \t]*")
"""A line drawn in characters."""

Case = Literal["capitals", "title", "lower"]
Mark = Literal["colon", "bracket", "dash", "gap", "dot", "alone", "none"]

FORMAT = r"</?(?:b|strong|i|em|u|p|h[1-6]|div|span|br|li|ul|font|center|t[dhr])\b[^<>\n]{0,40}>"
_PREFIX = re.compile(
    rf"(?:{FORMAT}|[ \t\xa0>|•·▪►»*_#=~+\-–—\[(\"<{{]|(?:\d{{1,2}}|[IVX]{{1,4}}|[A-Za-z])[.)](?=[ \t]))*"
)
_CLOSING = r"(?:[*_\])\"}]|</?\w{1,10}>)"
_MARKS: tuple[tuple[Mark, re.Pattern[str]], ...] = (
    ("colon", re.compile(rf"[ \t]*{_CLOSING}{{0,6}}[ \t]*(?::+[-–—]*|：|-+>|=+>?|→|[|»]|>+){_CLOSING}{{0,6}}")),
    ("bracket", re.compile(r"[\])}>](?:[ \t]*[-–—]+)?(?=\s)")),
    ("dash", re.compile(rf"{_CLOSING}?(?:[ \t]+[-–—]+|[-–—]{{2,}}|[–—])(?=\s|$)|[–—](?=\w)")),
    ("gap", re.compile(rf"{_CLOSING}?(?:\t+| {{2,}})[ \t]*")),
    ("dot", re.compile(rf"{_CLOSING}{{0,6}}\.(?=\s|$)")),
)
_TAIL = re.compile(rf"(?:{FORMAT}|[ \t\xa0*_#=~:.>|»\-–—\])\"}}])*$")
_LETTERS = re.compile(r"[^\W\d_]+")
_OPENING = re.compile(r"(?:\*{1,3}|_{2}|</?\w{1,8}>|[\[|•(]){1,4}[ \t]*$")
_NUMBERED = re.compile(r"(?<!\S)\(?(?:\d{1,2}|[IVX]{1,4}|[A-Za-z])[.)][ \t]+$")
_INLINE = re.compile(
    r"(?<![^\W\d_])([^\W\d_]{3,18})(?![^\W\d_])((?:[ \t]?\([^()\n]{0,30}\))?(?:\*\*|__|</\w{1,10}>|[\])\"])?)"
    r"[ \t]?(?:(:{1,3}|：|=(?= ))|(\t)|[ \t]?[-–—]{1,3}(?=\s))(?:\*\*|__|</\w{1,10}>)?"
)
_BARE = re.compile(r"(?<=\s)([A-Z]{4,}) (?=[ ]?(?:[A-Z]?[a-z]|[\d_\[(]|[A-Z]{1,2}\b|[A-Z]+:))")
_CAPITALS = re.compile(r"[A-Z][A-Z/&'’\-]*(?:[ ]+(?:[A-Z/&][A-Z/&'’\-]*))*(?= )")
_BOUNDARY = re.compile(r"[.;:?!|•)\]>\"*_][\s*_\"]|\s{2,}|[\t\n\r]|>|\*\*| [-–—] ")
_LATER = re.compile(
    r"(?i:late addendum|addend(?:um|a)|wet read|preliminary read)\b"
    r"(?P<rest>(?:[^:\n\r]|:(?=\d)){0,80}?)(?P<mark>:(?!\d)|(?=[\n\r]|$))"
)
_SAYS_WHO = re.compile(r"\s*(?:#|no\.?|number|by|on|dated|at|\(|\d|_|\[|version|from|$)", re.IGNORECASE)

_DETERMINERS = frozenset("no the a an these those this any".split())
_WANTS_A_NOUN = _DETERMINERS | frozenset(
    "of for in on with without and or to from by as is are was were be her his their our my such other all both each "
    "acute significant abnormal new above following below incidental pertinent positive physical "
    "social family past prior previous additional relevant important unexpected associated critical similar same "
    "characteristic typical specific nonspecific suspicious worrisome concerning related multiple several "
    "imaging radiographic sonographic your that which under see per under limited further direct interval main key "
    "kein keine keinen die der das des pas de la le les sin los las el nessun il lo nao os as geen het een".split()
)
_SAYS_MORE = frozenset(
    "is are was were be been of in to with and or for on at by that which may might can could would will has have had "
    "as from but if suggest suggests suggesting consistent compatible include includes made section above below do "
    "not does did who when than then it".split()
)
MIN_WRAPPED = 50
"""Characters; a line that is shorter was not broken to fit a page."""
_ENDS = tuple(".!?:;\"')]}>*_|")
_NOTHING_SAID = frozenset("none unknown na unavailable available negative".split())
ORGANS = frozenset(
    "lung lungs lungs and pleura|lungs pleura|lung parenchyma|pleura|pleural space|pleural spaces|airways|airway|"
    "trachea|heart|heart and mediastinum|heart mediastinum|cardiac|cardiomediastinal silhouette|cardiac silhouette|"
    "heart size|mediastinum|mediastinum and hila|hila|hilum|aorta|great vessels|vessels|vasculature|pulmonary "
    "vasculature|bones|bone|bones and soft tissues|osseous structures|bony structures|skeleton|soft tissue|"
    "soft tissues|chest wall|diaphragm|upper abdomen|lines and tubes|lines tubes|tubes and lines|support devices|"
    "devices|liver|gallbladder|bile ducts|biliary|biliary tree|spleen|pancreas|adrenals|adrenal glands|kidneys|kidney|"
    "right kidney|left kidney|bladder|urinary bladder|uterus|ovaries|adnexa|prostate|bowel|gi tract|stomach|appendix|"
    "peritoneum|retroperitoneum|lymph nodes|nodes|thyroid|brain|brain parenchyma|parenchyma|ventricles|"
    "extra axial spaces|orbits|sinuses|paranasal sinuses|mastoids|calvarium|skull|skull base|vertebrae|vertebral "
    "bodies|discs|disc spaces|spinal cord|spinal canal|alignment|joints|joint|ligaments|tendons|menisci|cartilage|"
    "muscles|lungs|lung|right breast|left breast".split("|")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """A heading in a text.

    Attributes:
        start: First character, marks before it left out.
        name_end: One past the last character of its words.
        end: Where its text may begin: past colon, closing marks and a line drawn under it.
        opening: First character of the marks before it; what went before ends there.
        meaning: What it says.
    """

    start: int
    name_end: int
    end: int
    opening: int
    meaning: Meaning


class HeadingFinder:
    """Walks through one text from beginning to end and collects its headings and the labels of organs."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.headings: list[Heading] = []
        self.labels: list[tuple[int, int]] = []
        self._is_flat = not re.search(r"\S\s*[\n\r\v\f\x85\u2028\u2029]\s*\S", text)
        self._styles: set[tuple[Case, Mark]] = set()
        self._shown = False
        self._last_line = ""
        self._passed_over = -1

    def find(self) -> HeadingFinder:
        """Walk."""
        for line in LINE.finditer(self.text):
            start, end = line.span()
            if not self.text[start:end].strip():
                continue
            at = self._at_line_start(start, end)
            self._within_line(at, end)
            self._last_line = self.text[start:end]
        return self

    def _at_line_start(self, start: int, end: int) -> int:
        """Take a heading that the line begins with; return where the rest of the line begins."""
        words = _PREFIX.match(self.text, start, end)
        at = words.end() if words else start
        if at == end or not (self.text[at].isupper() or may_begin(_first_word(self.text, at, end))):
            return at
        heading = self._later_text(start, at, end) or self._marked(start, at, end) or self._alone(start, at, end)
        heading = heading or self._bare(start, at, end)
        self._passed_over = -1 if heading else at
        return self._take(heading) if heading else at

    def _take(self, heading: Heading) -> int:
        """Keep a heading, unless it repeats or is part of the one it follows without a word between them."""
        before = self.headings[-1] if self.headings else None
        if before and not self.text[before.end : heading.opening].strip():
            same = before.meaning.kind is heading.meaning.kind
            asked = before.meaning.kind in (Kind.INDICATION, Kind.HISTORY)
            if (same and heading.meaning.kind) or (asked and heading.meaning.strength is Strength.LINE):
                return heading.end
        if before and heading.meaning.strength is Strength.QUALIFIED and before.meaning.kind is Kind.FINDINGS:
            if heading.meaning.kind is Kind.FINDINGS:
                return heading.end
        self.headings.append(heading)
        if heading.meaning.kind in SEARCHABLE and heading.meaning.strength is not Strength.WEAK:
            self._shown = True
        return heading.end

    def _fits(self, meaning: Meaning | None, *, at: int, case: Case) -> bool:
        """Whether a phrase that stands at the beginning of a line is a heading there."""
        if meaning is None or (meaning.strength is Strength.WEAK and (self._shown or case == "lower")):
            return False
        if case == "capitals":
            return True
        before = self._last_line.rstrip()
        gap = self.text[max(0, at - 200) : at].rstrip(" \t\xa0>|*_#-")
        if len(before) < MIN_WRAPPED or before.endswith(_ENDS) or gap.endswith(("\n\n", "\r\n\r\n", "\r\r", "\n \n")):
            return True
        wanting = _DETERMINERS if case == "title" else _WANTS_A_NOUN
        return before.rsplit(None, 1)[-1].casefold() not in wanting

    def _marked(self, opening: int, at: int, end: int) -> Heading | None:
        """A phrase and a mark behind it: "FINDINGS: ", "findings - ", "| Findings | "."""
        text = self.text
        limit = min(end, at + MAX_PHRASE + 8)
        for mark, pattern in _MARKS:
            for found in _few(pattern, text, at, limit):
                phrase = text[at : found.start()]
                case = case_of(phrase)
                if mark == "dot" and (case == "lower" or phrase[-1].isdigit()):
                    continue
                if mark == "bracket" and not set("[({<").intersection(text[opening:at]):
                    continue
                if mark == "gap" and _first_word(text, found.end(), end) in _SAYS_MORE:
                    continue
                meaning = meaning_of(phrase, mend=case != "lower" or mark in ("colon", "bracket", "dash"))
                if mark == "dot" and case == "title" and meaning and meaning.strength < Strength.STRONG:
                    continue
                if meaning and self._fits(meaning, at=at, case=case):
                    self._styles.add((case, mark))
                    return self._heading(opening, at, found.start(), found.end(), meaning)
                if mark == "colon" and not meaning and _organ(phrase):
                    self.labels.append((at, found.start()))
        return None

    def _alone(self, opening: int, at: int, end: int) -> Heading | None:
        """A phrase that has the line to itself, with or without marks around it."""
        tail = _TAIL.search(self.text, at, min(end, at + MAX_PHRASE + 80))
        if not tail or tail.end() != end or tail.start() - at > MAX_PHRASE:
            return None
        phrase = self.text[at : tail.start()]
        case = case_of(phrase)
        is_marked = bool(self.text[opening:at].strip(" \t\xa0") and tail.group().strip()) or self._is_underlined(end)
        meaning = meaning_of(phrase, mend=case != "lower")
        if not self._fits(meaning, at=at, case=case) or meaning is None:
            return None
        if case == "lower" and not is_marked and self._last_line.strip() and not self._last_line.strip().endswith("."):
            return None
        if "." in tail.group() and case != "capitals":
            return None
        self._styles.add((case, "alone"))
        return self._heading(opening, at, tail.start(), end, meaning)

    def _bare(self, opening: int, at: int, end: int) -> Heading | None:
        """Capitals that begin a line whose other words are not in capitals: "IMPRESSION Normal chest."."""
        words = _CAPITALS.match(self.text, at, min(end, at + MAX_PHRASE))
        if not words:
            return None
        phrase = words.group()
        while phrase:
            meaning = meaning_of(phrase)
            stop = at + len(phrase)
            following = self.text[stop:end].lstrip()
            if meaning and meaning.kind and meaning.strength is Strength.STRONG and following:
                says_more = _first_word(self.text, stop, end) in _SAYS_MORE
                if says_more or following[:1].islower() or not any(c.islower() for c in following[:200]):
                    return None
                self._styles.add(("capitals", "none"))
                return self._heading(opening, at, stop, stop, meaning)
            phrase = phrase.rpartition(" ")[0].rstrip()
        return None

    def _later_text(self, opening: int, at: int, end: int) -> Heading | None:
        """Find "ADDENDUM #2 by ... on ...:" and "WET READ: ...", which carry who and when in the heading."""
        found = _LATER.match(self.text, at, end)
        if not found or case_of(found.group()) == "lower":
            return None
        rest, mark = found["rest"], found["mark"]
        is_capitals = _is_capitals(self.text[at : at + 6])
        if not _SAYS_WHO.match(rest) or (rest.strip() and not mark and not is_capitals):
            return None
        kind = Kind.ADDENDUM if "ddend" in found.group().casefold() else Kind.WET_READ
        return self._heading(opening, at, found.end("rest"), found.end(), Meaning(kind=kind))

    def _within_line(self, at: int, end: int) -> None:
        """Take the headings of running text."""
        if self._is_flat and ("capitals", "none") in self._styles:
            matches = sorted((*_INLINE.finditer(self.text, at, end), *_BARE.finditer(self.text, at, end)), key=_start)
        else:
            matches = list(_INLINE.finditer(self.text, at, end))
        for found in matches:
            word = found.group(1)
            if found.start() < at:
                continue
            if word.casefold() in LAST_WORDS or (len(word) > 5 and word[0].isupper()):
                heading = self._inline(found, at)
                at = self._take(heading) if heading else at

    def _inline(self, found: re.Match[str], earliest: int) -> Heading | None:
        """The longest known phrase that ends at a mark in running text."""
        text = self.text
        low = max(earliest, found.end(1) - MAX_PHRASE)
        boundary = low == earliest and not text[max(0, low - 1) : low].isalnum()
        for edge in _BOUNDARY.finditer(text, low, found.end(1)):
            low, boundary = edge.end(), True
        words = list(re.finditer(r"\S+", text[low : found.end(1)]))[-6:]
        mark: Mark = "none" if found.re is _BARE else "colon" if found[3] else "gap" if found[4] else "dash"
        for index, word in enumerate(words):
            marks = len(word.group()) - len(word.group().lstrip("[<#*_"))
            at = low + word.start() + marks
            if at == self._passed_over:
                continue
            phrase = text[at : found.end(1)]
            case = case_of(phrase)
            meaning = meaning_of(phrase, mend=case != "lower" and mark != "none" and index == len(words) - 1)
            if meaning is None or not phrase[:1].isalpha():
                continue
            before = "" if marks or (index == 0 and boundary) else words[index - 1].group() if index else "?"
            if self._is_inline(meaning, case, mark, before):
                return self._heading(
                    self._opening(at), at, found.end(2) if mark != "none" else found.end(1), found.end(), meaning
                )
        return None

    def _is_inline(self, meaning: Meaning, case: Case, mark: Mark, before: str) -> bool:
        """Whether a phrase in running text is a heading, from its case, its mark and the word before it."""
        if meaning.strength < Strength.QUALIFIED:
            return False
        if meaning.strength is Strength.QUALIFIED and (before.isupper() if case == "capitals" else before):
            return False
        word = before.strip(".,;:()[]*_").casefold()
        stands_out = case != "lower" and not before[:1].isupper() and word not in _DETERMINERS
        if word in _WANTS_A_NOUN and not stands_out:
            return False
        if case == "capitals" and mark == "colon":
            return True
        is_known = (case, mark) in self._styles
        if not before:
            is_title = case == "title" and mark == "colon" and meaning.strength is Strength.STRONG
            return is_known or is_title or (case == "capitals" and mark == "dash")
        if case == "title" and word not in _NOTHING_SAID and before[:1].isupper() and not _is_capitals(before):
            return False
        return is_known and self._is_flat

    def _opening(self, at: int) -> int:
        """Where the marks before a heading in running text begin."""
        found = _OPENING.search(self.text, max(0, at - 40), at)
        if found or not self.headings:
            return found.start() if found else at
        first = self.text[self.headings[0].opening : self.headings[0].start]
        if _NUMBERED.search(first):
            found = _NUMBERED.search(self.text, max(0, at - 12), at)
            return found.start() if found else at
        return at - len(first) if first.strip() and self.text.endswith(first, 0, at) else at

    def _is_underlined(self, end: int) -> bool:
        following = LINE.search(self.text, end)
        return bool(
            following and following.start() - end <= 2 and re.fullmatch(r"\s*[=\-~_*]{3,}\s*", following.group())
        )

    def _heading(self, opening: int, at: int, name_end: int, end: int, meaning: Meaning) -> Heading:
        name_end = at + len(self.text[at:name_end].rstrip(" \t*_"))
        if end == len(self.text) or self.text[end] in "\n\r":
            following = LINE.search(self.text, end)
            if following and following.start() - end <= 2:
                drawn = re.fullmatch(r"\s*[=\-~_*]{3,}\s*", following.group())
                end = following.end() if drawn else end
        return Heading(start=at, name_end=name_end, end=end, opening=opening, meaning=meaning)


def case_of(phrase: str) -> Case:
    """How a phrase is written."""
    if _is_capitals(phrase):
        return "capitals"
    return "title" if phrase[:1].isupper() else "lower"


def _is_capitals(phrase: str) -> bool:
    """True for two capitals or more and no small letter."""
    return phrase.isupper() and sum(letter.isupper() for letter in phrase) > 1


def _organ(phrase: str) -> bool:
    words = phrase.replace("/", " ").replace(",", " ").replace("&", "and").casefold().split()
    return " ".join(words) in ORGANS and phrase[:1].isupper()


def _first_word(text: str, at: int, end: int) -> str:
    found = _LETTERS.search(text, at, min(end, at + 30))
    return found.group().casefold() if found else ""


def _few(pattern: re.Pattern[str], text: str, at: int, end: int) -> list[re.Match[str]]:
    """The first four matches."""
    found: list[re.Match[str]] = []
    for match in pattern.finditer(text, at, end):
        found.append(match)
        if len(found) == 4:
            break
    return found


def _start(match: re.Match[str]) -> int:
    return match.start()
