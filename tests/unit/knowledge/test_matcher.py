"""Where a text names a concept."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from callosum.core.errors import InputError
from callosum.knowledge.matcher import Mention, MentionFinder, PhraseMatcher, find_mentions
from callosum.knowledge.ontology import Concept, Kind, Ontology, read_ontology
from callosum.knowledge.phrases import WHOLE, Gap, beginnings, expand
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


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Cardiac shadow: enlarged", ["cardiomegaly"]),
        ("Heart: mildly enlarged.", ["cardiomegaly"]),
        ("Lungs: both clear.", ["clear lungs"]),
        ("Trachea: midline", ["normal trachea"]),
        ("Heart: size as before: enlarged liver", ["hepatomegaly"]),
        ("Heart, enlarged", []),
    ],
)
def test_one_colon_after_the_first_words_is_read_as_is(text: str, concepts: list[str]) -> None:
    assert [name for name in named(text) if name != "normal study"] == concepts


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Mod R eff and atx", ["pleural effusion", "atelectasis"]),
        ("consol in the lingula", ["consolidation"]),
        ("Card silh is enlarged", ["cardiomegaly"]),
        ("RIJ line", ["central venous catheter"]),
        ("L rib fxs", ["rib fracture"]),
        ("resp failure", []),
        ("TIPS for the reader", []),
        ("tips of the fingers", []),
    ],
)
def test_an_abbreviation_that_means_one_thing_is_read_as_its_words(text: str, concepts: list[str]) -> None:
    assert named(text) == concepts


def test_what_an_abbreviation_names_is_where_the_abbreviation_is() -> None:
    (found,) = [m for m in find_mentions("New LLL opac today") if m.concept not in SITES]
    assert (found.start, found.end, found.concept) == (8, 12, "lung opacity")


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Swelling: edema of the right forearm", ["soft tissue abnormality"]),
        ("Bladder wall edema", []),
        ("opacification of the left mastoid", []),
        ("Ear effusion", []),
        ("heart sounds were normal", []),
        ("heart rhythm is not enlarged", []),
        ("consolidation chemotherapy", []),
        ("mass transit", []),
        ("tube feeds", []),
        ("feeding tube", ["enteric tube"]),
        ("PICC exchange was postponed", []),
        ("PICC exchange went well", ["picc"]),
        ("bone marrow failure", []),
        ("collapse of the old roof", []),
        ("flu vaccine and pneumonia shot", []),
    ],
)
def test_words_of_findings_that_are_said_of_something_else(text: str, concepts: list[str]) -> None:
    assert named(text) == concepts


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        ("Fluid has gathered in the left pleural cavity", ["pleural effusion"]),
        ("Free fluid within the right pleural space", ["pleural effusion"]),
        ("An irregular growth is seen in the right lung", ["lung lesion"]),
        ("wedge compression deformity of L2", ["compression fracture"]),
        ("collapse of the entire medial segment of the middle lobe", ["atelectasis"]),
        ("neither collapse nor consolidation", ["atelectasis", "consolidation"]),
    ],
)
def test_plain_words(text: str, concepts: list[str]) -> None:
    assert named(text) == concepts


@pytest.mark.parametrize(
    ("text", "is_normal"),
    [
        ("Within normal limits", True),
        ("Conclusion: unremarkable.", True),
        ("Nothing abnormal.", True),
        ("Thyroid within normal limits", False),
        ("No finding to suggest an abscess", False),
        ("The scan was negative for metastases", False),
        ("The scan was negative", True),
    ],
)
def test_a_normal_study_is_said_of_the_study(text: str, is_normal: bool) -> None:
    assert ("normal study" in named(text)) is is_normal


def test_a_phrase_that_stands_alone() -> None:
    ontology = Ontology([Concept(name="fine", kind=Kind.NORMAL, phrases=("^ (all|both) well",))])
    matcher = PhraseMatcher(ontology)
    assert [m.concept for m in matcher.mentions("All well.")] == ["fine"]
    assert matcher.mentions("All well here") == []


def test_the_words_that_phrases_begin_with() -> None:
    ontology = read_ontology()
    phrases = [*ontology.masks, *(phrase for concept in ontology for phrase in concept.phrases)]
    for phrase in phrases:
        if not phrase.startswith(WHOLE):
            assert beginnings(phrase) == {sequence[0] for sequence in expand(phrase)}, phrase


def test_a_phrase_of_two_concepts_names_both() -> None:
    ontology = Ontology([Concept(name="red", phrases=("glow",)), Concept(name="hot", phrases=("glow",))])
    assert sorted(m.concept for m in PhraseMatcher(ontology).mentions("a glow")) == ["hot", "red"]


def test_a_mistake_in_a_table_of_ones_own_is_told_at_once() -> None:
    for phrase in ("(a|b", "a ..", ".. a", "[a]"):
        with pytest.raises(InputError, match="cannot be read"):
            PhraseMatcher(Ontology([Concept(name="red", phrases=(phrase,))]))


def test_many_threads_read_one_matcher() -> None:
    texts = [
        "small effusion and atelectasis",
        "rib fracture",
        "ETT, pacemaker",
        "heart is enlarged",
        "clear lungs",
    ] * 20
    expected = [find_mentions(text) for text in texts]
    fresh = PhraseMatcher()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fresh.mentions, texts)) == expected
