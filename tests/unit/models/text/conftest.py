"""Fixtures: the outputs of the peers on tiny random weights, where they are."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def goldens() -> Path:
    root = os.environ.get("CALLOSUM_DATA")
    folder = Path(root).parent / "goldens" if root else None
    if folder is None or not folder.is_dir():
        pytest.skip("the goldens are not here: set CALLOSUM_DATA to the folder of the data packs beside them")
    return folder
