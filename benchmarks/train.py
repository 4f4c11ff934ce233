"""How much faster a training step is than MedCLIP's way of doing it, on the same towers in the same run.

Run it with `python -m benchmarks.train [--quick] [--json]`. The towers are MedCLIP's: Swin-tiny and BERT-base, random
weights, 32 pictures and 32 texts of 32 pieces. The peer's step is written the ordinary way, below: float32, attention
spelt out, the naive semantic loss, `torch.optim.AdamW`. It has none of the peer's dropout, whose cost is left out in
its favour. One thread; the time is CPU time; each variant has a process of its own, they run in turn, and ratios are
medians over rounds. `products` is how much faster matrices are multiplied here than by the plain path: a step that
multiplies nine tenths of its time cannot gain much more.
"""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from benchmarks.figures import Figure, arguments, save, show
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.runtime.switch import permitted
from callosum.models.text.bert import BertConfig
from callosum.models.text.pooling import Pool
from callosum.models.tokenizer import SubwordTokenizer, train_wordpiece
from callosum.models.towers import DualConfig
from callosum.models.vision.swin import SwinConfig
from callosum.objectives.soft_match import MedClip, TargetSimilarity
from callosum.train.adapt import AdaptConfig, Tune, adapt, set_training
from callosum.train.features import locked_copy
from callosum.train.optim import OptimConfig, adamw
from callosum.train.precision import StepPrecision, fast_products, keep_memory
from callosum.train.step import Inputs, Step, normalised

NUM_TOKENS, NUM_CONCEPTS, VOCABULARY = 32, 14, 28996
MAX_NORM = 1.0
WARM, STEPS, LEAST_S = 3, 3, 0.5
"""Steps that are not counted, for the memory of a run grows in the first ones; then how often so many seconds are."""
TARGETS = {"fp32": 1.6, "bf16": 2.7, "frozen": 9.0, "features": 1000.0}
Run = Callable[[], float]


def towers() -> DualEncoder:
    """MedCLIP's, with random weights."""
    text = BertConfig(vocab_size=VOCABULARY, context_length=77, pool=Pool.MEDCLIP_MASKED)
    torch.manual_seed(0)
    return DualEncoder(DualConfig(dim=512, vision=SwinConfig(), text=text), Preprocess(size_px=224))


def made_inputs(num_rows: int, *, seed: int = 0) -> Inputs:
    """Random pictures, texts of one length, and findings of which one in six is there."""
    generator = torch.Generator().manual_seed(seed)
    present = [(torch.rand(num_rows, NUM_CONCEPTS, generator=generator) < 1 / 6).float() for _ in range(2)]
    ids = torch.randint(1000, VOCABULARY, (num_rows, NUM_TOKENS), generator=generator).tolist()
    unpaired = torch.full((num_rows,), -1)
    return Inputs(
        image=torch.rand(num_rows, 3, 224, 224, generator=generator),
        text=ids,
        image_facts={"present_NK": present[0], "pair_N": unpaired},
        text_facts={"present_NK": present[1], "pair_N": unpaired},
    )


def peer(network: DualEncoder, inputs: Inputs) -> Run:
    """MedCLIP's step."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-5, weight_decay=1e-4)
    ids = torch.tensor(inputs.text)
    mask = torch.ones_like(ids, dtype=torch.bool)
    pixels = (inputs.image - network.mean) / network.std
    soft = inputs.image_facts["present_NK"] @ inputs.text_facts["present_NK"].T

    def half(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -(target.softmax(dim=1) * functional.log_softmax(logits, dim=1)).sum() / len(logits)

    def run() -> float:
        optimizer.zero_grad()
        image = functional.normalize(network.image_projection(network.vision(pixels)), dim=-1)
        text = functional.normalize(network.text_projection(network.text(ids, mask)), dim=-1)
        logits = network.logit_scale * image @ text.T
        loss = (half(logits, soft) + half(logits.T, soft.T)) / 2
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        optimizer.step()
        return float(loss.detach())

    return run


def ours(
    network: DualEncoder,
    inputs: Inputs,
    tokenizer: SubwordTokenizer,
    *,
    tune: Tune = Tune.FULL,
    precision: StepPrecision = StepPrecision.FP32,
) -> Run:
    """The step of `callosum.train`."""
    config = AdaptConfig(tune=tune)
    adapt(network, tokenizer, config)
    optimizer = adamw(network, (), OptimConfig(learning_rate=2e-5, weight_decay=1e-4))
    is_locked = tune is Tune.PROJECTION and inputs.image.ndim == 4
    locked = {n: locked_copy(getattr(network, n), precision) for n in ("vision", "text")} if is_locked else {}
    step = Step(network, tokenizer, MedClip(targets=TargetSimilarity.DOT), precision=precision, locked=locked)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def run() -> float:
        set_training(network, config)
        optimizer.zero_grad(set_to_none=True)
        terms = step.backward(inputs)
        nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()
        return float(terms["loss"])

    return run


def on_features(network: DualEncoder, inputs: Inputs, tokenizer: SubwordTokenizer) -> Run:
    """The projections alone, on features of locked towers that were computed before."""
    with torch.inference_mode():
        image = locked_copy(network.vision, StepPrecision.FP32)(normalised(network, inputs.image))
        ids = torch.tensor(inputs.text)
        text = locked_copy(network.text, StepPrecision.FP32)(ids, torch.ones_like(ids, dtype=torch.bool))
    inputs = replace(inputs, image=image.clone(), text=text.clone())
    return ours(network, inputs, tokenizer, tune=Tune.PROJECTION)


def timed(name: str, num_rows: int) -> dict[str, float]:
    """CPU seconds of a step after the first ones, and the loss of the first."""
    torch.set_num_threads(1)
    make = variants(num_rows)[name]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if name != "peer":
            keep_memory()
            stack.enter_context(fast_products(Path(folder)))
        run = make()
        loss, times = run(), []
        for _ in range(WARM - 1):
            run()
        for _ in range(STEPS):
            start, num = time.process_time(), 0
            while not num or time.process_time() - start < LEAST_S:
                run()
                num += 1
            times.append((time.process_time() - start) / num)
    return {"loss": loss, "step_s": statistics.median(times)}


def variants(num_rows: int) -> dict[str, Callable[[], Run]]:
    """How each step is made; one at a time is in memory."""
    inputs = made_inputs(num_rows)
    network = towers()
    learnt = train_wordpiece(["a film"], vocab_size=30, min_frequency=1)
    tokenizer = SubwordTokenizer(learnt, context_length=77)
    bf16 = StepPrecision.BF16

    def fresh() -> DualEncoder:
        return copy.deepcopy(network)

    return {
        "peer": lambda: peer(fresh(), inputs),
        "fp32": lambda: ours(fresh(), inputs, tokenizer),
        "bf16": lambda: ours(fresh(), inputs, tokenizer, precision=bf16),
        "frozen": lambda: ours(fresh(), inputs, tokenizer, tune=Tune.PROJECTION, precision=bf16),
        "features": lambda: on_features(fresh(), inputs, tokenizer),
    }


def measure(num_rows: int, *, rounds: int) -> list[Figure]:
    """Ratios to the peer's step, its seconds, and how equal the losses are; every step in a process of its own."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ("peer", *TARGETS)}
    for _ in range(rounds):
        for name in found:
            command = [sys.executable, "-m", "benchmarks.train", "--variant", name, "--rows", str(num_rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout))
    steps = {name: [each["step_s"] for each in runs] for name, runs in found.items()}
    figures = [Figure(name="train/peer_step", value=statistics.median(steps["peer"]), unit="s")]
    for name, target in TARGETS.items():
        value = statistics.median(p / s for p, s in zip(steps["peer"], steps[name], strict=True))
        figures.append(Figure(name=f"train/{name}_ratio", value=value, target=target, unit="x"))
    exact = found["peer"][0]["loss"]
    for name, bound in (("fp32", 1e-5), ("bf16", 1e-2)):
        error = abs(found[name][0]["loss"] - exact) / abs(exact)
        figures.append(Figure(name=f"train/{name}_loss_error", value=error, target=bound, is_at_least=False))
    return figures


def product_figures() -> list[Figure]:
    """How much faster the products of a step can be here: the limit of any step that does the same arithmetic."""
    torch.set_num_threads(1)
    x, weight = torch.randn(1024, 768), torch.randn(3072, 768)
    runs = {"plain": partial(torch.mm, x, weight.T), "bf16": partial(torch.mm, x.bfloat16(), weight.bfloat16().T)}
    least = dict.fromkeys((*runs, "fp32"), float("inf"))
    for _ in range(20):
        for name in least:
            with permitted() if name == "fp32" else nullcontext():
                start = time.thread_time()
                runs.get(name, runs["plain"])()
                least[name] = min(least[name], time.thread_time() - start)
    return [
        Figure(name=f"train/{name}_products", value=least["plain"] / least[name], unit="x") for name in ("fp32", "bf16")
    ]


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--variant", choices=("peer", *TARGETS), help="one step alone, as a JSON object")
    parser.add_argument("--rows", type=int, default=32, help="pictures and texts of that step")
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(timed(options.variant, options.rows)))
        return
    figures = product_figures() + measure(8 if options.quick else 32, rounds=1 if options.quick else 3)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("train", figures)


if __name__ == "__main__":
    main()
