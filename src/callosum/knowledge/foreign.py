"""Whether a text can be read at all: words, and English ones. Findings are read from English only.

To read "kein Nachweis eines Pneumothorax" with English cues would turn a denial into a finding, so what is not English
is refused, not guessed. A few words that no English report has are enough to tell (`tables/foreign.csv`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache

from callosum.core.errors import InputError
from callosum.knowledge.ontology import read_table

_BEGINNING = 4000
_ENOUGH = 2
_LETTERS = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[a-zà-ɏ]", re.IGNORECASE)
_ENGLISH = frozenset(
    "the of and is are was were with there has have been for to or evidence without within from this at be not by "
    "which seen noted limits unchanged".split()
)
_MARKUP = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)\b[^<>]{0,500}>|&(?:#\d{1,6}|[a-zA-Z]{2,8});")
_UNSEEN = re.compile(r"<(script|style)\b[^<>]{0,500}>.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
"""What no reader of a page sees."""
_INLINE = frozenset("a abbr b em font i span strong sub sup u".split())


@cache
def _languages(column: str = "words") -> Mapping[str, str]:
    """Words that only reports in another language have, to its ISO 639-1 code; or those that alone may be names."""
    rows = read_table("foreign.csv", columns=("language", column))
    return {word: row["language"] for row in rows for word in row[column].split()}


def other_language(text: str) -> str:
    """The ISO 639-1 code of the language that a text is in when that is not English; empty when it may be English.

    A text in another script has the code "und". A word that may as well be a name or a term ("El Camino", "le Fort",
    "OG tube") counts only beside another of its language.
    """
    words = _LETTERS.findall(text[:_BEGINNING].casefold())
    letters = "".join(words)
    if len(letters) >= 4 and 2 * len(_LATIN.findall(letters)) < len(letters):
        return "und"
    sure, doubtful = _languages(), _languages("doubtful")
    votes = [language for word in words if (language := sure.get(word) or doubtful.get(word))]
    names = Counter(doubtful[word] for word in set(words) if word in doubtful)
    if not any(word in sure for word in words) and max(names.values(), default=0) < _ENOUGH:
        return ""
    if len(votes) <= sum(word in _ENGLISH for word in words):
        return ""
    return max(votes, key=votes.count)


def refuse_other_language(language: str) -> None:
    """Refuse a language that findings are not read from.

    Raises:
        InputError: It is neither English nor empty nor "unknown".
    """
    if language not in ("", "en", "unknown"):
        message = f"Findings are read from English; this text is in another language ({language})."
        raise InputError(message, hint="Translate it, or leave it without findings.")


def refuse_no_text(text: str) -> None:
    """Refuse what is no text.

    Raises:
        InputError: It has a character that no text has, or more replacement characters than spaces.
    """
    if "\0" in text or text.count("�") > text.count(" ") + 1:
        message = "A report should be text; found bytes that are none."
        raise InputError(message, hint="Give the decoded text of a report.")


def without_markup(text: str) -> str:
    """The text with HTML tags and entities blanked, each character where it was; a block tag ends a paragraph.

    Scripts, styles and comments are blanked whole.
    """
    if "<" in text:
        text = _UNSEEN.sub(_blank, text)
    return _MARKUP.sub(_blank, text) if "<" in text or "&" in text else text


def _blank(tag: re.Match[str]) -> str:
    length = len(tag.group())
    if tag.re is not _UNSEEN and (tag.group(2) is None or tag.group(2).lower() in _INLINE):
        return " " * length
    return "\n" + " " * (length - 2) + "\n"
