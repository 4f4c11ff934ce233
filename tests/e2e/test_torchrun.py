"""`callosum train` under torchrun: two processes learn what one does, and one of them writes and speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from callosum.cli.commands.train import command
from callosum.models.checkpoints.load import verify_folder
from callosum.train.run import RUN
from tests.unit.train.run_data import events, write_pairs

RECIPE = "tests.unit.train.spread_runs:whole"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchrun")
    data = str(write_pairs(folder / "pairs"))
    arguments = [RECIPE, "--data", data, "--out", str(folder / "one"), "--pixels", str(folder / "pixels"), "--json"]
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
    return folder


def test_two_processes_learn_what_one_does(one: Path) -> None:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "callosum"]
    given = ["--data", one / "pairs" / "pairs.csv", "--pixels", one / "pixels", "--json"]
    done = subprocess.run(
        [*start, "train", RECIPE, "--out", one / "two", *given],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    spoken = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("kind") for line in spoken] == ["step", "step", "look", "step", "step", "look", "end", None]
    for name in ("loss", "gradient_norm"):
        ours, theirs = ([event[name] for event in events(one / out)] for out in ("two", "one"))
        assert ours == pytest.approx(theirs, rel=1e-4)
    trace = json.loads((one / "two" / RUN / "trace.json").read_text())
    assert trace["processes"] == 2
    names = [sorted(path.relative_to(one / out) for path in (one / out).rglob("*.*")) for out in ("two", "one")]
    assert names[0] == names[1]
    assert verify_folder(one / "two")[0].name == "test.tiny"
