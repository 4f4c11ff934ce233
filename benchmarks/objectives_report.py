"""What the runs of the comparison came to: one JSON value, from which the page is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import objectives_data as data
from benchmarks import objectives_runs as runs
from benchmarks.figures import machine
from benchmarks.objectives_labels import agreement, share_labelled, unchanged
from benchmarks.objectives_tasks import (
    MIN_POSITIVES,
    Questions,
    ask,
    ask_films,
    chances,
    film_gallery,
    macro_auroc,
    scored,
    thumbnails,
)
from callosum.core.digest import digest_file
from callosum.evaluate.bootstrap import bootstrap
from callosum.models.checkpoints.load import open_checkpoint

SCHEMA = "callosum.objectives/1"
BASE, UNPAIRED, BOTH, CONTROL = "clip", "medclip-unpaired", "medclip-both", "clip-captions"
MAIN_FIGURE = "zero-shot AUROC, macro"
CLAIMS: tuple[tuple[str, tuple[str, float], tuple[str, float]], ...] = (
    ("unpaired data added, all pairs, over CLIP with all pairs", (BOTH, 1.0), (BASE, 1.0)),
    ("unpaired data added, a tenth of the pairs, over CLIP with a tenth", (BOTH, 0.1), (BASE, 0.1)),
    ("unpaired data added, 30 % of the pairs, over CLIP with 30 %", (BOTH, 0.3), (BASE, 0.3)),
    ("unpaired data added, a tenth of the pairs, over CLIP with all pairs", (BOTH, 0.1), (BASE, 1.0)),
    ("unpaired data added, a tenth of the pairs, over CLIP with 30 %", (BOTH, 0.1), (BASE, 0.3)),
    ("no pairs at all, over CLIP with all pairs", (UNPAIRED, 1.0), (BASE, 1.0)),
    ("the objective alone: pairs only, over CLIP with the same pairs", ("medclip", 1.0), (BASE, 1.0)),
    ("unpaired data added, over CLIP given the same films with label sentences", (BOTH, 1.0), (CONTROL, 1.0)),
    ("the same with a tenth of the pairs", (BOTH, 0.1), (CONTROL, 0.1)),
    ("own pairs also positive, over the same without", ("medclip-own", 1.0), (BOTH, 1.0)),
    ("films and reports by findings, over CLIP on films with label sentences", (UNPAIRED, 1.0), ("captions", 1.0)),
    ("films and reports by findings, over CLIP on matched sentences", (UNPAIRED, 1.0), ("matched", 1.0)),
)
"""What is said, the one method with its share of the pairs, and the other."""


def collect(folder: Path, bench: runs.Bench, questions: Questions, *, num_samples: int) -> dict[str, Any]:
    """Everything that the page says, from the results in the work folder."""
    planned = runs.plan(is_quick=bench.is_quick)
    found = [json.loads(bench.result(run).read_text()) for run in planned if bench.result(run).exists()]
    names = list(dict.fromkeys(name for result in found for name in result["figures"]))
    films, texts, classes = film_gallery(questions)
    reports, pairs = data.read(bench.manifests / "reports.csv"), data.read(bench.manifests / "pairs.csv")
    val = [row for row in questions.films if row["split"] == "val"]
    return {
        "schema": SCHEMA,
        "machine": machine(),
        "recipe": _recipe(),
        "methods": {method.name: method.title for method in runs.METHODS},
        "packs": {name: digest_file(folder / name / "manifest.csv") for name in PACKS},
        "rows": {
            "pairs": _count(pairs),
            **{pack: _count([row for row in pairs if row["pack"] == pack]) for pack in data.PAIRED},
            "films": _count(questions.films),
            "reports": _count(reports),
            "gallery": {"films": len(films), "texts": len(texts), "classes": classes},
            "findings": {data.FINDINGS[k]: sum(row[data.FINDINGS[k]] == "1" for row in val) for k in scored(val)},
            "classes": {name: len(rows) for name, rows in questions.classes.items()},
        },
        "chance": chances(questions),
        "references": references(bench, questions),
        "figures": names,
        "runs": [
            {**{key: value for key, value in result.items() if key != "figures"}, "values": _values(result, names)}
            for result in found
        ],
        "claims": claims(bench, [row["patient_id"] for row in val], num_samples=num_samples),
        "labels": {
            "share_of_pairs": share_labelled(pairs),
            "unchanged": unchanged(data.read(bench.manifests / f"{data.LABELLED}.csv")),
            "agreement": agreement(reports, least=MIN_POSITIVES),
        },
    }


PACKS = (*data.PAIRED, "cxr_nih14", "iu_reports", "cxr_pediatric", "medical_mnist")


def _recipe() -> dict[str, Any]:
    config = runs.recipes.clip()
    network = config.to_json()["architecture"]["config"]
    kept = {name: getattr(config, name) for name in ("num_steps", "ema_decay")}
    return {
        **kept,
        "precision": str(config.precision),
        "rows": runs.recipes.ROWS,
        "size_px": runs.recipes.SIDE_PX,
        "augmentation": str(config.batch.augmentation),
        "optim": asdict(config.optim),
        "towers": network,
    }


def _count(rows: Sequence[data.Row]) -> dict[str, int]:
    return {side: sum(row["split"] == side for row in rows) for side in data.SIDES}


def _values(result: dict[str, Any], names: Sequence[str]) -> list[float | None]:
    return [result["figures"].get(name) for name in names]


def references(bench: runs.Bench, questions: Questions) -> dict[str, Any]:
    """Figures of the weights that runs begin with, and of a probe on 16x16 grey pixels."""
    random = [ask(questions, open_checkpoint(bench.start(seed)))[0] for seed in bench.seeds]
    pixels, _ = ask_films(questions, thumbnails, None)
    return {"random": random, "pixels": pixels}


def scores_of(bench: runs.Bench, method: str, share: float) -> dict[int, dict[str, np.ndarray]]:
    """What was kept of a method's runs, by seed."""
    chosen = [run for run in runs.plan() if run.method.name == method and run.share == share]
    files = {run.seed: bench.result(run) for run in chosen}
    return {seed: dict(np.load(path.with_suffix(".npz"))) for seed, path in files.items() if path.exists()}


def claims(bench: runs.Bench, patients: Sequence[str], *, num_samples: int) -> list[dict[str, Any]]:
    """Differences of zero-shot AUROC, with intervals over the patients of the films and the spread over seeds."""
    found = []
    for what, one, other in CLAIMS:
        a, b = scores_of(bench, *one), scores_of(bench, *other)
        if seeds := sorted(set(a) & set(b)):
            pairs = [(a[seed], b[seed]) for seed in seeds]
            interval = bootstrap(
                partial(mean_difference, pairs),
                len(patients),
                rng=np.random.default_rng(0),
                groups=patients,
                num_samples=num_samples,
            )
            each = [mean_difference([pair], np.arange(len(patients))) for pair in pairs]
            found.append({"what": what, "one": one, "other": other, "seeds": each, **asdict(interval)})
    return found


Scores = dict[str, np.ndarray]


def mean_difference(pairs: Sequence[tuple[Scores, Scores]], rows: np.ndarray) -> float:
    """How much higher the macro AUROC of the first of each pair is on some rows; the mean over pairs."""
    each = [
        macro_auroc(a["label_NK"][rows], a["score_NK"][rows], a["chosen_K"])
        - macro_auroc(b["label_NK"][rows], b["score_NK"][rows], b["chosen_K"])
        for a, b in pairs
    ]
    return float(np.mean(each))
