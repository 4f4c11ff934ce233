"""English around a finding's name: plurals, articles, and whether "is" or "are" belongs to it."""

from __future__ import annotations

import re
from enum import StrEnum

_PLURALS = {
    "apex": "apices",
    "bulla": "bullae",
    "diagnosis": "diagnoses",
    "embolus": "emboli",
    "embolism": "emboli",
    "foramen": "foramina",
    "foreign body": "foreign bodies",
    "lumen": "lumina",
    "metastasis": "metastases",
    "nevus": "nevi",
    "pneumothorax": "pneumothoraces",
    "hemothorax": "hemothoraces",
    "hydrothorax": "hydrothoraces",
    "stenosis": "stenoses",
    "thrombus": "thrombi",
    "thrombosis": "thromboses",
}
_SINGULARS = {many: one for one, many in _PLURALS.items() if one != "embolism"}
_NO_PLURAL = ("is", "us", "ss", "ix", "as", "ys")
_MANY = frozenset("bilateral multiple several scattered numerous both few many diffuse-multiple".split())
_AN = re.compile(
    r"(?!u(?:ni|ti|re|s[eu])|eu|one)(?:[aeiou]|hour|honest|heir)|(?:[FLMNRSX](?=[A-Z])|[AEIO](?=[A-Z]|\b))"
)
_BEHIND = re.compile(r"\s(?:of|in|with|from|on|at)\s")
_THINGS = re.compile(
    r"\b(?:abscess|adenoma|airway|aneurysm|apparatus|bulla|body|bone|calculus|catheter|cavity|clip|collection|cyst|"
    r"defect|deformity|device|dislocation|drain|effusion|embolism|fistula|focus|fracture|gland|granuloma|hematoma|"
    r"hernia|implant|infarct|joint|lead|lesion|line|lobe|lymph node|mass|metastasis|needle|nodule|obstruction|"
    r"opacity|pacemaker|plaque|plate|polyp|prosthesis|pump|ring|rod|screw|shunt|sign|stenosis|stent|stone|"
    r"tear|thrombus|tube|tumou?r|ulcer|valve|wire|\w+thorax|\w+(?<!glauc)(?<!hemat)oma)$"
)


class Number(StrEnum):
    """How a noun is counted.

    COUNT takes an article ("a nodule"); MASS takes none ("edema"); PLURAL is always many ("B-lines"); ADJECTIVE is
    no noun ("malignant").
    """

    COUNT = "count"
    MASS = "mass"
    PLURAL = "plural"
    ADJECTIVE = "adjective"


def plural(noun: str) -> str:
    """The plural of a noun or of the head of a phrase; what is one already stays."""
    if behind := _BEHIND.search(noun):
        return plural(noun[: behind.start()]) + noun[behind.start() :]
    head, gap, last = noun.rpartition(" ")
    for word in (noun, last):
        if word.casefold() in _PLURALS:
            return noun[: len(noun) - len(word)] + _PLURALS[word.casefold()]
    if is_plural(last):
        return noun
    if re.search(r"[^aeiou]y$", last):
        made = last[:-1] + "ies"
    elif re.search(r"(?:[sxz]|ch|sh)$", last):
        made = last[:-2] + "es" if last.endswith("sis") else last + "es"
    else:
        made = last + "s"
    return f"{head}{gap}{made}"


def is_plural(noun: str) -> bool:
    """Whether the head of a phrase is a plural, by its ending."""
    noun = _BEHIND.split(noun)[0]
    last = noun.rpartition(" ")[2].casefold()
    return last in _SINGULARS or (len(last) > 3 and last.endswith("s") and not last.endswith(_NO_PLURAL))


def with_article(phrase: str) -> str:
    """The phrase behind "a" or "an", as it is spoken."""
    return f"{'an' if _AN.match(phrase) else 'a'} {phrase}"


def is_many(modifiers: str) -> bool:
    """Whether words before a noun ask for its plural: bilateral, multiple."""
    return bool(_MANY & set(modifiers.casefold().split()))


def verb(number: Number) -> str:
    """The form of "to be"."""
    return "are" if number is Number.PLURAL else "is"


def number_of(noun: str) -> Number:
    """How a noun is counted, by the head of its phrase: many by its ending, counted when it is a thing with edges."""
    if is_plural(noun):
        return Number.PLURAL
    return Number.COUNT if _THINGS.search(_BEHIND.split(noun)[0].casefold()) else Number.MASS
