"""Abbreviations are written out where their context decides, and reported where it does not."""

import time

import pytest

from callosum.core.errors import UsageError
from callosum.knowledge.abbreviations import Expanded, abbreviations, expand, plain_abbreviations
from callosum.knowledge.modality import modalities, modality_of


@pytest.mark.parametrize(
    ("text", "modality", "made"),
    [
        ("PTX w/o rib fx", None, "Pneumothorax without rib fracture"),
        ("ptx, s/p cabg", None, "pneumothorax, status post cabg"),
        ("w/mild oedema", None, "with mild oedema"),
        ("bilateral PTXs and fxs", None, "bilateral pneumothoraces and fractures"),
        ("LLL/RLL opacity", None, "Left lower lobe/right lower lobe opacity"),
        ("no PE on CTPA", None, "no pulmonary embolism on CT pulmonary angiography"),
        ("small PE blunting the costophrenic angle", None, "small pleural effusion blunting the costophrenic angle"),
        ("PE with tamponade on echo", None, "Pericardial effusion with tamponade on echo"),
        ("PE", "CT", "pulmonary embolism"),
        ("MS", "MR", "multiple sclerosis"),
        (
            "MS with a large left atrium, rheumatic valve",
            None,
            "Mitral stenosis with a large left atrium, rheumatic valve",
        ),
        ("mediastinal LAD", None, "mediastinal lymphadenopathy"),
        ("LAD stent", None, "Left anterior descending artery stent"),
        ("catheter tip in the RA", None, "catheter tip in the right atrium"),
        ("RA with erosions of the hand", None, "Rheumatoid arthritis with erosions of the hand"),
        ("breast CA", None, "breast cancer"),
        ("pt presents with SOB", None, "patient presents with shortness of breath"),
        ("CPA mass", "MR", "Cerebellopontine angle mass"),
        ("pulmonary embolism (PE)", None, "pulmonary embolism (PE)"),
        ("", None, ""),
    ],
)
def test_expand(text: str, modality: str | None, made: str) -> None:
    assert expand(text, modality).text == made


@pytest.mark.parametrize("short", ["PE", "MS", "RA", "CA", "ND", "LAD", "PT"])
def test_what_nothing_decides_is_reported_and_left(short: str) -> None:
    found = expand(f"Old {short}.")
    assert found.text == f"Old {short}."
    assert [span.abbreviation for span in found.ambiguous] == [short]
    assert len(found.ambiguous[0].senses) > 1


def test_words_in_capitals_are_no_abbreviations_of_their_own() -> None:
    assert expand("PLEURAL EFFUSION AS BEFORE").text == "PLEURAL EFFUSION AS BEFORE"
    assert expand("as is, it is ed by us").text == "as is, it is ed by us"


@pytest.mark.parametrize("text", ["PTX w/o rib fx, ETT ok", "PE", "w/mild CHF; f/u CXR", "none of these"])
def test_spans_lead_back(text: str) -> None:
    found = expand(text)
    for span in found.spans:
        assert text[span.start : span.end] == span.abbreviation
        assert found.text[slice(*span.target)] == (span.expansion or span.abbreviation)
        assert found.source(*span.target) == (span.start, span.end)
    assert found.source(0, len(found.text)) == (0, len(text))


def test_the_source_of_words_between() -> None:
    found: Expanded = expand("PTX w/o rib fx today")
    at = found.text.index("rib")
    assert found.original[slice(*found.source(at, at + 3))] == "rib"
    at = found.text.index("today")
    assert found.original[slice(*found.source(at, at + 5))] == "today"


def test_the_table_is_large_and_sound() -> None:
    table = abbreviations()
    assert 200 <= len(table) <= 450
    groups = {kind.group for kind in modalities().values()}
    for short, senses in table.items():
        assert short.strip() == short and all(sense.expansion for sense in senses), short
        assert all(set(sense.modalities) <= groups for sense in senses), short
        assert len(senses) == 1 or len({sense.expansion for sense in senses}) == len(senses)
        assert sum(sense.is_free for sense in senses) <= 1, f"{short} has two senses that need nothing"


@pytest.mark.parametrize(("name", "kind"), [("CR", "xray"), ("chest x-ray", "chest x-ray"), ("a brain MRI", "mri")])
def test_modalities_have_many_names(name: str, kind: str) -> None:
    found = modality_of(name)
    assert found is not None and found.name == kind


def test_a_modality_nobody_knows() -> None:
    with pytest.raises(UsageError, match="none of"):
        expand("PE", "crystal ball")


def test_long_texts_take_time_in_proportion() -> None:
    begun = time.perf_counter()
    assert expand("pt s/p CABG w/ mild PTX and LAD. " * 6000).text.count("pneumothorax") == 6000
    assert time.perf_counter() - begun < 15


def test_plain_abbreviations_mean_one_thing_in_any_text() -> None:
    plain = plain_abbreviations()
    assert plain["ngt"] == "nasogastric tube"
    assert plain["CP process"] == "cardiopulmonary process"
    for short in ("PE", "CA", "ca", "PPM", "AP", "s/p", "TLC"):
        assert short in abbreviations()
        assert short not in plain
