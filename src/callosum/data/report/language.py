"""A guess at the language of a report from its commonest words; enough to say that it is not English."""

from __future__ import annotations

import re

_WORDS = {
    "en": "the of and is are was no with there has been for in to or evidence without within normal from on this at as "
    "be not lungs clear heart size findings impression chest unremarkable stable unchanged small left right study "
    "views seen acute limits effusion indication comparison technique history none pain year old",
    "de": "der die das und ist sind kein keine keinen mit im in den des nicht ein eine auf bei ohne zum zur von nach "
    "links rechts beidseits befund beurteilung unauffällig herz lunge kein keine regelrecht nachweis",
    "fr": "le la les et est sont pas de du des une un au aux avec sans dans en sur par pour il gauche droite absence "
    "conclusion poumons coeur cœur normal normale ce ces résultats",
    "es": "el la los las y es son no de del con sin en se un una por para al derecho izquierdo hallazgos impresión "
    "pulmones corazón normal observa presenta sin",
    "it": "il lo la i gli le e è sono non di del della dei con senza in nel nella un una per al destro sinistro "
    "reperti conclusioni polmoni cuore norma si nei limiti",
    "pt": "o a os as e é são não de do da dos das com sem em no na nos um uma por para ao à direito esquerdo achados "
    "impressão pulmões coração normal observa se",
    "nl": "de het een en is zijn geen met zonder in van op te bij niet dat voor aan links rechts bevindingen conclusie "
    "longen hart normaal aanwijzingen",
}
_OF = {
    word: tuple(language for language, others in _WORDS.items() if word in others.split())
    for words in _WORDS.values()
    for word in words.split()
}
_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[a-zà-ɏ]", re.IGNORECASE)
_BEGINNING = 2000


def guess_language(text: str) -> str:
    """ISO 639-1 code of the most likely of en, de, fr, es, it, pt, nl; "unknown" when too little speaks for one.

    Each word votes for the languages that have it, with one vote shared among them; the winner needs two votes and a
    tenth of the words.
    """
    words = _WORD.findall(text[:_BEGINNING].casefold())
    votes = dict.fromkeys(_WORDS, 0.0)
    for word in words:
        languages = _OF.get(word, ())
        for language in languages:
            votes[language] += 1 / len(languages)
    best = max(votes, key=lambda language: votes[language])
    return best if votes[best] >= max(2.0, len(words) / 10) else "unknown"


def is_foreign(text: str, language: str) -> bool:
    """True when a report is not in English, or in no language that is known although it is long enough to tell."""
    if language != "unknown":
        return language != "en"
    letters = "".join(_WORD.findall(text[:_BEGINNING]))
    return len(letters) >= 20 and len(_LATIN.findall(letters)) < len(letters) / 2
