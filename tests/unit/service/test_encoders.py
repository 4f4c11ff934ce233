from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from callosum.cli.commands import embed
from callosum.core.errors import MissingDependency, UsageError
from callosum.service import encoders
from callosum.service.encoders import load_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pictures in two folders, and a text."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for n in range(5):
        place = tmp_path / "pictures" / ("more" if n > 2 else ".") / f"{n}.png"
        Image.fromarray(np.full((20, 20), 40 * n, np.uint8)).save(place)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def greys(folder: Path) -> list[int]:
    return [int(image.display()[0, 0]) for image in encoders._pictures(folder)]


def test_calibration_pictures_are_taken_from_a_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert greys(folder) == [0, 80, 160, 40, 120], "either half of them is of every part of the folder"
    monkeypatch.setattr(encoders, "MAX_CALIBRATION", 3)
    assert greys(folder) == [0, 160, 80]
    assert greys(folder / "missing") == greys(folder / "0.png") == []


def test_int8_is_set_up_with_a_folder_and_without_one_says_what_it_needs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Give a hundred or more: --calibration FOLDER"):
        load_encoder("starter", precision="int8")
    with pytest.raises(UsageError, match="found none"):
        load_encoder("starter", precision="int8", calibration=tmp_path / "missing")
    encoder = load_encoder("starter", precision="int8", calibration=folder)
    with pytest.raises((UsageError, MissingDependency)):  # the gate, or no OpenVINO here
        encoder.encode_image([np.zeros((9, 9), np.uint8)])
    assert load_encoder("starter", calibration=tmp_path / "missing").dim == encoder.dim, "it is for int8 alone"


def test_the_command_line_hands_the_folder_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def load(_: str, **options: object) -> object:
        seen.update(options)
        raise UsageError("seen")

    monkeypatch.setattr(encoders, "load_encoder", load)
    given = ["-", "--as", "text", "-o", str(tmp_path / "a.npz"), "--precision", "int8", "--calibration", str(folder)]
    CliRunner().invoke(embed.command, given, input="a text")
    assert seen == {"precision": "int8", "runtime": "auto", "device": "auto", "calibration": folder}


def test_a_device_that_is_not_there_is_refused_by_the_starter_too() -> None:
    with pytest.raises(UsageError, match="found 'abacus'"):
        load_encoder("starter", device="abacus").encode_text(["a text"])


def test_options_of_reading_are_for_published_models() -> None:
    with pytest.raises(UsageError, match="activation: how an installed checkpoint is read was decided"):
        load_encoder("starter", activation="gelu")
