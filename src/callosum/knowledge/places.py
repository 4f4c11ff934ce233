"""Where in the body a finding is: the site and the side that its sentence gives it.

A site before a finding ("right lower lobe opacity") is its own unless a comma or a "with" comes between; one after it
("effusion and atelectasis at the left base") is that of all findings before it, unless it begins another ("effusion,
left base atelectasis"). A site that the finding cannot be at, in another part of the body, is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from callosum.core.finding import Laterality
from callosum.knowledge.assertion import ReadSentence
from callosum.knowledge.matcher import Mention
from callosum.knowledge.ontology import Concept, Ontology

_SIDES = {
    "left": Laterality.LEFT,
    "lt": Laterality.LEFT,
    "leftward": Laterality.LEFT,
    "right": Laterality.RIGHT,
    "rt": Laterality.RIGHT,
    "rightward": Laterality.RIGHT,
    "bilateral": Laterality.BILATERAL,
    "bilaterally": Laterality.BILATERAL,
    "both": Laterality.BILATERAL,
}
_PARTING = frozenset({",", "with", "without", "w/", "(", "which"})
_JOINING = frozenset({"and", "or", "in", "at", "on", "of", "to", "within", "along", "near", "over"})
_FURTHEST = 14
Span = tuple[int, int]


class Places:
    """The sites and sides of a sentence, and whose they are.

    Args:
        read: The sentence.
        sites: Mentions of sites.
        things: Mentions of everything else.
        ontology: What is where.
    """

    def __init__(
        self, read: ReadSentence, sites: Sequence[Mention], things: Sequence[Mention], ontology: Ontology
    ) -> None:
        self._read = read
        self._ontology = ontology
        self._sites = [(read.tokens_of(m.start, m.end), ontology.concept(m.concept)) for m in sites]
        self._sides = [((at, at + 1), _SIDES[word]) for at, word in enumerate(read.words) if word in _SIDES]
        self._starts = {read.tokens_of(m.start, m.end)[0] for m in things}

    def of(self, mention: Mention) -> tuple[str, Laterality]:
        """The site's name, empty when none is given, and the side."""
        place = self._read.tokens_of(mention.start, mention.end)
        known = mention.concept in self._ontology
        concept = self._ontology.concept(mention.concept) if known else None
        possible = [(span, site) for span, site in self._sites if concept is None or self._may_be_at(concept, site)]
        nearest = self._nearest(place, (span for span, _ in possible))
        site = next((site for span, site in possible if span == nearest), None)
        side = self._side(place)
        if side is Laterality.UNSTATED and site is not None:
            side = site.laterality
        if side is Laterality.UNSTATED and concept is not None:
            side = concept.laterality
        if concept is not None and not concept.may_be(side):
            side = Laterality.UNSTATED
        return ("" if site is None else self._with_side(site, side)), side

    def _with_side(self, site: Concept, side: Laterality) -> str:
        """The name of a site of that side where there is one: the left one of the lower lobes."""
        sided = f"{side} {site.name}"
        return sided if side is not Laterality.UNSTATED and sided in self._ontology else site.name

    def _may_be_at(self, concept: Concept, site: Concept) -> bool:
        """Whether a site is in the part of the body where a concept is."""
        if not concept.site or not site.parents:
            return True
        usual = {concept.site, *self._ontology.ancestors(concept.site)}
        return bool(usual & {site.name, *self._ontology.ancestors(site.name)})

    def _side(self, place: Span) -> Laterality:
        nearest = self._nearest(place, (span for span, _ in self._sides))
        if nearest is None:
            return Laterality.UNSTATED
        found = [side for span, side in self._sides if abs(span[0] - nearest[0]) <= 4 and self._joined(span, nearest)]
        return found[0] if len(set(found)) == 1 else Laterality.BILATERAL

    def _joined(self, one: Span, other: Span) -> bool:
        """Whether two sides are named together: "right and left", "left greater than right"."""
        low, high = min(one, other)[1], max(one, other)[0]
        between = range(low, high)
        return one == other or not any(k in self._starts or self._read.words[k] in (",", ".", ";") for k in between)

    def _nearest(self, place: Span, spans: Iterable[Span]) -> Span | None:
        first, after = place
        low, high = self._read.clause(first, after, _FURTHEST)
        best: tuple[int, Span] | None = None
        for span in spans:
            if span[0] >= first and span[1] <= after:
                return span
            if not low <= span[0] < high:
                continue
            is_before = span[1] <= first
            if not (self._is_own_before(span, first) if is_before else self._is_own_after(span)):
                continue
            distance = first - span[1] if is_before else span[0] - after
            if best is None or distance < best[0]:
                best = distance, span
        return None if best is None else best[1]

    def _is_own_before(self, span: Span, first: int) -> bool:
        return not any(self._read.words[k] in _PARTING for k in range(span[1], first))

    def _is_own_after(self, span: Span) -> bool:
        """Whether a place after a finding does not begin the next one."""
        for k in range(span[1], min(len(self._read.words), span[1] + 5)):
            if k in self._starts:
                return False
            if self._read.words[k] in _PARTING or self._read.words[k] in _JOINING or self._read.words[k] in ".;:":
                return True
        return True
