"""Labels that are read from texts by the classes of a published scheme."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from callosum.core.errors import NotFound
from callosum.core.finding import Presence
from callosum.knowledge.schemes import scheme_of
from callosum.train.labels import SchemeLabels
from callosum.train.manifests import supply_of
from callosum.train.material import read_material
from callosum.train.recipe import BatchConfig
from callosum.train.run import RUN, train
from tests.unit.train.run_data import tiny

REPORTS = (
    "INDICATION: Evaluate for pneumothorax. FINDINGS: There is a large left pleural effusion. No pneumothorax.",
    "FINDINGS: The heart is enlarged. IMPRESSION: Cardiomegaly.",
    "FINDINGS: The lungs are clear. IMPRESSION: No acute cardiopulmonary abnormality.",
    "FINDINGS: Possible small pneumothorax.",
)
FILMS = ("Effusion", "Cardiomegaly", "No Finding", "Pneumothorax")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Films with labels in NIH's columns, and reports of other people without any."""
    rng = np.random.default_rng(0)
    with (tmp_path / "films.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "patient_id", "split", *FILMS])
        for n in range(16):
            Image.fromarray(rng.integers(0, 255, (32, 32), np.uint8)).save(tmp_path / f"{n}.png")
            cells = ["positive" if n % 4 == k else "unmentioned" for k in range(4)]
            rows.writerow([f"{n}.png", f"film{n}", ("train", "val")[n // 12], *cells])
    with (tmp_path / "reports.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["patient_id", "split", "text"])
        rows.writerows([f"report{n}", ("train", "val")[n // 12], REPORTS[n % 4]] for n in range(16))
    return tmp_path


def test_each_sentence_has_its_own_labels(folder: Path) -> None:
    classes = scheme_of("nih15").classes
    supplies = [supply_of(f"{kind}:{folder / f'{name}.csv'}", concepts=classes) for kind, name in KINDS]
    material = read_material(supplies, concepts=classes, extractor=SchemeLabels("nih15"))
    effusion, pneumothorax, normal = (classes.index(name) for name in ("Effusion", "Pneumothorax", "No Finding"))
    first = material.texts[0]
    assert len(first.sentences) == 2, "what was asked is not among them"
    assert first.labels_SK[:, [effusion, pneumothorax]].tolist()[0][0] == 1.0
    assert first.labels_SK[1, pneumothorax] == 0.0 and np.isnan(first.labels_SK[1, effusion])
    assert material.texts[2].labels_SK[-1, normal] == 1.0
    assert material.texts[3].labels_SK[0, pneumothorax] == -1.0
    assert material.image_labels_NK[0, effusion] == 1.0


KINDS = (("images", "films"), ("texts", "reports"))


def test_a_run_of_medclip_needs_no_labels_of_texts(folder: Path) -> None:
    config = tiny(objective="medclip", scheme="nih15", num_steps=3)
    config = replace(config, batch=BatchConfig(num_pairs=0, num_images=4, num_texts=4, num_channels=1))
    supplies = [supply_of(f"{kind}:{folder / f'{name}.csv'}", concepts=config.classes) for kind, name in KINDS]
    result = train(config, supplies, folder / "out")
    assert result.steps == 3
    trace = json.loads((folder / "out" / RUN / "trace.json").read_text())
    assert "nih15" in json.dumps(trace)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(NotFound):
        _ = tiny(scheme="nih16").classes


def test_another_language_says_nothing() -> None:
    labels = SchemeLabels("chexpert14")
    assert labels("Kein Nachweis eines Pneumothorax, die Lunge ist frei.") == {}
    assert labels("No pneumothorax.")["Pneumothorax"] is Presence.ABSENT
