"""One source to pictures: what the encoder gets of a large film, and what is recorded of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

import callosum
from callosum.data.poison import PoisonList
from callosum.data.sources import Source
from callosum.models.preprocess import Preprocess
from callosum.service.outcome import Job, Readied, Ready
from callosum.service.prepare import prepare


class Exact(Preprocess):
    """The same input, of which every pixel counts."""

    spare_px = None


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large picture with edges and noise."""
    rng = np.random.default_rng(0)
    coarse = Pil.fromarray(rng.integers(0, 256, (24, 20), np.uint8)).resize((2000, 2400), Pil.Resampling.BICUBIC)
    noisy = np.asarray(coarse).astype(float) + rng.normal(0, 12, (2400, 2000))
    noisy[600:1200, 500:520] = 255
    path = tmp_path_factory.mktemp("films") / "film.png"
    Pil.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)
    return path


def ready(path: Path, preprocess: Preprocess) -> Ready:
    job = Job(preprocess=preprocess, known=np.empty(0, dtype="S32"), key=b"k")
    outcome = prepare(Source(name="film.png", location=path), job, PoisonList())
    assert isinstance(outcome, Readied)
    return outcome.pictures[0]


def test_a_large_film_is_averaged_and_says_so(film: Path) -> None:
    averaged, full = ready(film, Preprocess(size_px=128)), ready(film, Exact(size_px=128))
    assert json.loads(averaged.entry.render_recipe)["averaged"] == 2
    assert "averaged" not in json.loads(full.entry.render_recipe)
    assert averaged.pixels is not None and full.pixels is not None
    assert np.abs(averaged.pixels.astype(int) - full.pixels.astype(int)).max() <= 2


def test_its_vector_is_the_same(film: Path) -> None:
    encoder = callosum.load_encoder("starter")
    assert isinstance(encoder.preprocess, Preprocess)
    size = encoder.preprocess.size_px
    pictures = [ready(film, kind(size_px=size)).pixels for kind in (Preprocess, Exact)]
    one, other = encoder.encode_pixels(np.stack([each for each in pictures if each is not None])).matrix
    assert one @ other > 0.9995
