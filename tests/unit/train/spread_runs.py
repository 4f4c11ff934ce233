"""What each of two processes does in the test of sharding; imported by name in the new processes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import distributed

from callosum.models.architectures import Architecture
from callosum.models.dual import DualEncoder
from callosum.models.preprocess import Preprocess
from callosum.models.text.bert import BertConfig
from callosum.models.towers import DualConfig
from callosum.models.vision.vit import ViTConfig
from callosum.train import trainer
from callosum.train.adapt import AdaptConfig, Tune
from callosum.train.distributed import Spread
from callosum.train.optim import OptimConfig
from callosum.train.recipe import BatchConfig, RunConfig, WatchConfig
from callosum.train.run import RUN, train
from callosum.train.sharding import shard
from tests.unit.train.run_data import supply, tiny

CUT = 2
"""The step whose state a copy is continued from."""


def whole() -> RunConfig:
    """Transformers without dropout: parts of a batch give the numbers of the whole.

    No term looks at the bias, so it has no gradient in any process. Some gradients are zero but for rounding, which
    AdamW with a small `eps` would make steps of.
    """
    text = BertConfig(
        vocab_size=80, width=16, num_blocks=2, num_heads=2, hidden=33, max_positions=16, context_length=16
    )
    vision = ViTConfig(size_px=32, patch_px=8, width=18, num_blocks=2, num_heads=2)
    towers = DualConfig(dim=16, vision=vision, text=text, has_logit_bias=True)
    return tiny(
        architecture=Architecture(config=towers, preprocess=Preprocess(size_px=32), temperature=0.07),
        num_steps=4,
        optim=OptimConfig(learning_rate=1e-3, layer_decay=0.9, max_norm=0.5, eps=1e-4),
        batch=BatchConfig(num_pairs=8, num_channels=1, chunk_rows=3),
        watch=WatchConfig(validate_every=2, save_every=CUT),
    )


def low_rank(start: Path) -> RunConfig:
    """Additions to what came of `whole`, blocks computed again."""
    adapt = AdaptConfig(tune=Tune.LORA, lora_rank=2, is_checkpointed=True)
    return replace(whole(), start=f"local-dir:{start}", architecture=None, adapt=adapt, num_steps=2)


def share_after(network: DualEncoder) -> float:
    """Shard a network; the part of the towers' weights that stays in this process."""
    shard(network)
    weights = [*network.vision.parameters(), *network.text.parameters()]
    return sum(weight.to_local().numel() for weight in weights) / sum(weight.numel() for weight in weights)


def work(rank: int, pairs: Path, pixels: Path, folder: Path) -> None:
    """The runs, dealt out over two processes; `cut` continues from a copy of the state of `fsdp`."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    sharded = replace(whole(), spread=Spread.FSDP)

    def keep_state(event: dict[str, object]) -> None:
        if event["kind"] == "step" and event["step"] == CUT + 1:
            shutil.copytree(folder / "fsdp" / RUN, folder / "cut" / RUN)

    train(whole(), [supply(pairs)], folder / "ddp", pixels=pixels)
    train(sharded, [supply(pairs)], folder / "fsdp", pixels=pixels, tell=keep_state)
    with pytest.MonkeyPatch.context() as patch:
        held: list[float] = []
        patch.setattr(trainer, "shard", lambda network: held.append(share_after(network)))
        train(sharded, [supply(pairs)], folder / "cut", pixels=pixels, is_resumed=True)
    (folder / f"held{rank}").write_text(json.dumps(held))
    tuned = replace(low_rank(folder / "one"), spread=Spread.FSDP)
    train(tuned, [supply(pairs)], folder / "fsdp_lora", pixels=pixels)
    distributed.destroy_process_group()
