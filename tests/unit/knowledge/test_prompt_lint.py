"""What an encoder may misread in a prompt."""

import pytest

from callosum.core.errors import UsageError
from callosum.knowledge.lint import Severity, Trouble, lint


def letters(text: str) -> list[str]:
    """A vocabulary of short words: longer ones fall into single letters, and digits are not in it."""
    made: list[str] = []
    for word in text.lower().split():
        made += ["[UNK]"] if word.isdigit() else [word] if len(word) < 6 else list(word)
    return made


def troubles(prompt: str, **options: object) -> set[Trouble]:
    return {remark.trouble for remark in lint(prompt, **options)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prompt", "trouble", "words"),
    [
        ("   ", Trouble.EMPTY, "   "),
        ("chest x-ray without pneumothorax", Trouble.NEGATED, "pneumothorax"),
        ("no zorblification of the spleen", Trouble.NEGATED, "zorblification of the spleen"),
        ("RLL consolidation", Trouble.ABBREVIATION, "RLL"),
        ("old MS", Trouble.AMBIGUOUS, "MS"),
        ("evaluate for pneumonia", Trouble.QUESTION, "evaluate for"),
        ("pneumonia is suspected?", Trouble.QUESTION, "?"),
        ("an image of a photo of cardiomegaly", Trouble.TEMPLATE_TWICE, "image of a photo of"),
        ("an x-ray of {}", Trouble.HOLE, "{}"),
        ("cardiomegaly and pleural effusion", Trouble.SEVERAL_CLASSES, "cardiomegaly and pleural effusion"),
        ("a nodule on the left", Trouble.LATERALITY, "left"),
        ("a 2.5 x 3 cm nodule", Trouble.NUMBER, "2.5 x 3 cm"),
        ("LARGE NODULE", Trouble.CAPITALS, "LARGE NODULE"),
    ],
)
def test_troubles(prompt: str, trouble: Trouble, words: str) -> None:
    found = next(remark for remark in lint(prompt) if remark.trouble is trouble)
    assert prompt[slice(*found.span)] == words
    assert found.message.endswith(".") and found.suggestion


@pytest.mark.parametrize(
    "prompt",
    [
        "pleural effusion",
        "a small loculated effusion",
        "normal chest radiograph",
        "no finding",
        "COVID-19",
        "CT of the abdomen",
        "T2 hyperintense lesion",
        "lung nodule",
        "non-small cell lung cancer",
    ],
)
def test_nothing_to_say(prompt: str) -> None:
    assert lint(prompt) == []


def test_what_lies_beyond_the_context() -> None:
    prompt = "one two three four five"
    remark = lint(prompt, tokenizer=letters, context_length=3)[0]
    assert remark.trouble is Trouble.TOO_LONG and remark.severity is Severity.ERROR
    assert prompt[slice(*remark.span)] == "four five"
    assert "5 pieces" in remark.message and "3" in remark.message
    assert troubles(prompt, tokenizer=letters, context_length=5) == set()
    assert Trouble.TOO_LONG in troubles("word " * 60)


def test_words_in_pieces() -> None:
    found = lint("a frobnication of 7", tokenizer=letters)
    assert [r.trouble for r in found] == [Trouble.SHATTERED, Trouble.NUMBER]
    assert "12 pieces" in found[0].message
    unknown = lint("nodule", tokenizer=lambda text: ["[UNK]"])
    assert [r.trouble for r in unknown] == [Trouble.UNKNOWN_PIECE]


def test_capitals_do_not_matter_to_a_folding_vocabulary() -> None:
    assert Trouble.CAPITALS not in troubles("LARGE NODULE", tokenizer=letters)


def test_the_worst_comes_first() -> None:
    found = lint("{} without a 2 cm nodule")
    assert [r.severity for r in found] == sorted((r.severity for r in found), key=list(Severity).index)
    assert found[0].severity is Severity.ERROR


def test_the_suggestion_is_a_pair() -> None:
    remark = next(r for r in lint("no PTX") if r.trouble is Trouble.NEGATED)
    assert "'pneumothorax' and 'no pneumothorax'" in remark.suggestion


def test_settings_that_cannot_be() -> None:
    with pytest.raises(UsageError):
        lint("a", context_length=0)
    with pytest.raises(UsageError):
        lint("PE", modality="crystal ball")
