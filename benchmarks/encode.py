"""How much faster towers encode than the peer's eager float32 path, and how close that is to what the cores can do.

Run it with `python -m benchmarks.encode [--quick] [--json] [--checkpoint FOLDER]`. The peer is open_clip where it is
installed; else the same architecture written the ordinary way, below (`peer_is_open_clip` says which). Towers have the
sizes of BiomedCLIP, Swin-tiny and ResNet-50, and random weights. One thread; the time is CPU time; variants are run in
turn, and ratios are medians over rounds. `limit` is the ratio of a program that does the tower's arithmetic at the
matrix speed measured here and nothing else: where it lies under the target, no program of that precision reaches it.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.figures import Figure, arguments, save, show
from callosum.core.cores import num_cores
from callosum.core.display import Window, WindowFunction
from callosum.core.record import Image, PixelUnit
from callosum.models.preprocess import Preprocess, Resample
from callosum.models.runtime.accelerate import accelerate
from callosum.models.runtime.bucket import bucketed, chunked
from callosum.models.runtime.fidelity import Fidelity, fidelity
from callosum.models.runtime.packed import linear, linear_weight
from callosum.models.runtime.precision import Precision
from callosum.models.runtime.probe import DTYPE, probe_here
from callosum.models.runtime.unpadded import encode_unpadded, takes_unpadded
from callosum.models.text.bert import Bert, BertConfig
from callosum.models.vision.resnet import ResNet, ResNetConfig
from callosum.models.vision.swin import Swin, SwinConfig
from callosum.models.vision.vit import ViT, ViTConfig

WIDTH, NUM_BLOCKS, NUM_HEADS, NUM_TOKENS = 768, 12, 12, 197
CONTEXT, SHORT = 256, 24
VOCABULARY = 30522
HAS_OPEN_CLIP = importlib.util.find_spec("open_clip") is not None
Run = Callable[[], Any]


class PeerBlock(nn.Module):
    """A transformer block as timm (pre-norm) and transformers (post-norm) write it."""

    def __init__(self, *, is_post_norm: bool) -> None:
        super().__init__()
        self.is_post_norm = is_post_norm
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Torch's fused attention."""
        B, L, _ = x.shape
        q, k, v = self.qkv(x).view(B, L, 3, NUM_HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(B, L, WIDTH))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Two residual steps."""
        if self.is_post_norm:
            x = self.norm1(x + self.attention(x, mask))
            return self.norm2(x + self.down(functional.gelu(self.up(x))))
        x = x + self.attention(self.norm1(x), mask)
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class PeerViT(nn.Module):
    """ViT-B/16."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 16, 16)
        self.first, self.position = torch.zeros(1, 1, WIDTH), torch.randn(1, NUM_TOKENS, WIDTH)
        self.blocks = nn.ModuleList(PeerBlock(is_post_norm=False) for _ in range(NUM_BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """The class token."""
        patches = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), patches], dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 0]


class PeerBert(nn.Module):
    """BERT-base over ids padded with 0, as open_clip calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(512, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.blocks = nn.ModuleList(PeerBlock(is_post_norm=True) for _ in range(NUM_BLOCKS))

    def forward(self, ids: Tensor) -> Tensor:
        """The class token."""
        x = self.norm(self.token(ids) + self.position.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, (ids != 0)[:, None, None, :])
        return x[:, 0]


def peer_vit() -> nn.Module:
    """The peer's image tower, with random weights."""
    if not HAS_OPEN_CLIP:
        return PeerViT().eval()
    from open_clip.timm_model import TimmModel

    return TimmModel("vit_base_patch16_224", embed_dim=512, image_size=224, pool="", proj="linear").eval()


def peer_bert() -> nn.Module:
    """The peer's text tower, with random weights."""
    if not HAS_OPEN_CLIP:
        return PeerBert().eval()
    from open_clip.hf_model import HFTextEncoder
    from transformers import BertConfig as PeerConfig

    config = PeerConfig(vocab_size=VOCABULARY)
    pooler = "cls_last_hidden_state_pooler"
    return HFTextEncoder("bert", 512, config=config, pooler_type=pooler, proj_type="mlp", pretrained=False).eval()


def in_turn(runs: Mapping[str, Run], *, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each, round by round, after one call of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for n in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if n:
                times[name].append(time.process_time() - start)
    return times


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median over the rounds."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def fast_towers(tower: nn.Module) -> dict[str, nn.Module]:
    """The tower in both precisions of the torch runtime."""
    return {p.value: accelerate(copy.deepcopy(tower), precision=p) for p in (Precision.FP32, Precision.BF16)}


def closeness(name: str, precision: str, found: Fidelity) -> list[Figure]:
    """Fidelity as figures, with the bounds of the precision."""
    if precision == "fp32":
        return [
            Figure(name=f"{name}/max_abs", value=found.max_abs, target=1e-5, is_at_least=False),
            Figure(name=f"{name}/min_cosine", value=min(1.0, found.min_cosine), target=0.999999),
        ]
    return [Figure(name=f"{name}/min_cosine", value=found.min_cosine, target=0.9995)]


def tower_flops(num_rows: int, num_tokens: int, *, is_short: bool) -> float:
    """Multiplications and additions of a base transformer; `is_short` where the last block has one row of queries."""

    def block(queries: int) -> float:
        return 2 * WIDTH * (2 * WIDTH * num_tokens + 10 * WIDTH * queries + 2 * num_tokens * queries)

    last = block(1 if is_short else num_tokens)
    return num_rows * ((NUM_BLOCKS - 1) * block(num_tokens) + last)


def gemm(precision: Precision) -> tuple[Run, float]:
    """The product that a tower spends most of its time in, packed, and its operations."""
    M, K, N, times = 8 * NUM_TOKENS, WIDTH, 4 * WIDTH, 4
    dtype = DTYPE[precision]
    x, weight = torch.randn(M, K).to(dtype), linear_weight(torch.randn(N, K).to(dtype))

    def run() -> None:
        for _ in range(times):
            linear(x, weight, None)

    return run, 2.0 * M * K * N * times


def machine_figures(*, rounds: int) -> tuple[list[Figure], dict[str, float]]:
    """Matrix speed of one core, and what the probe costs."""
    start = time.process_time()
    for precision in DTYPE:
        probe_here(precision)
    probe_s = time.process_time() - start
    runs = {precision.value: gemm(precision) for precision in DTYPE}
    times = in_turn({name: run for name, (run, _) in runs.items()}, rounds=3 * rounds)
    peak = {name: runs[name][1] / min(s) for name, s in times.items()}
    figures = [
        Figure(name="peer_is_open_clip", value=float(HAS_OPEN_CLIP)),
        Figure(name="probe_of_both_precisions", value=1000 * probe_s, unit="CPU ms"),
    ]
    return figures + [Figure(name=f"peak/{n}", value=v / 1e9, unit="GF/s") for n, v in peak.items()], peak


def image_figures(*, rounds: int, peak: Mapping[str, float]) -> list[Figure]:
    """ViT-B/16."""
    torch.manual_seed(0)
    config = ViTConfig(size_px=224, patch_px=16, width=WIDTH, num_blocks=NUM_BLOCKS, num_heads=NUM_HEADS)
    tower, peer = ViT(config).eval(), peer_vit()
    fast, figures = fast_towers(tower), []
    for B in (1, 8):
        x = torch.randn(B, 3, 224, 224)
        runs: dict[str, Run] = {"peer": lambda x=x: peer(x)}
        runs |= {name: (lambda f=f, x=x: f(x)) for name, f in fast.items()}
        times = in_turn(runs, rounds=rounds * (2 if B == 1 else 1))
        figures.append(Figure(name=f"image/b{B}/peer", value=1000 * min(times["peer"]) / B, unit="ms"))
        for name, target in (("fp32", 2.0), ("bf16", 3.6)):
            limit = statistics.median(times["peer"]) * peak[name] / tower_flops(B, NUM_TOKENS, is_short=True)
            figures.append(
                Figure(name=f"image/b{B}/{name}/over_peer", value=ratio(times["peer"], times[name]), target=target)
            )
            figures.append(Figure(name=f"image/b{B}/{name}/limit", value=limit))
            figures += closeness(f"image/b{B}/{name}", name, fidelity(tower, fast[name], [x]))
    return figures


def other_image_figures(*, rounds: int, peak: Mapping[str, float]) -> list[Figure]:
    """Swin-tiny and ResNet-50, against the same tower in eager float32."""
    torch.manual_seed(0)
    figures = []
    resnet = ResNet(ResNetConfig())
    for norm in resnet.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
    # Operations per picture as their papers count them.
    towers = {"swin_tiny": (Swin(SwinConfig()).eval(), 1.7, 9.0e9), "resnet50": (resnet.eval(), 1.9, 8.2e9)}
    for name, (tower, target, operations) in towers.items():
        fast, x = fast_towers(tower), torch.randn(8, 3, 224, 224)
        runs = {"eager": lambda t=tower, x=x: t(x), **{n: (lambda f=f, x=x: f(x)) for n, f in fast.items()}}
        times = in_turn(runs, rounds=rounds)
        for precision in fast:
            value = ratio(times["eager"], times[precision])
            wanted = target if precision == "fp32" else None
            figures.append(Figure(name=f"{name}/b8/{precision}/over_eager", value=value, target=wanted))
            limit = statistics.median(times["eager"]) * peak[precision] / (len(x) * operations)
            figures.append(Figure(name=f"{name}/b8/{precision}/limit", value=limit))
            figures += closeness(f"{name}/b8/{precision}", precision, fidelity(tower, fast[precision], [x]))
    return figures


def padded(texts: list[list[int]], length: int) -> Tensor:
    """Ids with zeros behind them."""
    out = torch.zeros(len(texts), length, dtype=torch.int64)
    for row, text in zip(out, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    return out


def encode_texts(tower: nn.Module, texts: list[list[int]]) -> Tensor:
    """Without padding where the tower can, else bucketed; equal texts once."""
    if takes_unpadded(tower):
        plan = chunked(texts)
        parts = [encode_unpadded(tower, [texts[n] for n in batch]) for batch in plan.batches]
    else:
        plan, parts = bucketed(texts), []
        for batch in plan.batches:
            ids = padded([texts[n] for n in batch], max(len(texts[n]) for n in batch))
            parts.append(tower(ids, ids != 0))
    return torch.cat(parts)[torch.from_numpy(plan.restore_N)]


def corpus(rng: np.random.Generator) -> list[list[int]]:
    """32 texts of which 21 differ, 26 tokens long on average and 61 at most."""
    lengths = [61, 55, 47, 41, 37, 34, 31, 29, 27, 25, 24, 22, 21, 19, 18, 16, 14, 12, 11, 9, 8]
    unique = [rng.integers(1, VOCABULARY, length).tolist() for length in lengths]
    return [unique[n] for n in rng.permutation([*range(21), *range(4, 15)])]


def text_figures(*, rounds: int, peak: Mapping[str, float]) -> list[Figure]:
    """BERT-base: texts of 24 tokens and a corpus with repetitions, against the peer's padding to 256."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tower, peer = Bert(BertConfig(vocab_size=VOCABULARY)).eval(), peer_bert()
    fast = fast_towers(tower)
    cases = {
        "text24": ([rng.integers(1, VOCABULARY, SHORT).tolist() for _ in range(8)], 22.0, 36.0),
        "corpus": (corpus(rng), 20.0, 35.0),
    }
    figures = []
    for case, (texts, *targets) in cases.items():

        def by_peer(texts: list[list[int]] = texts) -> Tensor:
            return torch.cat([peer(ids) for ids in padded(texts, CONTEXT).split(8)])

        runs = {n: (lambda f=f, texts=texts: encode_texts(f, texts)) for n, f in fast.items()}
        times = in_turn({"peer": by_peer, **runs}, rounds=rounds)
        unique = {tuple(text) for text in texts}
        flops = sum(tower_flops(1, len(text), is_short=True) for text in unique)
        for name, target in zip(fast, targets, strict=True):
            value = ratio(times["peer"], times[name])
            figures.append(Figure(name=f"{case}/{name}/over_peer_at_256", value=value, target=target))
            limit = statistics.median(times["peer"]) * peak[name] / flops
            figures.append(Figure(name=f"{case}/{name}/limit", value=limit))
            ids = padded(texts, max(map(len, texts)))

            def found_by(_: Tensor, f: nn.Module = fast[name], texts: list[list[int]] = texts) -> Tensor:
                return encode_texts(f, texts)

            found = fidelity(lambda ids: tower(ids, ids != 0), found_by, [ids])
            figures += closeness(f"{case}/{name}", name, found)
    return figures


def resample_figures(*, rounds: int) -> list[Figure]:
    """A 12-bit radiograph of 2500 x 3000 to 224 x 224, against windowing first and Pillow's float32 filter.

    Ours is the record's rendering, whole as `encode_image` and indexing take it, or averaged down meanwhile, and the
    checkpoint's preprocessing.
    """
    rng = np.random.default_rng(0)
    coarse = PilImage.fromarray(rng.normal(size=(40, 48)).astype(np.float32))
    smooth = np.asarray(coarse.resize((3000, 2500), PilImage.Resampling.BICUBIC))
    image = np.clip(2000 + 700 * smooth + 60 * rng.normal(size=smooth.shape), 0, 4095).astype(np.uint16)
    low, high = 600.0, 3400.0

    def by_pillow() -> np.ndarray:
        values = np.clip((image.astype(np.float32) - low) * np.float32(255 / (high - low)), 0, 255)
        return np.asarray(PilImage.fromarray(values).resize((224, 224), PilImage.Resampling.BICUBIC))

    window = Window(center=(low + high) / 2, width=high - low, function=WindowFunction.LINEAR_EXACT)
    record = Image(pixels=image, unit=PixelUnit.RAW, window=window)
    preprocess = Preprocess(size_px=224, resample=Resample.BICUBIC)
    ours = {
        "whole": lambda: preprocess(record.display())[..., 0],
        "reduced": lambda: preprocess(record.display(min_px=4 * 224))[..., 0],
    }
    times, figures = in_turn({"pillow": by_pillow, **ours}, rounds=5 * rounds), []
    for name, run in ours.items():
        apart = np.abs(run() - np.clip(by_pillow(), 0, 255))
        mean, worst = float(apart.mean()), float(apart.max())
        over = ratio(times["pillow"], times[name])
        wanted = 4.0 if name == "reduced" else None
        figures += [
            Figure(name=f"resample/{name}/over_pillow", value=over, target=wanted),
            Figure(name=f"resample/{name}/mean_difference", value=mean, target=0.3, is_at_least=False, unit="of 255"),
            Figure(name=f"resample/{name}/max_difference", value=worst, target=6.0, is_at_least=False),
        ]
    return figures


def _alone() -> None:
    torch.set_num_threads(1)


def archive_figures(*, rounds: int) -> list[Figure]:
    """The bf16 image tower on every core, over products alone on every core: operations per second of the wall."""
    torch.manual_seed(0)
    cores, B = num_cores(), 4
    config = ViTConfig(size_px=224, patch_px=16, width=WIDTH, num_blocks=NUM_BLOCKS, num_heads=NUM_HEADS)
    tower = accelerate(ViT(config).eval(), precision=Precision.BF16)
    multiply, operations = gemm(Precision.BF16)
    x = torch.randn(B, 3, 224, 224)

    def encode(_: int) -> None:
        with torch.inference_mode():
            tower(x)

    def product(_: int) -> None:
        with torch.inference_mode():
            multiply()

    shares, rates, cores_busy = [], [], []
    patches = 2 * B * (NUM_TOKENS - 1) * WIDTH * 3 * 16**2
    per_batch = tower_flops(B, NUM_TOKENS, is_short=True) + patches
    with ThreadPoolExecutor(cores, initializer=_alone) as pool:
        for n in range(rounds + 1):
            speed = []
            for job, work, each in ((product, operations, 24), (encode, per_batch, 4)):
                start, start_cpu = time.perf_counter(), time.process_time()
                list(pool.map(job, range(each * cores)))
                took = time.perf_counter() - start
                speed.append(work * each * cores / took)
                cores_busy.append((time.process_time() - start_cpu) / took)
            if n:
                shares.append(speed[1] / speed[0])
                rates.append(speed[1] / per_batch * B)
    return [
        Figure(name="archive/bf16/all_cores", value=statistics.median(rates), unit="images/s"),
        # Fewer than there are: other programs had them, and images per second would be more without.
        Figure(name="archive/bf16/cores_busy", value=statistics.median(cores_busy)),
        Figure(name="archive/bf16/share_of_peak", value=statistics.median(shares), target=0.7),
    ]


def openvino_figures(*, rounds: int) -> list[Figure]:
    """The image tower in OpenVINO, where it is installed; int8 with what it does to the vectors, and with outliers."""
    if not (importlib.util.find_spec("openvino") and importlib.util.find_spec("nncf")):
        return []
    from callosum.models.runtime.int8 import quantised
    from callosum.models.runtime.openvino import convert

    torch.manual_seed(0)
    config = ViTConfig(size_px=224, patch_px=16, width=WIDTH, num_blocks=NUM_BLOCKS, num_heads=NUM_HEADS)
    tower, peer = ViT(config).eval(), peer_vit()
    batches = [(torch.randn(1, 3, 224, 224),) for _ in range(32)]
    calibration, check, x = batches[:24], batches[24:], batches[0][0]
    runs: dict[str, Run] = {"peer": lambda: peer(x)}
    found: dict[str, Fidelity] = {}
    for precision in (Precision.FP32, Precision.BF16):
        fast = convert(tower, batches[0], precision=precision)
        runs[precision.value], found[precision.value] = (lambda f=fast: f(x)), fidelity(tower, fast, check)
    # No bound here: the figure says whether the gate would open; its rows are those of the worse of its two leaves.
    fast, outliers = quantised(tower, batches[0], calibration=calibration, check=check, bound=-1.0)
    with torch.inference_mode():
        found["int8"] = fidelity(tower, fast, check)
    runs["int8"] = lambda f=fast: f(x)
    times = in_turn(runs, rounds=2 * rounds)
    figures = []
    for name, fidelity_found in found.items():
        value = ratio(times["peer"], times[name])
        figures.append(Figure(name=f"openvino/image/b1/{name}/over_peer", value=value))
        figures += closeness(f"openvino/image/b1/{name}", name, fidelity_found)
    figures += closeness("openvino/image/b1/int8_with_outliers", "int8", outliers)
    return figures


COLD = {
    "callosum": """
import sys, numpy as np, callosum
encoder = callosum.load_encoder(sys.argv[1])
encoder.encode_image([np.zeros((512, 512), np.uint8)])
encoder.encode_text(["no acute finding"])
""",
    "peer": """
import os, sys, torch, open_clip
from PIL import Image
os.chdir(sys.argv[1])  # "./" in a checkpoint's config means its folder
model, preprocess = open_clip.create_model_from_pretrained("local-dir:" + sys.argv[1])
tokenizer = open_clip.get_tokenizer("local-dir:" + sys.argv[1])
with torch.inference_mode():
    model.encode_image(preprocess(Image.new("L", (512, 512)))[None])
    model.encode_text(tokenizer(["no acute finding"]))
""",
}


def cold_figures(checkpoint: str | None, *, rounds: int) -> list[Figure]:
    """CPU seconds from a cold process to the first image and text vector of a folder in open_clip's layout.

    From the folder itself, converted at every start, and once it is imported; importing torch alone takes `torch`.
    """
    if checkpoint is None:
        return []
    jobs = {
        "torch": ("import torch", ""),
        "folder": (COLD["callosum"], f"local-dir:{checkpoint}"),
        "imported": (COLD["callosum"], "cold.v1"),
        **({"peer": (COLD["peer"], checkpoint)} if HAS_OPEN_CLIP else {}),
    }
    times: dict[str, list[float]] = {name: [] for name in jobs}
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "CALLOSUM_HOME": home}
        program = [sys.executable, "-m", "callosum", "model", "import", checkpoint, "--name", "cold.v1"]
        subprocess.run(program, check=True, capture_output=True, env=environment)
        for _ in range(rounds + 1):
            for name, job in jobs.items():
                before = os.times()
                subprocess.run([sys.executable, "-c", *job], check=True, capture_output=True, env=environment)
                after = os.times()
                times[name].append(sum(after[2:4]) - sum(before[2:4]))
    median = {name: statistics.median(each[1:]) for name, each in times.items()}
    figures = [Figure(name=f"cold/{name}", value=value, unit="CPU s") for name, value in median.items()]
    for name in ("folder", "imported") if "peer" in median else ():
        value = median["peer"] / median[name]
        figures.append(Figure(name=f"cold/{name}/over_peer", value=value, target=3.8))
    return figures


def main() -> None:
    """Measure, print, and keep the full run's figures."""
    parser = arguments(__doc__)
    parser.add_argument("--checkpoint", help="a folder in open_clip's layout, to start cold")
    options = parser.parse_args()
    rounds = 1 if options.quick else 5
    torch.set_num_threads(1)
    with torch.inference_mode():
        figures, peak = machine_figures(rounds=rounds)
        figures += image_figures(rounds=rounds, peak=peak)
        figures += text_figures(rounds=rounds, peak=peak)
        figures += other_image_figures(rounds=rounds, peak=peak)
        figures += resample_figures(rounds=rounds)
    figures += archive_figures(rounds=rounds)
    if not options.quick:
        figures += openvino_figures(rounds=rounds)
    figures += cold_figures(options.checkpoint, rounds=rounds)
    assert all(math.isfinite(figure.value) for figure in figures)
    show(figures, form="json" if options.json else "table")
    if not options.quick:
        save("encode", figures)


if __name__ == "__main__":
    main()
