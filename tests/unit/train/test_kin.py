"""Labels that stand for what they are a kind of, too."""

from pathlib import Path

import numpy as np
import pytest

from callosum.core.errors import UsageError
from callosum.knowledge.schemes import read_schemes
from callosum.train.kin import kin, widened
from callosum.train.material import read_material
from callosum.train.run import train
from tests.unit.train.run_data import supply, tiny, write_pairs

RELATED = {"lesion": frozenset({"Left", "Top"}), "unrelated": frozenset({"Left", "Elsewhere"})}


@pytest.mark.parametrize("scheme", read_schemes())
def test_what_is_shared_is_shared_by_several_classes(scheme: str) -> None:
    assert all(len(names) > 1 for names in kin(scheme).values())


def test_a_nodule_and_a_mass_have_something_in_common() -> None:
    assert {"Nodule", "Mass"} <= kin("nih15")["lung lesion"]
    assert not any({"Cardiomegaly", "Pneumothorax"} <= names for names in kin("nih15").values())


def test_widened_labels(tmp_path: Path) -> None:
    material = read_material([supply(write_pairs(tmp_path), labels={"Left": "Left", "Top": "Top"})])
    found = widened(material, RELATED)
    assert found.concepts == ("Left", "Top", "lesion"), "one class alone is not widened"
    before_NK, after_NK = material.image_labels_NK, found.image_labels_NK
    assert np.array_equal(after_NK[:, :2], before_NK, equal_nan=True)
    assert np.array_equal(after_NK[:, 2] == 1.0, (before_NK == 1.0).any(axis=1))
    assert np.array_equal(after_NK[:, 2] == 0.0, (before_NK == 0.0).all(axis=1))
    assert found.digest != material.digest
    assert widened(material, {}) is material


@pytest.mark.parametrize(
    ("said", "expected"), [((1, -1), 1), ((-1, 0), -1), ((0, 0), 0), ((0, np.nan), np.nan), ((1, np.nan), 1)]
)
def test_the_stronger_word_counts(tmp_path: Path, said: tuple[float, float], expected: float) -> None:
    path = tmp_path / "m.csv"
    words = {1: "positive", 0: "negative", -1: "uncertain"}
    cells = ",".join(words.get(value, "unmentioned") for value in said)
    path.write_text(f"path,patient_id,split,text,Left,Top\na.png,p,train,a text of words,{cells}\n")
    material = read_material([supply(path, labels={"Left": "Left", "Top": "Top"})])
    assert np.array_equal(widened(material, RELATED).image_labels_NK[0, 2], expected, equal_nan=True)


def test_a_hierarchy_needs_a_scheme() -> None:
    with pytest.raises(UsageError, match="scheme"):
        tiny(has_hierarchy=True)


def test_a_run_with_a_hierarchy(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "data")
    path.write_text(path.read_text().replace("Left,Top", "Nodule,Mass"))
    labels = {"Nodule": "Nodule", "Mass": "Mass"}
    config = tiny(objective="medclip", scheme="nih15", has_hierarchy=True, num_steps=2)
    result = train(config, [supply(path, labels=labels)], tmp_path / "out")
    assert result.steps == 2
