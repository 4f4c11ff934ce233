"""`callosum dataset` on a small manifest and a small CheXpert."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as PilImage

from callosum.cli.commands.dataset import command
from callosum.core.errors import InputError, UsageError
from callosum.data.manifest import read_manifest
from tests.unit.data.datasets.layouts import table
from tests.unit.data.datasets.test_five_by_200 import make as make_chexpert


def run(*words: object, code: int = 0) -> list[dict[str, Any]]:
    done = CliRunner().invoke(command, [*map(str, words), "--json"], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert (done.return_value or 0) == code
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Four pictures, of which two are nearly the same across the splits, and a row without its image."""
    rng = np.random.default_rng(0)
    scenes = [rng.integers(0, 255, (6, 6), dtype=np.uint8) for _ in range(3)]
    scenes.append(scenes[0])
    rows = []
    for at, scene in enumerate(scenes):
        shown = PilImage.fromarray(scene).resize((64 + at, 64 + at), PilImage.Resampling.BICUBIC)
        shown.save(tmp_path / f"{at}.png")
        rows.append((f"{at}.png", f"P{at}", "test" if at == 3 else "train", "positive" if at else "negative"))
    rows.append(("gone.png", "P9", "train", ""))
    return table(tmp_path / "manifest.csv", ("path", "patient_id", "split", "Edema"), rows)


def test_list_and_show() -> None:
    names = [card["name"] for card in run("list")]
    assert {"chexpert", "mimic-cxr-jpg", "webdataset"} <= set(names)
    (card,) = run("show", "chexpert")
    assert card["schema"] == "callosum.dataset_card/1"
    assert "uncertain" in card["labels"]
    for words in (["list"], ["show", "nih-chestxray14"]):
        done = CliRunner().invoke(command, words)
        assert done.exit_code == 0
        assert "30,805" in done.stdout or "nih-chestxray14" in done.stdout


def test_check_counts_and_finds_near_duplicates_across_the_splits(study: Path) -> None:
    skipped, pair, summary = run("check", "manifest", study, "--near-duplicates", code=7)
    assert (skipped["code"], skipped["name"]) == ("MISSING_IMAGE", "gone.png")
    assert (pair["first"], pair["second"], pair["splits"]) == ("0.png", "3.png", ["train", "test"])
    near = summary["near_duplicates"]
    assert (near["num_read"], near["num_pairs"], near["num_pairs_across_splits"], near["num_exact"]) == (4, 1, 1, 0)
    assert summary["labels"] == {"Edema": {"negative": 1, "positive": 3}}
    table_of = CliRunner().invoke(
        command, ["check", "manifest", str(study), "--near-duplicates"], standalone_mode=False
    )
    assert table_of.return_value == 7
    assert "Nearly equal" in table_of.stdout


def test_a_manifest_is_what_index_takes(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "deeper"
    out.mkdir()
    run("manifest", "manifest", study, "-o", out / "manifest.csv", code=7)
    sources = list(read_manifest(out / "manifest.csv"))
    assert [source.location.is_file() for source in sources] == [True] * 4
    assert [source.attributes["Edema"] for source in sources] == ["negative", "positive", "positive", "positive"]
    with pytest.raises(InputError, match="cannot be written"):
        run("manifest", "manifest", study, "-o", tmp_path / "nowhere" / "m.csv")


def test_split_and_verify(study: Path, tmp_path: Path) -> None:
    (header,) = run("split", "manifest", study, "-o", tmp_path / "split", "--ratios", "train=0.5,test=0.5", "--seed", 3)
    assert header["num_rows"] == 4
    assert header["skipped"] == {"MISSING_IMAGE": 1}
    assert header["config"]["names"] == ["train", "test"]
    (again,) = run("verify", tmp_path / "split")
    assert again == header
    with pytest.raises(UsageError, match="--ratios"):
        run("split", "manifest", study, "-o", tmp_path / "split", "--ratios", "half")


def test_build(tmp_path: Path) -> None:
    root = make_chexpert(tmp_path / "chexpert")
    out, rest = tmp_path / "five.csv", tmp_path / "rest.csv"
    words = ("build", "chexpert-5x200", root, "-o", out, "--rest", rest, "--per-class", 5, "--patient-disjoint")
    (done,) = run(*words)
    assert (done["num_rows"], len(list(read_manifest(out)))) == (25, 25)
    taken = {source.patient_id for source in read_manifest(out)}
    assert len(taken) == 25
    assert not taken & {source.patient_id for source in read_manifest(rest)}
    assert done["num_rest"] == len(list(read_manifest(rest))) == 300 - 25 * 5
