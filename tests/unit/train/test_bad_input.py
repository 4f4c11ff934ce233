"""What a run does with data nothing can be learnt from, losses that are no numbers, and a disk that is full."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callosum.core.errors import InputError, UsageError
from callosum.train.checkpointing import read_state
from callosum.train.optim import OptimConfig
from callosum.train.recipe import BatchConfig
from callosum.train.recipes import find_recipe
from callosum.train.run import RUN, train
from callosum.train.trainer import FAILED, STATE
from tests.unit.train.run_data import events, losses, supply, tiny


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


def test_a_full_disk_leaves_the_state_before_it(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """The limit on the size of a file is the nearest thing to a full disk that a test may have."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole, full = tmp_path / "whole", tmp_path / "full"
    train(tiny(), [supply(pairs)], whole, pixels=pixels)

    def fill(event: Mapping[str, object]) -> None:
        if event["step"] == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))

    try:
        with pytest.raises(UsageError, match="intact"):
            train(tiny(), [supply(pairs)], full, pixels=pixels, tell=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert json.loads(read_state(full / RUN / STATE)[1]["progress"])["step"] == 2
    assert not list((full / RUN).glob("*.part"))
    train(tiny(), [supply(pairs)], full, pixels=pixels, is_resumed=True)
    assert losses(full) == losses(whole)


@pytest.mark.parametrize("recipe", ["clip", "projection"])
def test_texts_that_are_all_equal(recipe: str, pairs: Path, pixels: Path, tmp_path: Path) -> None:
    equal = changed(pairs, text="A disc.")
    with pytest.raises(InputError, match="All 24 texts are equal"):
        train(replace(find_recipe(recipe), num_threads=1), [supply(equal)], tmp_path, pixels=pixels)


def test_labels_that_tell_nothing(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """A concept that is nowhere is said; one class only, and cells that hold no label, are refused."""
    both = {"Left": "Left", "Top": "Top"}
    config = tiny(objective="medclip", batch=BatchConfig(num_pairs=0, num_images=4, num_texts=4, num_channels=1))
    result = train(config, [supply(changed(pairs, Top="negative"), labels=both)], tmp_path / "a", pixels=pixels)
    assert "'Top' is positive in no picture." in result.doubts
    alike = changed(pairs, Top="negative", Left="positive")
    with pytest.raises(InputError, match="same labels"):
        train(config, [supply(alike, labels=both)], tmp_path / "b", pixels=pixels)
    with pytest.raises(InputError, match="Row 1 of the table holds no label in column 'Left'"):
        train(config, [supply(changed(pairs, Left="17"), labels=both)], tmp_path / "c", pixels=pixels)
    with pytest.raises(InputError, match="positive both"):
        train(config, [supply(changed(pairs, Left="", Top="negative"), labels=both)], tmp_path / "d", pixels=pixels)


def test_an_objective_without_labels_reads_none(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """It does not mind what stands in their columns, nor that labels are those of a report of several sentences."""
    with pairs.open(newline="") as stream:
        texts = [f"There is {row['text']}. No edema is seen." for row in csv.DictReader(stream)]
    reports = changed(pairs, text=iter(texts), Left="17")
    train(tiny(num_steps=1), [supply(reports, labels={"Left": "Left"}, is_report=True)], tmp_path, pixels=pixels)
    assert np.isfinite(losses(tmp_path)).all()


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there(device: str, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"no device '{device}'"):
        train(tiny(device=device), [supply(pairs)], tmp_path)


def test_batches_without_a_positive_are_counted_and_harmless(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    config = tiny(objective="medclip", batch=BatchConfig(num_pairs=0, num_images=1, num_texts=1, num_channels=1))
    train(config, [supply(pairs, labels={"Left": "Left"})], tmp_path, pixels=pixels)
    assert 0.0 in [event["num_matched"] for event in events(tmp_path)]
    assert np.isfinite(losses(tmp_path)).all()


def changed(pairs: Path, **cells: str | Iterator[str]) -> Path:
    """The manifest with other cells in some columns, equal in all rows or one after the other."""
    with pairs.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row |= {name: cell if isinstance(cell, str) else next(cell) for name, cell in cells.items()}
    path = pairs.with_name(f"changed-{len(list(pairs.parent.glob('changed-*')))}.csv")
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
