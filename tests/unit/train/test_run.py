"""A run from manifests to a checkpoint: what it reads, keeps, continues and refuses."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import callosum
from callosum.core.errors import InputError, MissingDependency, UsageError
from callosum.core.finding import Presence
from callosum.models.checkpoints.load import verify_folder
from callosum.train.adapt import AdaptConfig, Tune
from callosum.train.augment_recipes import Recipe
from callosum.train.optim import OptimConfig
from callosum.train.precision import KEPT as PRODUCTS
from callosum.train.recipe import BatchConfig, RunConfig, WatchConfig, with_settings
from callosum.train.run import RUN, train
from callosum.train.sentences import SentenceConfig, Take
from callosum.train.sources import FEATURES
from tests.unit.train.run_data import TEXTS, events, long, losses, supply, tiny


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


@pytest.mark.parametrize("kind", ["crops", "projection"])
def test_a_killed_run_continues_to_the_bit(kind: str, pairs: Path, pixels: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.unit.train.run_data import *; from callosum.train.run import train\n"
        "kind, pairs, out, pixels = sys.argv[1:]\n"
        "slow = lambda event: time.sleep(0.3 if event['step'] > 6 else 0)\n"
        "train(long(kind), [supply(Path(pairs))], Path(out), tell=slow, pixels=Path(pixels))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, kind, str(pairs), str(killed), str(pixels)])
    log = killed / RUN / "log.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (log.exists() and log.read_text().count('"kind": "step"') >= 9):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < len(losses(killed)) < 14
    assert not (killed / "card.json").exists()
    features = [path.stat().st_mtime_ns for path in (killed / RUN).glob(f"*{FEATURES}")]
    assert len(features) == (kind == "projection")
    train(long(kind), [supply(pairs)], killed, is_resumed=True, pixels=pixels)
    assert [path.stat().st_mtime_ns for path in (killed / RUN).glob(f"*{FEATURES}")] == features
    (whole / RUN).mkdir(parents=True)
    for path in (killed / RUN / PRODUCTS, *(killed / RUN).glob(f"*{FEATURES}")):
        shutil.copy(path, whole / RUN)  # which kernels are fast is measured: another run may find others
    train(long(kind), [supply(pairs)], whole, pixels=pixels)
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


def test_findings_may_come_from_an_extractor(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """It says what the label columns say, so the run is the same."""

    def extractor(text: str) -> dict[str, Presence]:
        said = {"Left": "left" in text, "Top": "top" in text}
        return {name: Presence.PRESENT if is_said else Presence.ABSENT for name, is_said in said.items()}

    batch = BatchConfig(num_pairs=0, num_images=4, num_texts=4, num_channels=1)
    config = tiny(objective="medclip", batch=batch, concepts=("Left", "Top"), num_steps=3)
    labelled = supply(pairs, labels={"Left": "Left", "Top": "Top"})
    train(config, [labelled], tmp_path / "columns", pixels=pixels)
    train(config, [supply(pairs)], tmp_path / "texts", pixels=pixels, extractor=extractor)
    assert losses(tmp_path / "texts") == losses(tmp_path / "columns")
    assert events(tmp_path / "texts", "look") == events(tmp_path / "columns", "look")
    with pytest.raises(UsageError, match="no concept"):
        none = replace(config, concepts=())
        train(none, [supply(pairs)], tmp_path / "none", pixels=pixels, extractor=extractor)


def test_tensorboard_is_written_or_said_to_be_missing(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    config = with_settings(tiny(num_steps=2), ["watch.has_tensorboard=true", "watch.validate_every=2"])
    if find_spec("tensorboard") is None:
        with pytest.raises(MissingDependency, match="TensorBoard"):
            train(config, [supply(pairs)], tmp_path, pixels=pixels)
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(config, [supply(pairs)], tmp_path, pixels=pixels)
    board = EventAccumulator(str(tmp_path / RUN / "tensorboard")).Reload()
    assert [event.value for event in board.Scalars("step/loss")] == pytest.approx(losses(tmp_path))
    assert [event.step for event in board.Scalars("look/validation_loss")] == [2]


def still() -> RunConfig:
    """Without dropout and batch norms, which see their own part of a batch only."""
    config = replace(tiny(), architecture=None, start="starter", ema_decay=0.0, num_steps=3)
    return replace(
        config, adapt=AdaptConfig(tune=Tune.PROJECTION), batch=BatchConfig(num_pairs=8, augmentation=Recipe.CLIP)
    )
