import pickle

import numpy as np
import pytest

from callosum.models.preprocess import Preprocess


@pytest.mark.parametrize("shape", [(50, 80), (50, 80, 1), (50, 80, 3), (1, 900), (3000, 2000)])
def test_any_picture_becomes_a_square(shape: tuple[int, ...]) -> None:
    out = Preprocess(size_px=32)(np.full(shape, 77, np.uint8))
    assert out.shape == (32, 32, 3)
    assert out.dtype == np.uint8
    assert (out == 77).all()


def test_it_travels_to_a_worker() -> None:
    assert pickle.loads(pickle.dumps(Preprocess(size_px=40))) == Preprocess(size_px=40)
