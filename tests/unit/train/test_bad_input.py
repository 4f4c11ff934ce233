"""What a run does with data nothing can be learnt from, losses that are no numbers, and a disk that is full."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from callosum.core.errors import InputError, UsageError
from callosum.train.checkpointing import read_state
from callosum.train.distributed import Place
from callosum.train.feed import Batch
from callosum.train.inputs import inputs_of
from callosum.train.optim import OptimConfig
from callosum.train.recipe import BatchConfig, WatchConfig
from callosum.train.recipes import find_recipe
from callosum.train.run import RUN, train
from callosum.train.step import Inputs
from callosum.train.supply import Kind
from callosum.train.trainer import FAILED, STATE
from callosum.train.watch import Log
from tests.unit.train.run_data import events, losses, supply, tiny, write_pairs


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
    assert all(bool(value.isfinite().all()) for value in tensors.values())


def test_a_run_that_failed_goes_on_at_a_lower_rate(
    pairs: Path, pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that is no number reaches the averages of batch norms, which are those before the step again."""

    def poisoned(batch: Batch, *given: object, **named: object) -> Inputs:
        found = inputs_of(batch, *given, **named)  # type: ignore[arg-type]
        return replace(found, image=found.image * np.nan) if batch.step == 3 else found

    with monkeypatch.context() as patch, pytest.raises(InputError, match="not finite"):
        patch.setattr("callosum.train.trainer.inputs_of", poisoned)
        patch.setattr("callosum.train.trainer.here", lambda: Place(rank=1, num_processes=2))
        train(tiny(), [supply(pairs)], tmp_path / "second", pixels=pixels)
    assert len(json.loads((tmp_path / "second" / RUN / f"1-{FAILED}").read_text())["images"]) == 8

    fast = OptimConfig(learning_rate=1e-3, warmup_share=0.0)
    with monkeypatch.context() as patch, pytest.raises(InputError, match="not finite") as caught:
        patch.setattr("callosum.train.trainer.inputs_of", poisoned)
        train(tiny(optim=fast), [supply(pairs)], tmp_path, pixels=pixels)
    assert "optim.learning_rate" in caught.value.hint
    tensors, _ = read_state(tmp_path / RUN / STATE)
    assert all(bool(value.isfinite().all()) for value in tensors.values())
    slow = tiny(optim=replace(fast, learning_rate=1e-4))
    assert train(slow, [supply(pairs)], tmp_path, pixels=pixels, is_resumed=True).steps == 6
    trace = json.loads((tmp_path / RUN / "trace.json").read_text())
    assert trace["changes"] == [{"step": 3, "changed": {"optim.learning_rate": [1e-3, 1e-4]}}]
    assert events(tmp_path, "change")[0]["optim.learning_rate"] == [1e-3, 1e-4]
    assert np.isfinite(losses(tmp_path)).all()


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


def test_concepts_that_no_manifest_has(pairs: Path, tmp_path: Path) -> None:
    config = tiny(objective="medclip", batch=BatchConfig(num_pairs=0, num_images=4, num_texts=4, num_channels=1))
    labelled = [supply(pairs, labels={"Left": "Left"})]
    with pytest.raises(UsageError, match=r"'Topp'.* Did you mean 'Top'\?"):
        train(replace(config, concepts=("Left", "Topp")), labelled, tmp_path)


def test_pictures_that_cannot_be_read_are_said(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    paths = iter(["none.png", *(f"{n}.png" for n in range(1, 48))])
    result = train(tiny(num_steps=1), [supply(changed(pairs, path=paths))], tmp_path / "a", pixels=pixels)
    assert any(doubt.startswith("1 pictures of train could not be read") for doubt in result.doubts)
    trace = json.loads((tmp_path / "a" / RUN / "trace.json").read_text())
    assert sum(trace["data"]["unreadable"].values()) == 1
    with pytest.raises(InputError, match=r"Most often: [A-Z_]+"):
        train(tiny(), [supply(changed(pairs, path=(f"none{n}.png" for n in range(48))))], tmp_path / "b", pixels=pixels)


def test_validation_that_is_missing_or_has_nothing_to_compare(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    words = iter(("train", "eval")[n // 4 % 4 == 2] for n in range(48))
    result = train(tiny(num_steps=1), [supply(changed(pairs, split=words))], tmp_path / "a", pixels=pixels)
    assert "12 rows are not used: their column 'split' says neither train, val nor test." in result.doubts
    assert any("the last weights are kept" in doubt for doubt in result.doubts)
    one = iter(["val", *["train"] * 7, *["test"] * 40])
    with pytest.raises(InputError, match="one picture and one text"):
        train(tiny(num_steps=1), [supply(changed(pairs, split=one))], tmp_path / "b", pixels=pixels)
    no_val = iter("test" if n // 4 % 4 == 2 else "train" for n in range(48))
    labels = {"Left": "Left", "Top": "Top"}
    supplies = [
        supply(pairs, kind=Kind.IMAGES, labels=labels),
        supply(changed(pairs, split=no_val), kind=Kind.TEXTS, labels=labels, population="others"),
    ]
    config = tiny(objective="medclip", batch=BatchConfig(num_pairs=0, num_images=4, num_texts=4, num_channels=1))
    with pytest.raises(InputError, match="pictures alone"):
        train(config, supplies, tmp_path / "c", pixels=pixels)
    assert not (tmp_path / "c" / RUN / STATE).exists()


def test_what_is_to_be_retained_keeps_its_own_sides(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    """One manifest has sides and one has none, neither has labels, and the objective compares findings."""
    whole = pairs.with_name("whole.csv")
    whole.write_text("path,text\n0.png,a disc at the top left\n1.png,a disc at the top right\n")
    config = tiny(objective="medclip", batch=BatchConfig(num_pairs=0, num_images=4, num_texts=4, num_channels=1))
    kept = [supply(whole), supply(pairs)]
    result = train(config, [supply(pairs, labels={"Left": "Left"})], tmp_path, retain=kept, pixels=pixels)
    assert 0 <= result.figures["retained_accuracy"] <= 1
    retained = json.loads((tmp_path / RUN / "trace.json").read_text())["retained"]
    assert (retained["num_pairs"], len(retained["supplies"])) == (14, 2)


def test_weights_are_chosen_by_both_accuracies_or_not_at_all(pairs: Path, pixels: Path, tmp_path: Path) -> None:
    watch = WatchConfig(num_interpolations=3, chooses_interpolation=True)
    with pytest.raises(UsageError, match="two accuracies"):
        train(tiny(watch=watch), [supply(pairs)], tmp_path / "a", pixels=pixels)
    config = tiny(objective="medclip", batch=BatchConfig(num_pairs=0, num_images=4, num_texts=4, num_channels=1))
    apart = [supply(pairs, kind=kind, labels={"Left": "Left"}) for kind in (Kind.IMAGES, Kind.TEXTS)]
    with pytest.raises(UsageError, match="validation has no pairs"):
        train(replace(config, watch=watch), apart, tmp_path / "b", retain=[supply(pairs)], pixels=pixels)


def test_changed_pictures_are_another_run(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "data")
    train(tiny(num_steps=2), [supply(path)], tmp_path / "out")
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "data" / "0.png")
    with pytest.raises(InputError, match="other data"):
        train(tiny(num_steps=2), [supply(path)], tmp_path / "out", is_resumed=True)


def test_a_checkpoint_is_not_written_over(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(UsageError, match="checkpoint in this folder"):
        train(tiny(), [supply(pairs)], tmp_path)
    assert not (tmp_path / RUN).exists()


def test_a_disk_that_is_full_in_the_end_is_said(
    pairs: Path, pixels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UsageError, match=r"checkpoint cannot be written.*--resume"):
        patch.setattr("callosum.train.finish.save_checkpoint", full)
        train(tiny(num_steps=2), [supply(pairs)], tmp_path, pixels=pixels)
    assert not (tmp_path / "card.json").exists()
    assert train(tiny(num_steps=2), [supply(pairs)], tmp_path, pixels=pixels, is_resumed=True).steps == 2
    with pytest.raises(UsageError, match="log of the run cannot be written"):
        Log(tmp_path / "nowhere", step=0)


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
