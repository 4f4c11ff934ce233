"""A run from manifests to a checkpoint: what it reads, keeps, continues and refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import callosum
from callosum.core.errors import InputError, UsageError
from callosum.models.checkpoints.load import verify_folder
from callosum.train.adapt import AdaptConfig, Tune
from callosum.train.augment_recipes import Recipe
from callosum.train.checkpointing import read_state
from callosum.train.optim import OptimConfig
from callosum.train.recipe import BatchConfig, RunConfig, WatchConfig, with_settings
from callosum.train.run import BEST, RUN, train
from callosum.train.sentences import SentenceConfig, Take
from callosum.train.trainer import FAILED, STATE
from tests.unit.train.run_data import TEXTS, events, losses, supply, tiny, write_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pixels")


@pytest.fixture(scope="module")
def trained(pairs: Path, pixels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    train(tiny(), [supply(pairs)], out, pixels=pixels)
    return out


def test_the_result_is_a_checkpoint_that_others_load(trained: Path) -> None:
    card, deviation = verify_folder(trained)
    assert card.name == "test.tiny"
    assert deviation is not None
    assert deviation.is_ok
    encoder = callosum.load_encoder(f"local-dir:{trained}")
    assert encoder.encode_text([TEXTS[0]]).matrix.shape == (1, 16)
    assert encoder.encode_image([np.zeros((40, 30), np.uint8)]).matrix.shape == (1, 16)


def test_the_trace_says_what_went_in_and_came_out(trained: Path, pairs: Path) -> None:
    from callosum.core.digest import digest_file

    trace = json.loads((trained / RUN / "trace.json").read_text())
    assert trace["schema"] == "callosum.trace/1"
    assert trace["data"]["supplies"][0]["manifest"] == digest_file(pairs)
    assert trace["config"]["seed"] == 0
    assert trace["checkpoint"]["model.safetensors"] == digest_file(trained / "model.safetensors")
    assert len(trace["code"]["source"]) == 64
    assert trace["hardware"]["threads"] == 1
    text = (trained / RUN / "trace.json").read_text() + (trained / "card.json").read_text()
    assert str(pairs.parent) not in text
    assert "patient1" not in text


def test_test_rows_are_never_read(trained: Path) -> None:
    """Their pictures do not exist: opening one would leave it out, and count it."""
    trace = json.loads((trained / RUN / "trace.json").read_text())
    assert trace["data"]["num_pictures"] == 24
    assert trace["validation"]["num_pictures"] == 12
    assert trace["validation"]["side"] == "validation"
    assert trace["num_unreadable"] == 0


def test_the_best_weights_are_kept_and_not_the_last(trained: Path) -> None:
    looks = events(trained, "look")
    assert [look["step"] for look in looks] == [3, 6]
    best = min(looks, key=lambda look: look["validation_loss"])
    end = events(trained, "end")[0]
    assert end["validation_loss"] == pytest.approx(best["validation_loss"], abs=1e-6)


def test_a_killed_run_continues_to_the_bit(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    config = tiny(num_steps=14, batch=BatchConfig(num_pairs=8, num_channels=1, augmentation=Recipe.CONVIRT))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(config, [supply(pairs)], whole, pixels=pixels)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.unit.train.run_data import *; from callosum.train.augment_recipes import Recipe\n"
        "from callosum.train.run import train\n"
        "config = tiny(num_steps=14, batch=BatchConfig(num_pairs=8, num_channels=1, augmentation=Recipe.CONVIRT))\n"
        "slow = lambda event: time.sleep(0.3 if event['step'] > 6 else 0)\n"
        "train(config, [supply(Path(sys.argv[1]))], Path(sys.argv[2]), tell=slow, pixels=Path(sys.argv[3]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(pairs), str(killed), str(pixels)])
    log = killed / RUN / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count('"kind": "step"') >= 9):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(losses(killed)) < 14
    assert not (killed / "card.json").exists()
    train(config, [supply(pairs)], killed, is_resumed=True, pixels=pixels)
    assert losses(killed) == losses(whole)
    first, second = (load_file(out / "model.safetensors") for out in (whole, killed))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_state_continues_no_other_run(trained: Path, pairs: Path, pixels: Path) -> None:
    with pytest.raises(UsageError, match="already"):
        train(tiny(), [supply(pairs)], trained, pixels=pixels)
    with pytest.raises(InputError, match="other settings"):
        train(tiny(seed=1), [supply(pairs)], trained, is_resumed=True, pixels=pixels)
    again = train(tiny(), [supply(pairs)], trained, is_resumed=True, pixels=pixels)
    assert again.steps == 6


def test_a_loss_that_is_no_number_stops_and_names_the_records(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    config = tiny(optim=OptimConfig(learning_rate=1e30, warmup_share=0.0, max_norm=0.0), ema_decay=0.0)
    with pytest.raises(InputError, match=r"Step \d failed") as caught:
        train(config, [supply(pairs)], tmp_path, pixels=pixels)
    assert "record" not in str(caught.value).replace("the records", "")
    failed = json.loads((tmp_path / RUN / FAILED).read_text())
    assert len(failed["images"]) == 8
    assert all(name.startswith("record") for name in failed["images"] + failed["texts"])
    tensors, metadata = read_state(tmp_path / RUN / STATE)
    assert json.loads(metadata["progress"])["step"] == failed["step"]
    assert json.loads(metadata["loader"])["step"] == failed["step"]
    assert tensors


def test_it_ends_early_when_validation_gets_no_better(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    still = OptimConfig(learning_rate=1e-30, warmup_share=0.0, weight_decay=0.0)
    watch = WatchConfig(validate_every=2, patience=2, save_every=2)
    config = tiny(optim=still, watch=watch, num_steps=50, ema_decay=0.0)
    config = replace(config, architecture=None, start="starter", adapt=AdaptConfig(tune=Tune.PROJECTION))
    result = train(config, [supply(pairs)], tmp_path, pixels=pixels)
    assert result.is_early
    assert result.steps == 6
    again = train(config, [supply(pairs)], tmp_path, is_resumed=True, pixels=pixels)
    assert again.steps == 6


def test_parts_of_a_batch_give_the_curve_of_the_whole(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(still(), [supply(pairs)], whole, pixels=pixels)
    train(with_settings(still(), ["batch.chunk_rows=3"]), [supply(pairs)], parts, pixels=pixels)
    assert losses(parts) == pytest.approx(losses(whole), abs=2e-5)


def test_locked_towers_run_once_and_give_the_curve_of_pictures(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """Features from a table; and the same texts drawn so that they could be others, which reads every picture again."""
    table, read = tmp_path / "table", tmp_path / "read"
    config = replace(still(), batch=BatchConfig(num_pairs=8))
    train(config, [supply(pairs)], table, pixels=pixels)
    train(replace(config, sentences=SentenceConfig(take=Take.SOME)), [supply(pairs)], read, pixels=pixels)
    assert losses(table) == pytest.approx(losses(read), abs=1e-4)


@pytest.mark.parametrize("tune", [Tune.LORA, Tune.PROMPT, Tune.LOCKED_IMAGE])
def test_tuning_gives_a_checkpoint_with_plain_layers(tune: Tune, pairs: Path, pixels: Path, tmp_path: Path) -> None:
    prefix = "[V1] [V2] " if tune is Tune.PROMPT else ""
    config = replace(
        tiny(),
        architecture=None,
        start="starter",
        ema_decay=0.9,
        num_steps=2,
        adapt=AdaptConfig(tune=tune, num_words=2),
        batch=BatchConfig(num_pairs=8, text_prefix=prefix),
        watch=WatchConfig(validate_every=2, num_interpolations=2),
    )
    result = train(config, [supply(pairs)], tmp_path, retain=[supply(pairs)], pixels=pixels)
    assert {"validation_loss", "validation_accuracy", "retained_accuracy"} <= set(result.figures)
    card, _ = verify_folder(tmp_path)
    assert "starter" in card.source
    start = callosum.load_encoder("starter").encode_text([TEXTS[0]]).matrix
    end = callosum.load_encoder(f"local-dir:{tmp_path}").encode_text([prefix + TEXTS[0]]).matrix
    assert np.abs(start - end).max() > 1e-5
    sweep = json.loads((tmp_path / RUN / "trace.json").read_text())["interpolation"]
    assert sweep["shares"] == [0.0, 1.0]


def test_a_full_disk_leaves_the_state_before_it(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """The limit on the size of a file is the nearest thing to a full disk that a test may have."""
    train(tiny(num_steps=2), [supply(pairs)], tmp_path, pixels=pixels)
    before = (tmp_path / RUN / STATE).read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "import torch\n"
        "from callosum.core.errors import CallosumError\n"
        "from callosum.train.checkpointing import write_state\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_state(Path(sys.argv[1]), {'x': torch.zeros(100_000)}, {})\n"
        "except CallosumError as error: sys.exit(f'{error.code} {error}')\n"
    )
    path = str(tmp_path / RUN / STATE)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert done.stderr.startswith("USAGE")
    assert "intact" in done.stderr
    assert (tmp_path / RUN / STATE).read_bytes() == before
    assert not list((tmp_path / RUN).glob("*.part"))


def test_two_processes_learn_what_one_does(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """The same batches dealt to two processes over gloo: losses and norms of gradients of every step are equal."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.unit.train.run_data import *; from callosum.train.run import train\n"
        "from tests.unit.train.test_run import still\n"
        "train(still(), [supply(Path(sys.argv[1]))], Path(sys.argv[2]), pixels=Path(sys.argv[3]))\n"
    )
    together = tmp_path / "two"
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20000 + os.getpid() % 20000)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(pairs), str(together), str(pixels)],
            env={**os.environ, **place, "RANK": rank},
        )
        for rank in "01"
    ]
    train(still(), [supply(pairs)], tmp_path / "one", pixels=pixels)
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    for name in ("loss", "gradient_norm", "logit_scale"):
        one, two = ([event[name] for event in events(tmp_path / out)] for out in ("one", "two"))
        assert two == pytest.approx(one, rel=1e-4)
    assert json.loads((together / RUN / "trace.json").read_text())["processes"] == 2
    assert not list((together / RUN).glob(f"{BEST}.part"))


def still() -> RunConfig:
    """Without dropout and batch norms, which see their own part of a batch only."""
    config = replace(tiny(), architecture=None, start="starter", ema_decay=0.0, num_steps=3)
    return replace(
        config, adapt=AdaptConfig(tune=Tune.PROJECTION), batch=BatchConfig(num_pairs=8, augmentation=Recipe.CLIP)
    )
