"""From free text to findings, and back to words.

ontology       concepts, what is a kind of what, and what one says about another
phrases        the small language of phrases in the tables
words          words in the form in which they are compared
matcher        where a text names a concept
umls           the same over a UMLS installation of the user's own
assertion      what a sentence says of a concept whose place in it is known
foreign        whether a text can be read at all: words, and English ones
places         where in the body a finding is
extract        text to findings
schemes        classes by their published names, and the concepts that each is about
labels         findings to the labels of a scheme
labelers       where a labeller that is a model is plugged in
vectors        labels as numbers
soft_targets   how alike the findings of two texts are
grammar        English around a finding's name
wording        how a concept is put into words
modality       kinds of images as words
prompts        classes to prompts
query          what a query asks for, and what it excludes
abbreviations  abbreviations written out where their context tells the meaning
lint           what an encoder may misread in a prompt
"""

from __future__ import annotations

from callosum.knowledge.assertion import assess
from callosum.knowledge.extract import Extractor, extract_report, extract_sentence
from callosum.knowledge.labels import Aggregation, NoFinding, aggregate, label, statements
from callosum.knowledge.matcher import Mention, MentionFinder, PhraseMatcher, find_mentions
from callosum.knowledge.ontology import Concept, Kind, Ontology, read_ontology
from callosum.knowledge.schemes import Scheme, read_schemes, scheme_of

__all__ = [
    "Aggregation",
    "Concept",
    "Extractor",
    "Kind",
    "Mention",
    "MentionFinder",
    "NoFinding",
    "Ontology",
    "PhraseMatcher",
    "Scheme",
    "aggregate",
    "assess",
    "extract_report",
    "extract_sentence",
    "find_mentions",
    "label",
    "read_ontology",
    "read_schemes",
    "scheme_of",
    "statements",
]
