"""The runs of the comparison: which objective, on which data, with how many of the pairs, from which weights.

Every run of one seed begins with the same weights and the same vocabulary, and sees as many pictures. Runs that are
done are not done again, and several processes share the rest.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmarks import objectives_data as data
from callosum.models.checkpoints.cards import Card
from callosum.models.checkpoints.load import open_checkpoint
from callosum.models.checkpoints.save import save_checkpoint
from callosum.models.encoder import CheckpointEncoder
from callosum.train.recipe import RunConfig
from callosum.train.run import train
from callosum.train.start import from_random
from recipes import objectives as recipes

SEEDS = (0, 1, 2)
SHARES = (1.0, 0.3, 0.1)
QUICK_STEPS, QUICK_ROWS = 8, 16
SHARP = {"target_temperature": 0.1}
OWN = {**SHARP, "equal_text": "positive"}
LOGGED = ("target_entropy", "target_entropy_share", "loss", "step_s")
LAST = 50
"""Steps at the end of a run whose logged terms are averaged."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One line of the table.

    Attributes:
        name: Its short name.
        title: What it is, for the page.
        recipe: The objective with the budget.
        pairs: Manifest of the pairs; empty for none.
        more: Further manifests, of which half of each batch comes where there are pairs.
        settings: Of the objective.
        shares: Parts of the pairs it is run with.
    """

    name: str
    title: str
    recipe: Callable[[], RunConfig]
    pairs: str = "pairs"
    more: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    shares: tuple[float, ...] = SHARES


UNPAIRED, NOISY = ("films", "reports"), ("noisy_films", "noisy_reports")
LABELLED = data.LABELLED
MAIN = (
    Method(name="clip", title="CLIP", recipe=recipes.clip),
    Method(name="siglip", title="SigLIP", recipe=recipes.siglip),
    Method(name="convirt", title="ConVIRT", recipe=recipes.convirt),
    Method(name="gloria", title="GLoRIA", recipe=recipes.gloria),
    Method(name="clip-captions", title="CLIP + films with label sentences", recipe=recipes.clip, more=("captions",)),
    Method(
        name="medclip-unpaired",
        title="MedCLIP, unpaired only",
        recipe=recipes.medclip,
        pairs="",
        more=UNPAIRED,
        settings=SHARP,
        shares=(1.0,),
    ),
    Method(name="medclip", title="MedCLIP", recipe=recipes.medclip, pairs=LABELLED, settings=SHARP),
    Method(
        name="medclip-both",
        title="MedCLIP + unpaired",
        recipe=recipes.medclip,
        pairs=LABELLED,
        more=UNPAIRED,
        settings=SHARP,
    ),
    Method(
        name="medclip-own",
        title="MedCLIP + unpaired, own pairs positive",
        recipe=recipes.medclip,
        pairs=LABELLED,
        more=UNPAIRED,
        settings=OWN,
        shares=(1.0, 0.1),
    ),
)
"""What is compared, with every share of the pairs."""


def _unpaired(name: str, title: str, more: tuple[str, ...] = UNPAIRED, **settings: Any) -> Method:
    """A variant of MedCLIP without pairs, so that nothing but what it varies differs."""
    return Method(
        name=f"unpaired-{name}",
        title=f"MedCLIP, unpaired only, {title}",
        recipe=recipes.medclip,
        pairs="",
        more=more,
        settings={**SHARP, **settings},
        shares=(1.0,),
    )


ABLATIONS = (
    _unpaired("t1", "temperature 1 (the paper's)", target_temperature=1.0),
    _unpaired("t0.3", "temperature 0.3", target_temperature=0.3),
    _unpaired("t0.03", "temperature 0.03", target_temperature=0.03),
    _unpaired("dot", "dot products, temperature 1 (the released code's)", targets="dot", target_temperature=1.0),
    _unpaired("noise", "30 % of labels of another row", NOISY),
    Method(
        name="matched",
        title="CLIP on films with sentences of equal labels",
        recipe=recipes.clip,
        pairs="matched",
        shares=(1.0,),
    ),
    Method(
        name="captions",
        title="CLIP on films with label sentences",
        recipe=recipes.clip,
        pairs="captions",
        shares=(1.0,),
    ),
    Method(
        name="medclip-t1",
        title="MedCLIP on pairs, temperature 1 (the paper's)",
        recipe=recipes.medclip,
        pairs=LABELLED,
        settings={"target_temperature": 1.0},
        shares=(1.0,),
    ),
)
"""What explains the comparison; with all data, and no pairs unless that is said."""
METHODS = (*MAIN, *ABLATIONS)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A method with a share of the pairs and a seed."""

    method: Method
    share: float
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.method.name}-{self.share:g}-{self.seed}"


def plan(*, is_quick: bool = False) -> Iterator[Run]:
    """Every run, so that a comparison that is cut short is still balanced.

    All and a tenth of the pairs come first, a seed with all methods before the next; then what explains it with the
    first seed, the share between, and what explains it with the other seeds. A quick one is every method once.
    """
    if is_quick:
        yield from (Run(method=method, share=SHARES[0], seed=SEEDS[0]) for method in METHODS)
        return
    parts = (
        (MAIN, SEEDS, (SHARES[0], SHARES[-1])),
        (ABLATIONS, SEEDS[:1], SHARES),
        (MAIN, SEEDS, SHARES[1:-1]),
        (ABLATIONS, SEEDS[1:], SHARES),
    )
    for methods, seeds, shares in parts:
        for seed, share, method in itertools.product(seeds, shares, methods):
            if share in method.shares:
                yield Run(method=method, share=share, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where the comparison works.

    Attributes:
        folder: Manifests, starts, pixels and results.
        is_quick: Few rows and steps.
    """

    folder: Path
    is_quick: bool = False

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of its runs."""
        return SEEDS[:1] if self.is_quick else SEEDS

    @property
    def manifests(self) -> Path:
        """Folder of the manifests."""
        return self.folder / "manifests"

    def start(self, seed: int) -> Path:
        """The checkpoint with random weights that the runs of a seed begin with."""
        return self.folder / "starts" / str(seed)

    def result(self, run: Run) -> Path:
        """Figures of a run; there when it is done."""
        return self.folder / "results" / f"{run.name}.json"


def make_start(bench: Bench, seed: int) -> None:
    """Write random weights, with the vocabulary of all training texts, unless they are there."""
    folder = bench.start(seed)
    if (folder / "card.json").exists():
        return
    start = from_random(recipes.towers(), list(data.training_texts(bench.manifests)), seed=seed)
    card = Card(
        name=f"compared.start{seed}",
        summary="Random weights that runs of a comparison begin with.",
        intended_use="The comparison.",
        not_for="Anything else: nothing was learnt.",
        licence="none",
    )
    save_checkpoint(folder, start.network, wordpiece=start.tokenizer, preprocess=start.preprocess, card=card)


def config_of(run: Run, bench: Bench) -> RunConfig:
    """The recipe of a method from the start of a seed."""
    method = run.method
    config = method.recipe()
    rows = QUICK_ROWS if bench.is_quick else recipes.ROWS
    steps = QUICK_STEPS if bench.is_quick else config.num_steps
    is_loose = bool(set(method.more) & {*UNPAIRED, *NOISY})
    num_pairs = 0 if not method.pairs else rows // 2 if is_loose else rows
    num_loose = rows - num_pairs
    return replace(
        config,
        start=f"local-dir:{bench.start(run.seed)}",
        architecture=None,
        objective_settings=dict(method.settings),
        num_steps=steps,
        num_threads=1,
        seed=run.seed,
        batch=replace(config.batch, num_pairs=num_pairs, num_images=num_loose, num_texts=num_loose),
        watch=replace(config.watch, save_every=steps),
    )


def train_one(run: Run, bench: Bench, out: Path) -> dict[str, Any]:
    """Train, and say what the log says of it."""
    names = [name for name in (run.method.pairs, *run.method.more) if name]
    supplies = [
        data.supply(bench.manifests, name, share=run.share if name == run.method.pairs else 1.0) for name in names
    ]
    started = time.perf_counter()
    result = train(config_of(run, bench), supplies, out, pixels=bench.folder / "pixels")
    trace = json.loads((out / "run" / "trace.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (out / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    last = [line for line in lines if line["kind"] == "step"][-LAST:]
    logged = {name: float(np.mean([line[name] for line in last])) for name in LOGGED if last and name in last[0]}
    counts = {name: trace["data"][name] for name in ("num_pictures", "num_texts", "num_pairs")}
    return {"seconds": round(time.perf_counter() - started, 1), "steps": result.steps, "logged": logged, **counts}


def is_ready(run: Run, bench: Bench) -> bool:
    """Whether its manifests are there: labels of pairs need an extractor."""
    names = [name for name in (run.method.pairs, *run.method.more) if name]
    return all((bench.manifests / f"{name}.csv").exists() for name in names)


Examine = Callable[[CheckpointEncoder], tuple[dict[str, float], dict[str, np.ndarray]]]
"""A checkpoint to its figures, and to scores that are resampled later."""


def work(bench: Bench, examine: Examine) -> None:
    """Do what is not done and no other process is doing, in the order of the plan, until nothing is left."""
    (bench.folder / "locks").mkdir(parents=True, exist_ok=True)
    while any([_try(run, bench, examine) for run in plan(is_quick=bench.is_quick)]):
        pass


def _try(run: Run, bench: Bench, examine: Examine) -> bool:
    """Do a run, unless it is done, another process does it, or its manifests are not there."""
    if bench.result(run).exists() or not is_ready(run, bench):
        return False
    try:
        with FileLock(bench.folder / "locks" / run.name, timeout=0):
            if bench.result(run).exists():
                return False
            do(run, bench, examine)
    except Timeout:
        return False
    return True


def do(run: Run, bench: Bench, examine: Examine) -> None:
    """Train, examine and keep the figures; the checkpoint is not kept."""
    out = bench.folder / "runs" / run.name
    shutil.rmtree(out, ignore_errors=True)
    facts = train_one(run, bench, out)
    started = time.perf_counter()
    figures, scores = examine(open_checkpoint(out))
    facts["examined_s"] = round(time.perf_counter() - started, 1)
    keep(bench.result(run), {"method": run.method.name, "share": run.share, "seed": run.seed, **facts}, figures, scores)
    shutil.rmtree(out)
    print(f"{run.name}: {facts['seconds']} s, {json.dumps(figures)}", file=sys.stderr, flush=True)


def keep(path: Path, facts: dict[str, Any], figures: dict[str, float], scores: dict[str, np.ndarray]) -> None:
    """Write figures and scores, the figures last: a run is done when they are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path.with_suffix(".npz"), **scores)  # type: ignore[arg-type]
    draft = path.with_suffix(f".{os.getpid()}.part")
    draft.write_text(json.dumps({**facts, "figures": figures}, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
