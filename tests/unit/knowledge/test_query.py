"""A query divided into what is wanted and what is excluded."""

import pytest

from callosum.knowledge.query import LONGEST, parse_query


def excluded(text: str) -> list[str]:
    return [phrase.text for phrase in parse_query(text).exclude]


@pytest.mark.parametrize(
    ("query", "text", "exclude"),
    [
        ("effusion without pneumothorax", "effusion", ["pneumothorax"]),
        ("pneumonia but not effusion", "pneumonia", ["effusion"]),
        ("cardiomegaly without evidence of edema", "cardiomegaly", ["edema"]),
        ("effusion without pneumothorax or consolidation", "effusion", ["pneumothorax", "consolidation"]),
        ("A without B or C", "A", ["B", "C"]),
        ("effusion with no cardiomegaly and no edema", "effusion", ["cardiomegaly", "edema"]),
        ("PTX w/o rib fx", "Pneumothorax", ["rib fracture"]),
        ("chest x-ray with effusion but without a pacemaker", "chest x-ray with effusion", ["pacemaker"]),
        ("effusion -pneumothorax", "effusion", ["pneumothorax"]),
        ("effusion minus pneumothorax", "effusion", ["pneumothorax"]),
        ("show me images that show cardiomegaly and do not show a pacemaker", "cardiomegaly", ["pacemaker"]),
        ("history of tuberculosis without cavities", "history of tuberculosis", ["cavities"]),
        ("melanoma not nevus", "melanoma", ["nevus"]),
        ("effusion w/out pneumothorax with cardiomegaly", "effusion with cardiomegaly", ["pneumothorax"]),
        ("find pneumonia excluding those with effusion", "pneumonia", ["effusion"]),
        ("never smoker with emphysema", "emphysema", ["smoker"]),
        ("Do not include pneumonia. Effusion.", "Effusion", ["pneumonia"]),
        ("Atelectasis. No effusion.", "Atelectasis", ["effusion"]),
        ("emphysema except those with a drain", "emphysema", ["drain"]),
        ("nodules except granuloma and hamartoma", "nodules", ["granuloma", "hamartoma"]),
        ("nodules except in children, but with fracture", "nodules with fracture", ["children"]),
        ("mass minus cyst and abscess", "mass and abscess", ["cyst"]),
        ("nodule without zorblification of the hilum", "nodule", ["zorblification of the hilum"]),
    ],
)
def test_divided(query: str, text: str, exclude: list[str]) -> None:
    found = parse_query(query)
    assert (found.text, [phrase.text for phrase in found.exclude]) == (text, exclude)
    assert not found.only_excludes


@pytest.mark.parametrize(
    "query",
    [
        "normal chest",
        "non-small cell lung cancer",
        "no finding",
        "No acute cardiopulmonary abnormality",
        "CT of the abdomen without contrast",
        "possible pneumonia",
        "cannot exclude pneumonia",
        "resolved effusion",
        "no change in the effusion",
        "heart is not enlarged",
        "absent lung sliding",
        "melanoma of the left arm, large",
    ],
)
def test_nothing_is_taken_away(query: str) -> None:
    found = parse_query(query)
    assert (found.text, found.exclude) == (query, ())


@pytest.mark.parametrize(
    "query",
    ["no effusion", "patients without effusion", "everything except effusion", "effusion is absent", "NOT effusion"],
)
def test_only_an_exclusion_says_so(query: str) -> None:
    found = parse_query(query)
    assert found.only_excludes and found.text == "" and found.want == ()
    assert [phrase.concepts for phrase in found.exclude] == [("pleural effusion",)]
    assert any("Nothing is left" in note for note in found.notes)


@pytest.mark.parametrize(("query", "text"), [("rule out pneumonia", "pneumonia"), ("evaluate for mass", "mass")])
def test_a_question_wants_what_it_asks_for(query: str, text: str) -> None:
    found = parse_query(query)
    assert (found.text, found.exclude) == (text, ())


def test_not_only() -> None:
    found = parse_query("not only effusion but also pneumothorax")
    assert (found.text, found.exclude) == ("effusion and pneumothorax", ())


def test_quoted_words_stay_as_they_are() -> None:
    found = parse_query('"no acute disease, PTX" without "rib fx"')
    assert found.text == "no acute disease, PTX"
    assert [(phrase.text, phrase.is_quoted) for phrase in found.exclude] == [("rib fx", True)]


def test_phrases_name_concepts_and_places() -> None:
    query = "left PTX w/o rib fx or zorblification"
    found = parse_query(query)
    assert found.want[0].concepts == ("pneumothorax",)
    assert [phrase.concepts for phrase in found.exclude] == [("rib fracture",), ()]
    assert [query[slice(*phrase.span)] for phrase in found.exclude] == ["rib fx", "zorblification"]


def test_a_normal_picture_is_wanted() -> None:
    for query in ("no finding", "no acute cardiopulmonary abnormality"):
        assert parse_query(query).want[0].concepts == ("normal study",)
    assert excluded("pneumonia without other abnormality") == ["abnormality"]


def test_an_abbreviation_nobody_can_tell_is_said() -> None:
    found = parse_query("RA")
    assert found.text == "RA"
    assert found.notes and "may stand for" in found.notes[0]


@pytest.mark.parametrize("query", ["", "   ", "...", "and or but", "!?", '""', "\ue000", "no", "without"])
def test_next_to_nothing(query: str) -> None:
    found = parse_query(query)
    assert found.exclude == () and found.original == query


def test_a_long_one_is_taken_as_it_is() -> None:
    found = parse_query("effusion without pneumothorax " * LONGEST)
    assert found.exclude == () and any("longer" in note for note in found.notes)
