"""Which texts are in another language."""

import pytest

from callosum.knowledge.foreign import other_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Ingen effusion, normal lunger.", "no"),
        ("Inga infiltrat.", "sv"),
        ("Ikke pneumothorax, højre side.", "da"),
        ("Brak cech odmy po stronie prawej.", "pl"),
        ("Žádné známky infiltrace.", "cs"),
        ("Pas de pneumonie.", "fr"),
        ("Keine Atelektase", "de"),
        ("Sin hallazgos en la base", "es"),
    ],
)
def test_one_sure_word_or_two_doubtful_ones_tell(text: str, language: str) -> None:
    found = other_language(text)
    assert found == language or {found, language} <= {"no", "da", "sv"}


@pytest.mark.parametrize(
    "text",
    [
        "El Dorado Clinic: large effusion",
        "Sin Yee Chan: pneumothorax",
        "Le Fort I fracture",
        "PAS stain positive",
        "Hay fever",
        "Las Cruces, effusion",
        "OG tube, ER bed",
        "Van der Meer: atelectasis",
        "MIT study, nodule",
        "IM at 8 AM, small nodule",
    ],
)
def test_names_and_terms_are_no_other_language(text: str) -> None:
    assert other_language(text) == ""
