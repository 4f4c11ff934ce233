"""Kinds of images as words: what a modality is called in a prompt, and by which words and codes it is recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from callosum.core.errors import UsageError
from callosum.knowledge.ontology import read_table, split_cell


@dataclass(frozen=True, kw_only=True, slots=True)
class Modality:
    """A kind of images.

    Attributes:
        name: Its name here; "chest x-ray" has sentences of its own beside "xray".
        group: What senses of abbreviations and other tables go by: "xray" for both.
        nouns: What one image is called; the first is used where one is enough.
        words: DICOM codes and words that mean it, in small letters.
        normal: What is said of a normal one.
        abnormal: What is said of one that is not, in the same order.
        schemes: Label schemes whose classes are about such images.
    """

    name: str
    group: str
    nouns: tuple[str, ...]
    words: tuple[str, ...]
    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    schemes: tuple[str, ...] = ()


@cache
def modalities() -> dict[str, Modality]:
    """Every kind by its name, as `tables/modalities.csv` has them."""
    rows = read_table("modalities.csv", columns=("name", "group", "nouns", "words", "normal", "abnormal", "schemes"))
    return {
        row["name"]: Modality(
            name=row["name"],
            group=row["group"],
            nouns=split_cell(row["nouns"]),
            words=(row["name"], *split_cell(row["words"])),
            normal=split_cell(row["normal"]),
            abnormal=split_cell(row["abnormal"]),
            schemes=split_cell(row["schemes"]),
        )
        for row in rows
    }


def modality_of(name: str | None) -> Modality | None:
    """The modality of a DICOM code ("CR"), a name ("xray") or a word ("chest x-ray"); None for none.

    Raises:
        UsageError: the name says nothing that is known.
    """
    if not name or not name.strip():
        return None
    asked = " ".join(name.casefold().split())
    exact = [m for m in modalities().values() if asked in m.words or asked in map(str.casefold, m.nouns)]
    found = exact or [kind for _, _, kind in mentioned(name)]
    if not found:
        message = f"The modality is none of {', '.join(modalities())}, nor a DICOM code that is known."
        raise UsageError(message, hint="Use one of these words, or leave it out.")
    return found[0]


def mentioned(text: str) -> list[tuple[int, int, Modality]]:
    """Where a text names a kind of images, and which: by a word of three letters or more, or by CT or MR."""
    found = []
    for match in _pattern().finditer(text):
        word = " ".join(match[0].casefold().split())
        found += [(match.start(), match.end(), kind) for kind in modalities().values() if word in kind.words]
    return found


@cache
def _pattern() -> re.Pattern[str]:
    words = sorted({word for kind in modalities().values() for word in kind.words if len(word) > 2}, key=len)
    listed = "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in reversed(words))
    return re.compile(rf"(?<![\w-])(?:(?i:{listed})|CT|MR)(?![\w-])")
