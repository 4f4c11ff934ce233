"""Classes to prompts: grammar, negation, normal classes, reproducible draws."""

import re

import pytest

from callosum.core.errors import NotFound, UsageError
from callosum.knowledge.grammar import Number, number_of, plural, with_article
from callosum.knowledge.ontology import Kind, read_ontology
from callosum.knowledge.prompts import PromptSet, prompt_set, prompt_sets
from callosum.knowledge.schemes import read_schemes, scheme_of
from callosum.knowledge.wording import written

SCHEMES = sorted(read_schemes())
BAD = re.compile(
    r"\bno no\b|\b(?:mild|moderate|severe|small|large) (?:normal|no|healthy)\b|\ba [aeio]\w|\ban [bcdfgkpqrtvwxyz]"
    r"|\b(?P<twice>\w+) (?P=twice)\b|[{}]|  |\ba (?:bilateral|multiple)\b"
)


def sentences(prompts: PromptSet) -> list[str]:
    return [*prompts.positive, *prompts.negative, *(side for pair in prompts.pairs for side in pair)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_class_of_every_scheme(scheme: str) -> None:
    made = prompt_sets(scheme, limit=500)
    assert tuple(made) == scheme_of(scheme).classes
    for name, prompts in made.items():
        assert prompts.positive and prompts.negative and prompts.pairs and not prompts.note, name
        assert not set(prompts.positive) & set(prompts.negative), name
        for sentence in sentences(prompts):
            assert not BAD.search(sentence), f"{name}: {sentence}"


def test_every_finding_and_device_of_the_ontology() -> None:
    for name in read_ontology().of_kind(Kind.FINDING, Kind.DEVICE, Kind.PROCEDURE):
        prompts = prompt_set(name, limit=50)
        assert prompts.concept == name and not prompts.note
        assert all(not BAD.search(sentence) for sentence in sentences(prompts)), name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_normal_class_is_neither_denied_nor_graded(scheme: str) -> None:
    normal = scheme_of(scheme).normal
    if not normal:
        pytest.skip("The scheme has no normal class.")
    prompts = prompt_set(normal, scheme=scheme, limit=100)
    assert not any("no finding" in sentence or "no normal" in sentence for sentence in prompts.negative)
    assert not any(re.search(r"\b(no|without)\b", sentence) for sentence in prompts.negative)
    assert any("normal" in sentence for sentence in prompts.positive)


def test_no_finding() -> None:
    prompts = prompt_set("No Finding", scheme="chexpert14")
    assert {"normal chest radiograph", "no acute cardiopulmonary abnormality"} <= set(prompts.positive)
    assert prompt_set("normal").positive[0] == "normal image"


def test_pairs_differ_in_the_denial() -> None:
    prompts = prompt_set("pleural effusion", modality="CR", limit=100)
    assert prompts.pairs[0] == ("pleural effusion", "no pleural effusion")
    assert ("evidence of pleural effusion", "no evidence of pleural effusion") in prompts.pairs
    assert ("pleural effusion", "the costophrenic angles are sharp") in prompts.pairs


def test_degrees_kinds_and_sites_are_combined() -> None:
    found = prompt_set("pneumothorax", limit=10_000).positive
    assert len(found) > 100
    assert {"a small pneumothorax", "a tension pneumothorax", "a large pneumothorax on the left"} <= set(found)
    assert "small bilateral pleural effusions" in prompt_set("pleural effusion", limit=10_000).positive
    assert "mild interstitial pulmonary edema in both lungs" in prompt_set("pulmonary edema", limit=10_000).positive


def test_draws_are_reproducible_and_nested() -> None:
    ten, five = (prompt_set("atelectasis", limit=limit, seed=3) for limit in (10, 5))
    assert ten == prompt_set("atelectasis", limit=10, seed=3)
    assert ten.positive[:5] == five.positive and len(ten.positive) == 10
    assert ten.positive[0] == "atelectasis"
    assert ten.positive != prompt_set("atelectasis", limit=10, seed=4).positive


def test_an_unknown_class_says_so() -> None:
    prompts = prompt_set("frobnication", modality="CT")
    assert "does not know" in prompts.note and prompts.concept == ""
    assert "CT scan showing frobnication" in prompts.positive and "no frobnication" in prompts.negative


@pytest.mark.parametrize("name", ["no pneumothorax", "Without pneumothorax", "absence of pneumothorax"])
def test_no_something_is_the_opposite(name: str) -> None:
    there, absent = prompt_set("pneumothorax"), prompt_set(name)
    assert (absent.positive, absent.negative) == (there.negative, there.positive)
    assert absent.pairs[0] == ("no pneumothorax", "pneumothorax")


def test_a_statement_of_health_is_opposed_by_what_it_denies() -> None:
    prompts = prompt_set("clear lungs")
    assert prompts.positive[0] == "clear lungs"
    assert any("opacity" in sentence for sentence in prompts.negative)
    healthy = prompt_set("normal zorblium")
    assert healthy.pairs[0] == ("normal zorblium", "abnormal zorblium")


def test_names_and_classes_in_any_writing() -> None:
    assert prompt_set("PTX").concept == "pneumothorax"
    assert prompt_set("Pleural_Thickening", scheme="nih14").concept == "pleural thickening"
    assert prompt_set("pleural thickening", scheme="nih14").positive[0] == "pleural thickening"
    assert prompt_set("covid-19", scheme="covid").positive[0] == "COVID-19"


def test_what_cannot_be_asked() -> None:
    with pytest.raises(UsageError):
        prompt_set("  ")
    with pytest.raises(UsageError):
        prompt_set("edema", limit=0)
    with pytest.raises(NotFound, match="Cardiomegaly"):
        prompt_set("melanoma", scheme="chexpert14")
    with pytest.raises(NotFound):
        prompt_set("edema", scheme="nobody")


def test_the_table_names_concepts_or_classes() -> None:
    classes = {name.casefold() for scheme in read_schemes().values() for name in scheme.classes}
    assert [name for name in written() if name not in read_ontology() and name not in classes] == []
    for name, words in written().items():
        assert not any(re.search(r"\b(no|not|without|free of)\b", absent) for absent in words.absent), name


@pytest.mark.parametrize(
    ("noun", "many"),
    [
        ("pneumothorax", "pneumothoraces"),
        ("pleural effusion", "pleural effusions"),
        ("metastasis", "metastases"),
        ("opacity", "opacities"),
        ("rib fracture", "rib fractures"),
        ("mass", "masses"),
        ("foreign body", "foreign bodies"),
        ("collection of air", "collections of air"),
        ("B-lines", "B-lines"),
    ],
)
def test_plural(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_articles_and_numbers() -> None:
    assert [with_article(each) for each in ("opacity", "mass", "MRI scan", "unusual mass", "uniform mass")] == [
        "an opacity",
        "a mass",
        "an MRI scan",
        "an unusual mass",
        "a uniform mass",
    ]
    assert number_of("lung nodule") is Number.COUNT
    assert number_of("pulmonary edema") is Number.MASS
    assert number_of("atelectasis") is Number.MASS
    assert number_of("gallstones") is Number.PLURAL


def test_the_name_of_a_scheme_is_no_class() -> None:
    with pytest.raises(UsageError, match="chexpert5 is a scheme of 5 classes") as caught:
        prompt_set("chexpert5")
    assert "Pleural Effusion" in str(caught.value.hint)
    assert prompt_set("covid").concept == "covid-19"
