import random
from pathlib import Path

import pytest

from callosum.train.captions import Captioner, text_key
from callosum.train.examination import EXAMINED
from callosum.train.facts import FACT_INDEX, region_facts
from callosum.train.packs import Row


def row(pack: str, *texts: str, **facts: bool) -> Row:
    return Row(
        pack=pack, row_id="1", split="train", texts=texts, facts=facts, archive=Path("images.tar"), member="1.jpg"
    )


FILM = row("cxr_nih14", xray=True, chest=True, normal=False, effusion=True, pneumonia=False, male=True)
BREAST = row("us_breast_busi", ultrasound=True, breast=True, normal=False, mass=True, malignant=True, benign=False)
TISSUE = row("path_lc25000", histology=True, adenocarcinoma=True, squamous=False, benign=False, malignant=True)


@pytest.mark.parametrize("picture", [FILM, BREAST, TISSUE], ids=lambda r: r.pack)
def test_captions_assert_only_what_is_known(picture: Row) -> None:
    captioner = Captioner(random.Random(0))
    captions = [captioner.for_row(picture) for _ in range(300)]
    assert len({c.text for c in captions}) > 150
    for caption in captions:
        assert caption.asserts is not None
        for name, value in caption.asserts.items():
            assert name in FACT_INDEX
            assert picture.facts.get(name) is value, caption


def test_free_text_is_its_own_pictures() -> None:
    text = "Axial CT of the abdomen. There is a cyst in the left kidney."
    captioner = Captioner(random.Random(0), free_text=1.0)
    captions = [captioner.for_row(row("roco_open", text, ct=True)) for _ in range(20)]
    assert {c.key for c in captions} == {text_key(text)}
    assert all(c.asserts is None for c in captions)
    assert {c.text for c in captions} > {text}


def test_a_film_without_a_known_modality_gets_its_own_text() -> None:
    captioner = Captioner(random.Random(0), free_text=0.0)
    assert captioner.for_row(row("roco_open", "Distended bowel.")).asserts is None


def test_no_prompt_of_the_examination_is_written() -> None:
    plans = [("modality", name) for name in ("xray", "ct", "mri", "ultrasound", "histology", "smear")]
    plans += [("film", "normal"), ("film", "pneumonia"), ("not_film", "normal")]
    plans += [("child", "normal"), ("child", "pneumonia"), ("breast", "benign"), ("breast", "normal")]
    plans += [("breast", "malignant"), ("histology", "benign"), ("histology", "squamous")]
    plans += [("organ", name) for name in ("ct:head", "ct:chest", "ct:abdomen", "xray:hand", "mri:breast")]
    freely, carefully = Captioner(random.Random(0)), Captioner(random.Random(0), avoid=EXAMINED)
    assert {text_key(freely.for_class(*plan).text) for plan in plans for _ in range(300)} & EXAMINED
    written = {text_key(carefully.for_class(*plan).text) for plan in plans for _ in range(1500)}
    assert len(written) > 10_000
    assert not written & EXAMINED


def test_regions_of_the_chest_overlap() -> None:
    assert "lung" not in region_facts("heart")
