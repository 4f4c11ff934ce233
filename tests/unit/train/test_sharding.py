"""Towers dealt out over two processes: the gradients, weights and files of one process."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from callosum.train.checkpointing import read_state
from callosum.train.run import RUN, train
from callosum.train.trace import TRACE
from callosum.train.trainer import STATE
from tests.unit.train.run_data import events, losses, supply, write_pairs
from tests.unit.train.spread_runs import CUT, low_rank, whole, work


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of one process, `one` and `one_lora`, beside those of two."""
    folder = tmp_path_factory.mktemp("runs")
    pairs, pixels = write_pairs(folder / "pairs"), folder / "pixels"

    def keep_state(event: dict[str, object]) -> None:
        if event["kind"] == "step" and event["step"] == CUT + 1:
            shutil.copytree(folder / "one" / RUN, folder / "other" / RUN)

    train(whole(), [supply(pairs)], folder / "one", pixels=pixels, tell=keep_state)
    train(low_rank(folder / "one"), [supply(pairs)], folder / "one_lora", pixels=pixels)
    torch.multiprocessing.spawn(work, (pairs, pixels, folder), nprocs=2)
    return folder


@pytest.mark.parametrize(("spread", "one"), [("ddp", "one"), ("fsdp", "one"), ("fsdp_lora", "one_lora")])
def test_two_processes_have_the_gradients_and_weights_of_one(spread: str, one: str, runs: Path) -> None:
    for name in ("loss", "gradient_norm", "logit_scale"):
        ours, theirs = ([event[name] for event in events(runs / out)] for out in (spread, one))
        assert ours == pytest.approx(theirs, rel=1e-4)
    ours, theirs = (read_state(runs / out / RUN / STATE)[0] for out in (spread, one))
    assert {name: value.shape for name, value in ours.items()} == {name: v.shape for name, v in theirs.items()}
    assert sum(name.endswith("/exp_avg") for name in ours) > 10
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize(("spread", "one"), [("fsdp", "one"), ("fsdp_lora", "one_lora")])
def test_the_files_are_those_of_one_process(spread: str, one: str, runs: Path) -> None:
    names = [sorted(path.relative_to(runs / out) for path in (runs / out).rglob("*.*")) for out in (spread, one)]
    assert names[0] == names[1]
    ours, theirs = (load_file(runs / out / "model.safetensors") for out in (spread, one))
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert torch.allclose(ours[name], value, rtol=1e-3, atol=1e-6), (name, ours[name], value)


def test_it_continues_to_the_bit_and_elsewhere(runs: Path) -> None:
    """In two processes again; and in one, where nothing is dealt out."""
    first, second = (load_file(runs / out / "model.safetensors") for out in ("fsdp", "cut"))
    assert losses(runs / "cut") == losses(runs / "fsdp")
    assert all(torch.equal(first[name], second[name]) for name in first)
    shutil.copytree(runs / "cut" / RUN, runs / "again" / RUN)
    result = train(whole(), [supply(runs / "pairs" / "pairs.csv")], runs / "again", is_resumed=True)
    assert result.steps == 4


def test_each_process_holds_half(runs: Path) -> None:
    """Of the network and of its average."""
    held = [json.loads((runs / f"held{rank}").read_text()) for rank in (0, 1)]
    assert [len(each) for each in held] == [2, 2]
    assert sum(held[0]) + sum(held[1]) == pytest.approx(2)
    assert all(0.4 < share < 0.6 for each in held for share in each)
    assert json.loads((runs / "fsdp" / RUN / TRACE).read_text())["processes"] == 2
