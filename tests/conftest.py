"""Fixtures: the fake encoder, real files that are always there, and the data packs where they are."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image as PilImage

from tests.fakes import FakeEncoder


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests that take more than a minute")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--run-slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: run with --run-slow"))


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture(scope="session")
def pydicom_files() -> Path:
    """The DICOM files that come inside the pydicom package."""
    return Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the data packs, which only some machines have."""
    root = os.environ.get("CALLOSUM_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("the data packs are not here: set CALLOSUM_DATA to their folder")
    return Path(root)


@pytest.fixture
def shades(tmp_path: Path) -> Path:
    """A folder of five grey pictures, from black to white, and one text file."""
    folder = tmp_path / "shades"
    (folder / "deep").mkdir(parents=True)
    for n, name in enumerate(["black", "dark", "grey", "bright"]):
        PilImage.fromarray(np.full((24, 32), n * 64, np.uint8)).save(folder / f"{name}.png")
    PilImage.fromarray(np.full((24, 32, 3), 255, np.uint8)).save(folder / "deep" / "white.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder
