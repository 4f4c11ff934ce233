"""The manifests of the comparison of objectives, when the data packs are here: sides, halves and texts."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import objectives_data as data
from benchmarks.objectives_labels import agreement


@pytest.fixture(scope="module")
def manifests(data_root: Path) -> dict[str, list[data.Row]]:
    return {"pairs": data.pairs(data_root), "films": data.films(data_root), "reports": data.reports(data_root)}


def test_no_patient_is_on_two_sides_or_gives_two_halves(manifests: dict[str, list[data.Row]]) -> None:
    patients: dict[str, set[str]] = {}
    for name, rows in manifests.items():
        sides = {side: {row["patient_id"] for row in rows if row["split"] == side} for side in data.SIDES}
        assert sides["train"] and sides["val"] and not sides["train"] & sides["val"], name
        patients[name] = sides["train"] | sides["val"]
    assert not patients["films"] & patients["reports"] and not patients["films"] & patients["pairs"]


def test_every_report_has_a_label_and_words(manifests: dict[str, list[data.Row]]) -> None:
    assert all(data.positives(row) and row["text"] and "XXXX" not in row["text"] for row in manifests["reports"])
    counts = Counter(name for row in manifests["reports"] for name in data.positives(row))
    assert counts["No Finding"] > 700 and counts["Cardiomegaly"] > 150


def test_a_tenth_of_the_pairs_is_about_a_tenth(manifests: dict[str, list[data.Row]], tmp_path: Path) -> None:
    from callosum.train.material import read_material

    data.write(tmp_path / "pairs.csv", manifests["pairs"])
    sizes = []
    for share in (0.1, 1.0):
        material = read_material([data.supply(tmp_path, "pairs", share=share)])
        sizes.append(sum(len(pool.pair_rows) for pool in material.pools))
    assert sizes[1] > 2500 and 0.07 < sizes[0] / sizes[1] < 0.13


def test_the_extractor_is_precise_on_impressions(manifests: dict[str, list[data.Row]]) -> None:
    figures = agreement(manifests["reports"], least=60)
    assert {"Atelectasis", "Cardiomegaly", "Effusion", "No Finding"} <= set(figures)
    assert all(figure["precision"] >= 0.85 for figure in figures.values())
