"""Time and memory of the semantic-matching loss, beside the plain form that the released MedCLIP code computes.

Run it with `python -m benchmarks.semantic [--quick] [--json]`. A step is forward and backward on 512-wide embeddings,
in a process of its own, one thread; the time is CPU time, forms are run in turn, and ratios are medians over rounds.
Memory is the peak above what the process held before the step. `patterns`: rows have one of 300 combinations of 14
findings, which is assumed and not measured on an archive; `different`: no two rows have the same findings. The plain
form has float64 labels and hence float64 targets, as released; `float32_form` is the same with float32 labels.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.figures import Figure, arguments, save, show
from callosum.objectives.soft_match import MedClip, TargetSimilarity
from callosum.objectives.views import Side, Views

WIDTH, NUM_FINDINGS, NUM_PATTERNS = 512, 14, 300
FORMS = ("plain", "float32_form", "ours")
GB = 1e9


def batch(num_rows: int, kind: str) -> tuple[list[Tensor], list[Tensor]]:
    """Embeddings that want gradients, and labels, of images and of texts."""
    generator = torch.Generator().manual_seed(0)
    few = (torch.rand(NUM_PATTERNS, NUM_FINDINGS, generator=generator) < 0.2).float()
    embeddings, labels = [], []
    for _ in range(2):
        rows = torch.randn(num_rows, WIDTH, generator=generator)
        embeddings.append(functional.normalize(rows, dim=1).requires_grad_())
        if kind == "patterns":
            labels.append(few[torch.randint(NUM_PATTERNS, (num_rows,), generator=generator)])
        else:
            labels.append(torch.rand(num_rows, NUM_FINDINGS, generator=generator))
    return embeddings, labels


def plain(embeddings: list[Tensor], labels: list[Tensor], scale: Tensor) -> Tensor:
    """As `ImageTextContrastiveLoss` of the released code computes it."""
    logits = scale * embeddings[0] @ embeddings[1].T
    similarity = labels[0] @ labels[1].T

    def one_way(logits: Tensor, similarity: Tensor) -> Tensor:
        return -(similarity.softmax(dim=1) * logits.log_softmax(dim=1)).sum() / len(logits)

    return (one_way(logits, similarity) + one_way(logits.T, similarity.T)) / 2


def ours(embeddings: list[Tensor], labels: list[Tensor], scale: Tensor) -> Tensor:
    """The same by blocks and patterns."""
    image, text = (Side(embedding_ND=e, present_NK=p) for e, p in zip(embeddings, labels, strict=True))
    return MedClip(targets=TargetSimilarity.DOT)(Views(image=image, text=text, logit_scale=scale))["loss"]


def peak_bytes() -> int:
    """The most memory this process has held since its mark was reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def step(form: str, num_rows: int, kind: str) -> dict[str, float]:
    """One step in this process: CPU seconds, bytes above the start, loss and what tells the gradients apart."""
    torch.set_num_threads(1)
    run = ours if form == "ours" else plain
    scale = torch.tensor(1 / 0.07, requires_grad=True)
    small = batch(64, kind)
    run(*small, scale).backward()
    scale.grad = None
    embeddings, labels = batch(num_rows, kind)
    if form == "plain":
        labels = [rows.double() for rows in labels]
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()
    start = time.process_time()
    loss = run(embeddings, labels, scale)
    loss.backward()
    seconds = time.process_time() - start
    extra = peak_bytes() - before
    grads = [value.grad.double() for value in (*embeddings, scale) if value.grad is not None]
    direction = torch.randn(num_rows, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    sums = [float((grads[n] * direction).sum() / grads[n].norm()) for n in range(2)]
    found = {"seconds": seconds, "bytes": extra, "loss": float(loss.detach()), "scale": float(grads[2])}
    return found | {"image": sums[0], "text": sums[1]}


def measured(form: str, num_rows: int, kind: str) -> dict[str, float]:
    """`step` in a new process."""
    command = [sys.executable, "-m", "benchmarks.semantic", "--step", form, str(num_rows), kind]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(out.splitlines()[-1]))


def beside_plain(num_rows: int, kind: str, *, rounds: int, is_goal: bool) -> list[Figure]:
    """Ours beside both plain forms."""
    runs = [{form: measured(form, num_rows, kind) for form in FORMS} for _ in range(rounds)]
    name = f"{kind}/{num_rows}"

    def faster(form: str) -> float:
        return statistics.median(run[form]["seconds"] / run["ours"]["seconds"] for run in runs)

    last = runs[-1]
    off = max(abs(last["ours"][key] / last["plain"][key] - 1) for key in ("loss", "scale"))
    # The gradients' sums along one random direction are of the size of one, and may be near zero.
    turned = max(abs(last["ours"][key] - last["plain"][key]) for key in ("image", "text"))
    return [
        Figure(name=f"{name}/times_faster", value=faster("plain"), target=2.0 if is_goal else None),
        Figure(name=f"{name}/times_faster_than_float32_form", value=faster("float32_form")),
        Figure(
            name=f"{name}/extra_memory",
            value=max(run["ours"]["bytes"] for run in runs) / GB,
            target=0.3 if is_goal else None,
            is_at_least=False,
            unit="GB",
        ),
        Figure(name=f"{name}/extra_memory_of_plain", value=last["plain"]["bytes"] / GB, unit="GB"),
        Figure(name=f"{name}/extra_memory_of_float32_form", value=last["float32_form"]["bytes"] / GB, unit="GB"),
        Figure(name=f"{name}/cpu_time", value=statistics.median(run["ours"]["seconds"] for run in runs), unit="s"),
        Figure(name=f"{name}/loss_and_scale_off_by", value=off, target=1e-5, is_at_least=False),
        Figure(name=f"{name}/gradients_off_by", value=turned, target=1e-4, is_at_least=False),
    ]


def alone(num_rows: int) -> list[Figure]:
    """Where the plain form needs more memory than most machines have."""
    run = measured("ours", num_rows, "patterns")
    name = f"patterns/{num_rows}"
    return [
        Figure(name=f"{name}/extra_memory", value=run["bytes"] / GB, target=1.0, is_at_least=False, unit="GB"),
        Figure(name=f"{name}/cpu_time", value=run["seconds"], unit="s"),
    ]


def main() -> None:
    """Print the figures; a full run writes them too."""
    parser: argparse.ArgumentParser = arguments(__doc__)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        form, num_rows, kind = options.step
        print(json.dumps(step(form, int(num_rows), kind)))
        return
    size, rounds = (2048, 1) if options.quick else (8192, 3)
    figures = beside_plain(size, "patterns", rounds=rounds, is_goal=not options.quick)
    figures += beside_plain(size, "different", rounds=1, is_goal=False)
    if not options.quick:
        figures += alone(32768)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("semantic", figures)


if __name__ == "__main__":
    main()
