"""Classes to prompts: sentences of one in whom a thing is present, and of one in whom it is absent.

Degrees, kinds and sites around a finding's name, of which a few are drawn, are how MedCLIP makes prompts (Wang et al.,
EMNLP 2022, §3.4) and GLoRIA before it (Huang et al., ICCV 2021, §3.5); pairs of "X" and "no X" are CheXzero's (Tiu et
al., Nature Biomedical Engineering 2022). The words are this package's own. Text towers of this kind hardly see a "no",
so the sentences of absence also say what is there instead ("the costophrenic angles are sharp"). A normal class is
never denied or graded: its opposite is an abnormal one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from callosum.core.errors import NotFound, UsageError
from callosum.core.finding import Presence
from callosum.knowledge.grammar import Number, verb
from callosum.knowledge.matcher import matcher_of
from callosum.knowledge.modality import Modality, modalities, modality_of
from callosum.knowledge.ontology import Concept, Kind, Ontology, read_ontology
from callosum.knowledge.schemes import Role, Scheme, read_schemes, scheme_of
from callosum.knowledge.wording import Wording, in_words, wording, written

_T = TypeVar("_T")
FRAMES = (
    ("{name}", "no {name}"),
    ("there {is} {one}", "there {is} no {name}"),
    ("{one} {is} seen", "no {name} {is} seen"),
    ("evidence of {name}", "no evidence of {name}"),
    ("positive for {name}", "negative for {name}"),
    ("{image} with {one}", "{image} without {name}"),
    ("{image} showing {one}", "{image} showing no {name}"),
)
"""A sentence of presence beside the one of absence; `{one}` is the name with its article."""
PLAIN = ("{name}", "{image} showing {name}", "{image} of {name}")
"""For a class that the ontology does not know: nothing that needs to know what sort of word it is."""
NORMAL_STUDY = "normal study"
UNKNOWN = "The ontology does not know this class: its name stands in plain templates, without degrees, kinds or sites."
_NORMAL = re.compile(
    r"(?:no (?:acute |active |significant |abnormal )?(?:findings?|abnormalit(?:y|ies)|pathology|disease)"
    r"(?: detected| seen)?|nothing (?:acute|abnormal|wrong)|none|normal|healthy|unremarkable|negative)"
)
_NO = re.compile(r"(?:no|without|absence of|absent|negative for|free of)\s+(?:evidence of\s+)?(?=\w)")
_HEALTHY = re.compile(r"(?:normal|healthy|unremarkable)\s+(?=\w)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptSet:
    """The prompts of one class.

    Attributes:
        name: The class as it was asked for.
        concept: Its name in the ontology; empty when that does not know it.
        positive: Sentences of presence, the plainest first.
        negative: Sentences of absence, the plainest first.
        pairs: Sentences of presence, each beside one of absence that differs in nothing else.
        note: What a reader should know of how they were made; empty when there is nothing.
    """

    name: str
    concept: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    note: str = ""

    def opposite(self, name: str) -> PromptSet:
        """The prompts of the class that is there when this one is not."""
        pairs = tuple((absent, present) for present, absent in self.pairs)
        return replace(self, name=name, positive=self.negative, negative=self.positive, pairs=pairs)


def prompt_set(
    name: str,
    *,
    modality: str | None = None,
    scheme: str | None = None,
    limit: int = 10,
    seed: int = 0,
    ontology: Ontology | None = None,
) -> PromptSet:
    """The prompts of a class.

    Args:
        name: A concept, any of its names, or a class of `scheme`. "No X" is the opposite of "X".
        modality: What the pictures are: a DICOM code or a word; "image" is written when it is not said.
        scheme: Label scheme that the class belongs to, which may also say what the pictures are.
        limit: Most sentences of each sort; the plainest are always among them.
        seed: Which others are; fewer are the beginning of more.
        ontology: Concepts; those that come with this package when None.

    Raises:
        UsageError: the name is empty or that of a scheme, the limit is less than one, or the modality or scheme is not
            known.
        NotFound: the scheme has no such class.
    """
    cleaned = _cleaned(name)
    if not cleaned or limit < 1:
        message = "Prompts are made for a class with a name, at least one of them."
        raise UsageError(message)
    known = read_ontology() if ontology is None else ontology
    chosen = scheme_of(scheme) if scheme else None
    kind = modality_of(modality or _images_of(scheme))
    maker = _Maker(kind=kind, limit=limit, seed=seed, ontology=known)
    if (whole := read_schemes().get(name)) is not None and maker.is_unknown(cleaned):
        message = f"Prompts are made for a class; {name} is a scheme of {len(whole.classes)} classes."
        raise UsageError(message, hint=f"Choose a class of scheme {name}: {', '.join(whole.classes)}.")
    return replace(maker.make(cleaned) if chosen is None else maker.of_scheme(cleaned, chosen), name=name)


def prompt_sets(
    scheme: str, *, modality: str | None = None, limit: int = 10, seed: int = 0, ontology: Ontology | None = None
) -> dict[str, PromptSet]:
    """The prompts of every class of a scheme, by its published name; see `prompt_set`.

    Raises:
        UsageError: the limit is less than one, or the modality is not known.
        NotFound: there is no such scheme.
    """
    return {
        name: prompt_set(name, modality=modality, scheme=scheme, limit=limit, seed=seed, ontology=ontology)
        for name in scheme_of(scheme).classes
    }


def _cleaned(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _images_of(scheme: str | None) -> str | None:
    """What the pictures of a scheme are called."""
    return next((kind.name for kind in modalities().values() if scheme in kind.schemes), None)


def is_normal(name: str) -> bool:
    """Whether a class or a query says only that nothing is the matter: "No Finding", "normal"."""
    return bool(_NORMAL.fullmatch(" ".join(name.casefold().split()).strip(" .")))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Maker:
    """What is the same for all classes of one call."""

    kind: Modality | None
    limit: int
    seed: int
    ontology: Ontology

    def of_scheme(self, name: str, scheme: Scheme) -> PromptSet:
        published = {_cleaned(each).casefold(): each for each in scheme.classes}.get(name.casefold())
        if published is None:
            message = f"The scheme {scheme.name} has no class of that name."
            raise NotFound(message, hint=f"It has {', '.join(scheme.classes)}.")
        concepts = [concept for concept, about in scheme.roots.items() if about == published]
        if scheme.roles[published] is Role.NORMAL:
            return self._normal(name, [concept for concept in concepts if concept != NORMAL_STUDY])
        if len(concepts) > 1 and name.casefold() in written():
            return self._worded(name, written()[name.casefold()], concept="")
        concepts.sort(key=lambda concept: concept not in written())
        return self._finding(name, self.ontology.concept(concepts[0]))

    def make(self, name: str) -> PromptSet:
        flat = name.casefold()
        concept = self._concept(flat)
        if is_normal(flat) or (concept and concept.name == NORMAL_STUDY):
            return self._normal(name)
        if flat in written():
            return self._worded(name, written()[flat], concept=concept.name if concept else "")
        if concept is not None:
            return self._statement(name, concept) if concept.kind is Kind.NORMAL else self._finding(name, concept)
        if denied := _NO.match(flat):
            return self.make(name[denied.end() :]).opposite(name)
        return self._healthy(name) if _HEALTHY.match(flat) else self._unknown(name)

    def is_unknown(self, name: str) -> bool:
        """Whether the ontology has no words for a class."""
        return self._concept(name.casefold()) is None

    def _concept(self, flat: str) -> Concept | None:
        """The concept of that name, or the one whose words are the whole of it."""
        if flat in self.ontology:
            return self.ontology.concept(flat)
        for mention in matcher_of(self.ontology).mentions(flat):
            if (mention.start, mention.end) == (0, len(flat)):
                return self.ontology.concept(mention.concept)
        return None

    def _finding(self, name: str, concept: Concept) -> PromptSet:
        return self._worded(name, wording(concept), concept=concept.name)

    def _worded(self, name: str, words: Wording, *, concept: str) -> PromptSet:
        plain = words.nouns[0]
        pairs = [pair for noun in words.nouns for pair in self._pairs(noun, words.number_of(noun))]
        pairs += [(plain, absent) for absent in words.absent]
        present = [*(present for present, _ in pairs), *words.phrases()]
        return self._set(name, present, [absent for _, absent in pairs], pairs, concept=concept)

    def _statement(self, name: str, concept: Concept) -> PromptSet:
        """A concept that says that something is as it should be: its opposite is what it denies."""
        rules = [rule for rule in self.ontology.implications if rule.concept == concept.name]
        denied = [rule.other for rule in rules if (rule.presence, rule.becomes) == (Presence.PRESENT, Presence.ABSENT)]
        if not denied:
            return replace(self._healthy(name), concept=concept.name)
        other = self._finding(name, self.ontology.concept(denied[0]))
        pairs = [(concept.name, absent) for absent in other.positive]
        return self._set(name, [concept.name, *other.negative], other.positive, pairs, concept=concept.name)

    def _normal(self, name: str, statements: Sequence[str] = ()) -> PromptSet:
        """Nothing is the matter: never graded, never denied."""
        kind = self.kind
        image = kind.nouns[0] if kind else "image"
        pairs = [(stated, f"ab{stated}") for stated in statements if stated.startswith("normal ")]
        pairs += zip(kind.normal, kind.abnormal, strict=True) if kind else ()
        pairs += [
            (f"normal {image}", f"abnormal {image}"),
            ("no abnormality", "abnormality"),
            (f"{image} without abnormality", f"{image} with an abnormality"),
            ("no finding", "pathological finding"),
            (f"unremarkable {image}", f"pathological {image}"),
        ]
        return self._set(name, [p for p, _ in pairs], [n for _, n in pairs], pairs, concept=NORMAL_STUDY)

    def _healthy(self, name: str) -> PromptSet:
        """Normal something that is no concept: never graded, and its opposite is an abnormal one."""
        rest = _HEALTHY.sub("", name, count=1)
        words = zip(("normal", "healthy", "unremarkable"), ("abnormal", "diseased", "pathological"), strict=True)
        pairs = [(f"{well} {rest}", f"{ill} {rest}") for well, ill in words]
        return self._set(name, [p for p, _ in pairs], [n for _, n in pairs], pairs, concept="")

    def _unknown(self, name: str) -> PromptSet:
        image = self.kind.nouns[0] if self.kind else "image"
        present = [frame.format(name=name, image=image) for frame in PLAIN]
        pairs = [(name, f"no {name}"), (f"{image} showing {name}", f"{image} without {name}")]
        return replace(self._set(name, present, [n for _, n in pairs], pairs, concept=""), note=UNKNOWN)

    def _pairs(self, noun: str, number: Number) -> list[tuple[str, str]]:
        image = self.kind.nouns[0] if self.kind else "image"
        words = {"name": noun, "one": in_words(noun, number), "is": verb(number), "image": image}
        return [(present.format(**words), absent.format(**words)) for present, absent in FRAMES]

    def _set(
        self,
        name: str,
        present: Iterable[str],
        absent: Iterable[str],
        pairs: Iterable[tuple[str, str]],
        *,
        concept: str,
    ) -> PromptSet:
        return PromptSet(
            name=name,
            concept=concept,
            positive=self._drawn(present),
            negative=self._drawn(absent),
            pairs=self._drawn(pairs),
        )

    def _drawn(self, sentences: Iterable[_T]) -> tuple[_T, ...]:
        """The first, and of the others those whose digests with the seed come first, each once."""
        first, *others = dict.fromkeys(sentences)
        others.sort(key=lambda each: hashlib.sha256(f"{self.seed}\0{each}".encode()).digest())
        return (first, *others[: self.limit - 1])
