"""Models at the command line: import, look, verify, carry, export, use; a tiny model."""

import gc
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as PilImage

from callosum.cli.main import main
from tests.unit.models.checkpoints.conftest import write_open_clip


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published model and a picture."""
    folder = tmp_path_factory.mktemp("desk")
    write_open_clip(folder / "published")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    PilImage.fromarray(pixels).save(folder / "film.png")
    return folder


def callosum(desk: Path, *arguments: object, home: str = "home", code: int = 0) -> SimpleNamespace:
    """The whole command line, in this process, which has torch already: one of its own takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setenv("CALLOSUM_HOME", str(desk / home))
        patch.setattr(sys, "argv", ["callosum", *map(str, arguments)])
        patch.chdir(desk)
        with pytest.raises(SystemExit) as done:
            main()
    gc.enable()  # a search, which is a short process elsewhere, disables it
    assert done.value.code == code, err.getvalue()
    return SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue())


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_model_from_import_to_use(desk: Path) -> None:
    done = callosum(desk, "model", "import", "published", "--name", "tiny.v1", "--licence", "CC0")
    assert done.stdout == "tiny.v1\n"
    assert "Imported." in done.stderr
    again = callosum(desk, "model", "import", "published", "--name", "tiny.v1", "--json")
    card = json.loads(again.stdout)
    assert (card["schema"], card["name"], card["licence"], card["is_new"]) == (
        "callosum.card/1",
        "tiny.v1",
        "CC0",
        False,
    )
    rows = lines(callosum(desk, "model", "list", "--json").stdout)
    assert [row["name"] for row in rows] == ["starter.v1", "tiny.v1"]
    shown = json.loads(callosum(desk, "model", "show", "tiny", "--json").stdout)
    assert shown["context_length"] == 12
    assert set(shown["recipe"]) == {"weights", "tokenizer", "preprocess", "pooling", "sizes"}
    assert "must not be used" in callosum(desk, "model", "show", "tiny").stdout
    assert "golden vectors: largest difference" in callosum(desk, "model", "verify", "tiny").stdout

    packed = json.loads(callosum(desk, "model", "pack", "tiny", "-o", "tiny.callosum", "--json").stdout)
    elsewhere = callosum(desk, "model", "import", "tiny.callosum", home="elsewhere")
    assert elsewhere.stdout == "tiny.v1\n"
    assert packed["digest"] in elsewhere.stderr
    exported = callosum(desk, "model", "export", "tiny", "--format", "open_clip", "-o", "exported").stdout.split()
    assert "open_clip_config.json" in exported

    labels = ("--label", "chest x-ray", "--label", "ct of the head", "--json")
    scores = [
        json.loads(callosum(desk, "classify", "film.png", *labels, "--model", name, home=home).stdout)
        for name, home in (("tiny", "home"), ("tiny.v1", "elsewhere"), ("local-dir:exported", "none"))
    ]
    assert scores[0] == scores[1] == scores[2]
    for test in ("pack", "export"):
        more = ("--format", "open_clip", "-o", "exported") if test == "export" else ("-o", "tiny.callosum")
        assert "USAGE" in callosum(desk, "model", test, "tiny", *more, code=2).stderr


def test_an_archive_of_an_imported_model_is_searched_with_it(desk: Path) -> None:
    callosum(desk, "model", "import", "published", "--name", "seek.v1", home="seek")
    environment = {**os.environ, "CALLOSUM_HOME": str(desk / "seek")}
    index = [sys.executable, "-m", "callosum", "index", "archive", "film.png", "--model", "seek"]
    subprocess.run(index, cwd=desk, env=environment, check=True, capture_output=True)
    hits = callosum(desk, "search", "archive", "chest x-ray", "--json", home="seek").stdout
    assert json.loads(hits)["source"] == "film.png"
    refused = callosum(desk, "search", "archive", "chest x-ray", home="none", code=6)
    assert "SPACE_MISMATCH" in refused.stderr


def test_texts_that_are_too_long_are_told(desk: Path) -> None:
    (desk / "texts.txt").write_text("a chest x-ray\n" + "ct of the head " * 2500 + "\n")
    done = callosum(desk, "embed", "texts.txt", "--as", "text", "-o", "t.npz", "--model", "local-dir:published")
    assert "1 of 2 texts (number 2) are longer than the model reads" in done.stderr
    assert np.load(desk / "t.npz")["matrix"].shape == (2, 24)


def test_the_doctor_runs_what_is_installed(desk: Path) -> None:
    callosum(desk, "model", "import", "published", "--name", "ill.v1", home="clinic")
    rows = lines(callosum(desk, "doctor", "--json", home="clinic").stdout)
    details = {row["name"]: row["detail"] for row in rows}
    assert "golden vectors equal to" in details["model starter.v1"]
    assert "golden vectors equal to" in details["model ill.v1"]
    assert "times plain" in details["runtime torch fp32 linear"] or "plain" in details["runtime torch fp32 linear"]
    path = desk / "clinic" / "models" / "ill.v1" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    rows = [
        json.loads(line)
        for line in callosum(desk, "doctor", "--quick", "--json", home="clinic", code=3).stdout.splitlines()
    ]
    ill = [row for row in rows if not row["is_ok"]]
    assert [row["name"] for row in ill] == ["model ill.v1"]
    assert "digest" in ill[0]["detail"]


@pytest.mark.parametrize(
    ("code", "told", "arguments"),
    [
        (2, "--allow-network", "model pull biomedclip"),
        (5, "callosum model import PATH", "classify film.png --label a --label b --model medclip"),
        (4, "no file or folder", "model import nowhere"),
        (2, "family is one of", "model import published --family vit"),
        (4, "has no form", "model export starter --format open_clip -o nothing"),
    ],
)
def test_errors_say_what_to_do(desk: Path, code: int, told: str, arguments: str) -> None:
    assert told in callosum(desk, *arguments.split(), code=code).stderr
    assert not (desk / "nothing").exists()
