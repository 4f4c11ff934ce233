"""Where a text names a concept."""

import time

import pytest

from callosum.core.errors import InputError
from callosum.knowledge.matcher import Mention, MentionFinder, PhraseMatcher, find_mentions
from callosum.knowledge.ontology import Concept, Kind, Ontology, read_ontology
from callosum.knowledge.phrases import Gap, expand
from callosum.knowledge.words import canonical

SITES = frozenset(read_ontology().of_kind(Kind.SITE))


def named(text: str) -> list[str]:
    return [m.concept for m in find_mentions(text) if m.concept not in SITES]


@pytest.mark.parametrize(
    ("phrase", "sequences"),
    [
        ("pleural effusion", [("pleural", "effusion")]),
        ("ground-glass", [("ground", "glass")]),
        ("(heart|cardiac silhouette) size", [("heart", "size"), ("cardiac", "silhouette", "size")]),
        ("[the] tip", [("the", "tip"), ("tip",)]),
        ("heart .. large", [("heart", Gap(3), "large")]),
        ("heart ..5 large", [("heart", Gap(5), "large")]),
        ("a (b|c (d|e))", [("a", "b"), ("a", "c", "d"), ("a", "c", "e")]),
    ],
)
def test_the_language_of_phrases(phrase: str, sequences: list[tuple[str | Gap, ...]]) -> None:
    assert expand(phrase) == sequences


@pytest.mark.parametrize("phrase", ["", "(a|b", "a)", ".. a", "a ..", "[a]", "(a] b", "(a|b|c|d|e|f|g|h) " * 6])
def test_phrases_that_cannot_be_read(phrase: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        expand(phrase)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("oedema", "edema"),
        ("Tumours", "tumor"),
        ("haemorrhage", "HEMORRHAGE"),
        ("opacities", "opacity"),
        ("pneumothoraces", "pneumothorax"),
        ("masses", "mass"),
        ("metastases", "metastasis"),
        ("vertebrae", "vertebra"),
        ("bullae", "bulla"),
        ("localised", "localized"),
        ("fibre", "fiber"),
        ("Ménière’s", "meniere"),
        ("catheters", "catheter"),
        ("calculi", "calculus"),
    ],
)
def test_spellings_and_numbers_of_one_word(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"), [("mass", "mas"), ("gas", "ga"), ("pus", "pu"), ("diagnosis", "diagnosi"), ("as", "a")]
)
def test_words_that_are_not_plurals(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Bilateral pleural effusions.", ["pleural effusion"]),
        ("Pulmonary oedema.", ["pulmonary edema"]),
        ("Ground-glass opacities", ["ground-glass opacity"]),
        ("groundglass opacification", ["ground-glass opacity"]),
        ("Plate-like atelectasis", ["atelectasis"]),
        ("The left lower lobe is collapsed.", ["atelectasis"]),
        ("Heart is mildly to moderately enlarged.", ["cardiomegaly"]),
        ("There is enlargement of the cardiac silhouette.", ["cardiomegaly"]),
        ("Blunting of the left lateral costophrenic sulcus", ["costophrenic angle blunting"]),
        ("The right costophrenic angle is slightly blunted.", ["costophrenic angle blunting"]),
        ("The tip of the ET tube is above the carina.", ["endotracheal tube"]),
        ("Pleural and pericardial effusions", ["pericardial effusion", "pleural effusion"]),
        ("Hilar and mediastinal lymphadenopathy", ["hilar lymphadenopathy", "mediastinal lymphadenopathy"]),
        ("Heart size and mediastinal contours are normal.", ["normal heart size", "normal mediastinum"]),
        ("Fracture of the right seventh rib", ["rib fracture"]),
        ("Large hydropneumothorax", ["hydropneumothorax"]),
        ("Dissection of the ascending aorta", ["aortic dissection"]),
        ("Confluent B-lines without A-lines", ["a-lines", "b-lines"]),
        ("Seborrhoeic keratosis", ["benign keratosis"]),
        ("Severe non-proliferative diabetic retinopathy", ["severe diabetic retinopathy"]),
    ],
)
def test_what_is_named(text: str, concepts: list[str]) -> None:
    assert sorted(named(text)) == concepts


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Mild mass effect on the carina", []),
        ("2 cm from the skin", []),
        ("CM", ["cardiomegaly"]),
        ("A 3 CM NODULE", ["nodule"]),
        ("thyroid nodule", ["thyroid nodule"]),
        ("pneumothorax protocol", []),
        ("She attends the fracture clinic.", []),
        ("respiratory failure", []),
        ("knee effusion", ["joint effusion"]),
        ("macular edema", ["macular edema"]),
        ("ankle edema", []),
        ("urinary tract infection", []),
        ("Cardiac catheterisation", []),
        ("oral cavity", []),
        ("a massive problem", []),
        ("patient with confusion", []),
    ],
)
def test_what_is_not_named_by_a_part(text: str, concepts: list[str]) -> None:
    assert named(text) == concepts


@pytest.mark.parametrize(
    ("slip", "concept"),
    [
        ("pnuemothorax", "pneumothorax"),
        ("cardiomegally", "cardiomegaly"),
        ("atelectesis", "atelectasis"),
        ("consoldation", "consolidation"),
        ("emphysemattous change", "emphysema"),
        ("lymphadenopthy", "lymphadenopathy"),
    ],
)
def test_slips_in_long_words(slip: str, concept: str) -> None:
    assert named(slip) == [concept]


@pytest.mark.parametrize(
    "text",
    [
        "Heart. The aorta is enlarged.",
        "The heart, and an enlarged node",
        "The heart is normal but the aorta is enlarged",
        "heart\n\nenlarged",
        "The heart one two three four five six enlarged",
    ],
)
def test_a_gap_ends_at_marks_other_clauses_and_its_length(text: str) -> None:
    assert "cardiomegaly" not in named(text)


def test_a_removed_word_within_a_phrase() -> None:
    for mark in ("XXXX", "___", "[** hospital **]"):
        text = f"a right internal {mark} jugular catheter"
        (mention,) = [m for m in find_mentions(text) if m.concept == "central venous catheter"]
        assert text[mention.start : mention.end] == text[8:]


def test_spans_count_characters_of_the_text() -> None:
    text = "Über  large\npleural   effusions, no PTX."
    found = {m.concept: text[m.start : m.end] for m in find_mentions(text)}
    assert found == {"pleural effusion": "pleural   effusions", "pneumothorax": "PTX"}


def test_cues_attach_behind_the_last_gap() -> None:
    text = "The cardiac silhouette may be enlarged."
    (mention,) = [m for m in find_mentions(text) if m.concept == "cardiomegaly"]
    assert text[mention.start : mention.end] == "cardiac silhouette may be enlarged"
    assert text[slice(*mention.anchor)] == "enlarged"
    text = "pleural effusion"
    assert find_mentions(text) == [Mention(0, 16, "pleural effusion", 0)]
    assert find_mentions(text)[0].anchor == (0, 16)


def test_of_two_kinds_of_one_thing_the_special_one() -> None:
    ontology = Ontology(
        [
            Concept(name="thing", phrases=("thing", "red thing")),
            Concept(name="red", parents=("thing",), phrases=("red thing",)),
        ]
    )
    assert [m.concept for m in PhraseMatcher(ontology).mentions("a red thing, a thing")] == ["red", "thing"]


def test_masks_hide_what_they_cover_and_nothing_else() -> None:
    ontology = Ontology([Concept(name="mass", phrases=("mass", "lung mass"))], masks=("mass effect",))
    matcher = PhraseMatcher(ontology)
    assert matcher.mentions("lung mass effect") == []
    assert len(matcher.mentions("a mass with mass effect")) == 1


@pytest.mark.parametrize("text", ["", " ", "\x00\x01", "….,;", "é" * 1000, "x" * 1_000_000, "(" * 5000, "12 3,4 5.6"])
def test_texts_without_a_mention(text: str) -> None:
    assert find_mentions(text) == []


def test_it_is_a_finder() -> None:
    assert isinstance(PhraseMatcher(Ontology([])), MentionFinder)
    assert PhraseMatcher(Ontology([])).mentions("pneumothorax") == []


def test_time_grows_with_the_text_and_no_faster() -> None:
    sentence = "The heart is mildly enlarged with pleural effusion, atelectasis and a right rib fracture. "

    def seconds(times: int) -> float:
        text, started = sentence * times, time.process_time()
        find_mentions(text)
        return time.process_time() - started

    seconds(10)
    assert seconds(4000) < 40 * max(seconds(400), 0.005)
