"""The 5x200 builders: exactly as many of each, alone positive, the same ones again."""

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosum.core.errors import InputError
from callosum.core.finding import Presence
from callosum.data.datasets import open_dataset
from callosum.data.datasets.chexpert_labels import OBSERVATIONS
from callosum.data.datasets.five_by_200 import FINDINGS, FiveConfig, choose, exclusive_finding, open_source
from tests.unit.data.datasets.layouts import picture, table
from tests.unit.data.datasets.test_chest import CHEXPERT

PER_PATIENT = 3


def make(root: Path, *, order: int = 0, num: int = 12) -> Path:
    """For each finding `num` patients with three frontal pictures each, and as many that must not be taken."""
    rows = []
    for at, finding in enumerate(FINDINGS):
        for n in range(num):
            patient = f"patient{at * 1000 + n:05d}"
            for view in range(PER_PATIENT):
                row = dict.fromkeys(OBSERVATIONS, "") | {finding: "1.0", "No Finding": "1.0" if n == 0 else ""}
                row |= {FINDINGS[at - 1]: "0.0"}
                rows.append((f"train/{patient}/study1/view{view}_frontal.jpg", "Frontal", row))
            bad = dict.fromkeys(OBSERVATIONS, "") | {finding: "1.0", "Fracture": ("-1.0", "1.0")[n % 2]}
            rows.append((f"train/{patient}/study2/view1_frontal.jpg", "Frontal", bad))
            lateral = dict.fromkeys(OBSERVATIONS, "") | {finding: "1.0"}
            rows.append((f"train/{patient}/study3/view2_lateral.jpg", "Lateral", lateral))
    random.Random(order).shuffle(rows)
    cells = [(path, "F", 1, view, "AP", *row.values()) for path, view, row in rows]
    table(root / "train.csv", CHEXPERT, cells)
    image = picture(root / "one.jpg")
    for path, _, _ in rows:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).hardlink_to(image)
    return root


def test_exactly_as_many_of_each_and_the_same_whatever_the_order(tmp_path: Path) -> None:
    config = FiveConfig(per_class=10, seed=3)
    dataset = open_source("chexpert-5x200", make(tmp_path / "a"))
    chosen = choose(dataset, config)
    assert Counter(chosen.finding_of.values()) == dict.fromkeys(FINDINGS, 10)
    assert chosen.num_candidates == dict.fromkeys(FINDINGS, 36)
    assert all("frontal" in name and "study1" in name for name in chosen.finding_of)
    again = choose(open_dataset("chexpert", make(tmp_path / "b", order=1)), config)
    assert again.finding_of == chosen.finding_of
    assert choose(dataset, FiveConfig(per_class=10, seed=4)).finding_of != chosen.finding_of
    rows = list(chosen.rows(dataset))
    assert len(rows) == 50
    assert {row.source.split for row in rows} == {"test"}
    assert all(row.labels[str(row.source.attributes["class"])] is Presence.PRESENT for row in rows)
    assert sum(chosen.is_rest(example) for example in dataset) == 300 - 50


def test_patient_disjoint(tmp_path: Path) -> None:
    dataset = open_dataset("chexpert", make(tmp_path))
    chosen = choose(dataset, FiveConfig(per_class=12, is_patient_disjoint=True))
    patients = [row.source.patient_id for row in chosen.rows(dataset)]
    assert len(set(patients)) == len(patients) == 60
    rest = {example.source.patient_id for example in dataset if chosen.is_rest(example)}
    assert not rest & set(patients)
    with pytest.raises(InputError, match="alone is positive in 12 pictures of different patients; 13 are needed"):
        choose(dataset, FiveConfig(per_class=13, is_patient_disjoint=True))


def test_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="36 pictures; 200 are needed"):
        choose(open_dataset("chexpert", make(tmp_path)))


presences = st.sampled_from(list(Presence))


@given(st.dictionaries(st.sampled_from(OBSERVATIONS), presences))
def test_exclusive_is_what_the_protocol_says(labels: dict[str, Presence]) -> None:
    found = exclusive_finding(labels)
    asked = {name: labels.get(name, Presence.UNMENTIONED) for name in OBSERVATIONS if name != "No Finding"}
    doubtful = [name for name, value in asked.items() if value in (Presence.PRESENT, Presence.UNCERTAIN)]
    is_one = len(doubtful) == 1 and doubtful[0] in FINDINGS and asked[doubtful[0]] is Presence.PRESENT
    assert found == (doubtful[0] if is_one else None)
