"""Five objectives on the same towers with the same budget, and what unpaired data add.

    python -m benchmarks.objectives --data DIR --work DIR [--quick] [--json]

Two idle cores need about an hour and a half; what is done is kept in the work folder, and a comparison that was
interrupted goes on when the command is given again. The full run writes `benchmarks/results/objectives.json`,
`docs/results/objectives.md` and its figure; `--written` writes them from the runs that are done.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a core for each process; before numpy and torch read it

import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import objectives_data as data
from benchmarks import objectives_runs as runs
from benchmarks.figures import Figure, arguments, show
from benchmarks.objectives_labels import concepts_of, said
from benchmarks.objectives_page import PLOT, TABLE, page, plot
from benchmarks.objectives_report import collect
from benchmarks.objectives_results import Results
from benchmarks.objectives_tasks import Questions, ask
from recipes.objectives import SIDE_PX

ROOT = Path(__file__).parents[1]
NOISE = 0.3


def questions_of(folder: Path, bench: runs.Bench) -> Questions:
    """What checkpoints are asked."""
    pixels = bench.folder / "pixels"
    return Questions(folder, bench.manifests, pixels=pixels, size_px=SIDE_PX, is_quick=bench.is_quick)


def prepare(folder: Path, bench: runs.Bench) -> None:
    """Manifests, starts and pixels, unless they are there."""
    labelled = bench.manifests / f"{data.LABELLED}.csv"
    if not labelled.exists():
        data.write_all(folder, bench.manifests, is_quick=bench.is_quick, noise=NOISE)
        pairs = data.read(bench.manifests / "pairs.csv")
        data.write(labelled, data.labelled(pairs, said, concepts_of(pairs)))
    for seed in bench.seeds:
        runs.make_start(bench, seed)
    questions_of(folder, bench)


def worker(folder: Path, bench: runs.Bench) -> None:
    """One process of the comparison."""
    runs.work(bench, partial(ask, questions_of(folder, bench)))


def figures_of(value: dict[str, Any]) -> list[Figure]:
    """The main table as figures."""
    results = Results(value)
    found = []
    for method in results.done:
        for figure, title in TABLE:
            if point := results.point(method, figure):
                found.append(Figure(name=f"{results.titles[method]}: {title}", value=round(point.mean, 4)))
    return found


def compact(value: dict[str, Any]) -> str:
    """JSON with a line a run."""
    lines = [f"  {json.dumps(run)}" for run in value["runs"]]
    text = json.dumps({**value, "runs": []}, indent=1)
    return text.replace('"runs": []', '"runs": [\n' + ",\n".join(lines) + "\n ]") + "\n"


def write(value: dict[str, Any]) -> None:
    """Keep the figures, the page and its picture."""
    docs = ROOT / "docs" / "results"
    (ROOT / "benchmarks" / "results" / "objectives.json").write_text(compact(value), encoding="utf-8")
    (docs / PLOT).write_text(plot(Results(value)), encoding="utf-8")
    (docs / "objectives.md").write_text(page(value), encoding="utf-8")


def main() -> None:
    """Run what is not done, and write down what all of it came to."""
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("CALLOSUM_DATA"), help="folder of the packs")
    parser.add_argument("--work", type=Path, required=True, help="folder of runs; kept, to go on after an interruption")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--written", action="store_true", help="run nothing; write down what is done")
    options = parser.parse_args()
    if options.data is None:
        sys.exit("Name the folder of the data packs with --data or CALLOSUM_DATA.")
    folder = Path(options.data)
    bench = runs.Bench(folder=options.work / "quick" if options.quick else options.work, is_quick=options.quick)
    prepare(folder, bench)
    if not options.written:
        with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
            for done in as_completed([pool.submit(worker, folder, bench) for _ in range(options.processes)]):
                done.result()
    value = collect(folder, bench, questions_of(folder, bench), num_samples=50 if options.quick else 1000)
    show(figures_of(value), form="json" if options.json else "table")
    if not options.quick:
        write(value)


if __name__ == "__main__":
    main()
