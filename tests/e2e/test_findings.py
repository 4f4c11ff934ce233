"""From captions and reports to facets, filters and a search that understands "without"."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CAPTIONS = {
    "a": "Chest radiograph: right pleural effusion. No pneumothorax.",
    "b": "Chest radiograph with a pleural effusion and a large pneumothorax.",
    "c": "Chest radiograph. Small effusion, possible pneumothorax.",
    "d": "Normal chest radiograph.",
    "e": "",
    "f": "Kein Pleuraerguss. Die Lunge ist frei, kein Nachweis eines Pneumothorax.",
}
REPORT = """INDICATION: Rule out pneumothorax.
FINDINGS: There is a left pleural effusion. No pulmonary edema. Prior rib fracture.
IMPRESSION: Pleural effusion."""


def callosum(*arguments: object) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "callosum", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 7), done.stderr
    return done


def lines(done: "subprocess.CompletedProcess[str]") -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("findings")
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "path", "text", "study_id"])
        for name, caption in CAPTIONS.items():
            Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(folder / f"{name}.png")
            rows.writerow([name, f"{name}.png", caption, f"study {name}"])
    with (folder / "reports.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["study_id", "text"], ["study e", REPORT]])
    callosum("index", folder / "archive", "--manifest", folder / "manifest.csv", "--reports", folder / "reports.csv")
    return folder / "archive"


def test_facets(archive: Path) -> None:
    found = {facet["name"]: facet for facet in lines(callosum("facets", archive, "--json"))}
    assert found["findings"]["counts"]["pleural effusion"] == 4
    assert found["findings"]["counts"]["pneumothorax"] == 1
    assert found["findings_uncertain"]["counts"]["pneumothorax"] == 1
    assert found["findings_absent"]["counts"]["pneumothorax"] == 1
    assert found["findings"]["num_unknown"] == 1, "the German caption is not guessed at"
    assert "rib fracture" not in found["findings"]["counts"], "it is history"
    assert all(
        "pneumothorax" not in facet["counts"] or facet["counts"]["pneumothorax"] == 1 for facet in found.values()
    )
    assert "pleural effusion" in callosum("facets", archive).stdout


def test_without_is_understood_and_said(archive: Path) -> None:
    done = callosum("search", archive, "effusion without pneumothorax", "--json")
    assert {hit["record_id"] for hit in lines(done)} == {"a", "d", "e", "f"}
    assert "pneumothorax" in done.stderr
    literal = callosum("search", archive, "effusion without pneumothorax", "--literal", "--json")
    assert {hit["record_id"] for hit in lines(literal)} == set(CAPTIONS)


def test_filters_by_finding(archive: Path) -> None:
    hits = lines(callosum("search", archive, "chest", "--finding", "effusion", "--without", "PTX", "--json"))
    assert {hit["record_id"] for hit in hits} == {"a", "e"}
    assert all("pleural effusion" in hit["findings"] for hit in hits)
    where = "array_has(findings_absent, 'pneumothorax')"
    assert [hit["record_id"] for hit in lines(callosum("search", archive, "chest", "--where", where, "--json"))] == [
        "a"
    ]


def test_an_unknown_finding_names_the_nearest(archive: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "callosum", "search", archive, "chest", "--finding", "pneumothoraks"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5 and "pneumothorax" in done.stderr
