import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from callosum.core.errors import InputError, UsageError
from callosum.train.material import read_material
from callosum.train.mixture import Mixture, MixtureConfig
from callosum.train.stock import Material
from callosum.train.supply import Kind, Supply
from tests.unit.train.films import image_manifest, pair_manifest, same_columns, text_manifest


def _material(folder: Path, weights: tuple[float, float, float] = (1.0, 1.0, 2.0)) -> Material:
    kinds = (Kind.PAIRS, Kind.IMAGES, Kind.TEXTS)
    manifests = (pair_manifest(folder, 7), image_manifest(folder, 11), text_manifest(folder, 5))
    return read_material(
        Supply(manifest=manifest, kind=kind, weight=weight, labels=same_columns())
        for manifest, kind, weight in zip(manifests, kinds, weights, strict=True)
    )


def test_weights_hold_exactly_and_every_row_has_its_turn(tmp_path: Path) -> None:
    material = _material(tmp_path, (1.0, 2.5, 1.0))
    mixture = Mixture(material, MixtureConfig(num_images=3, num_texts=3))
    images: list[int] = []
    for step in range(1, 301):
        draw = mixture.draw()
        assert (len(draw.image_rows_N), len(draw.text_rows_M), draw.num_pairs) == (3, 3, 0)
        images += draw.image_rows_N.tolist()
        num_pairs_pool = sum(row < 7 for row in images)
        assert abs(num_pairs_pool - 3 * step / 3.5) <= 1
    counts = Counter(images)
    assert sorted(counts) == list(range(18))
    assert max(counts[n] for n in range(7)) - min(counts[n] for n in range(7)) <= 1
    assert max(counts[n] for n in range(7, 18)) - min(counts[n] for n in range(7, 18)) <= 1


def test_pairs_are_drawn_together_and_only_together(tmp_path: Path) -> None:
    material = _material(tmp_path)
    mixture = Mixture(material, MixtureConfig(num_pairs=4, num_images=2, num_texts=1))
    pairs = {tuple(pair) for pair in material.pools[0].pair_rows.tolist()}
    for _ in range(20):
        draw = mixture.draw()
        together = zip(draw.image_rows_N[:4].tolist(), draw.text_rows_M[:4].tolist(), strict=True)
        assert pairs.issuperset(together)
        assert (draw.image_rows_N[4:] >= 7).all()
        assert (draw.text_rows_M[4:] >= 7).all()


def test_every_epoch_has_another_order_and_other_keys(tmp_path: Path) -> None:
    mixture = Mixture(_material(tmp_path), MixtureConfig(num_pairs=7))
    draws = [mixture.draw() for _ in range(4)]
    assert all(np.array_equal(np.sort(draw.image_rows_N), np.arange(7)) for draw in draws)
    assert len({tuple(draw.image_rows_N.tolist()) for draw in draws}) == 4
    assert len({key for draw in draws for key in (*draw.image_keys_N.tolist(), *draw.text_keys_M.tolist())}) == 56


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_what_one_would_draw(tmp_path: Path, world_size: int) -> None:
    material = _material(tmp_path)
    one = Mixture(material, MixtureConfig(num_pairs=6, num_images=6, num_texts=6))
    config = MixtureConfig(num_pairs=6 // world_size, num_images=6 // world_size, num_texts=6 // world_size)
    many = [Mixture(material, config, rank=rank, world_size=world_size) for rank in range(world_size)]
    for _ in range(5):
        whole, parts = one.draw(), [mixture.draw() for mixture in many]
        for name in ("image_keys_N", "text_keys_M"):
            taken = np.concatenate([getattr(part, name) for part in parts])
            assert len(np.unique(taken)) == 12
            assert np.array_equal(np.sort(taken), np.sort(getattr(whole, name)))
    assert {json.dumps(mixture.state_dict()) for mixture in (one, *many)} == {json.dumps(one.state_dict())}


def test_a_state_continues_also_on_another_number_of_processes(tmp_path: Path) -> None:
    material = _material(tmp_path)
    first = Mixture(material, MixtureConfig(num_images=4, num_texts=2, seed=3))
    for _ in range(9):
        first.draw()
    state = json.loads(json.dumps(first.state_dict()))
    expected = first.draw()
    second = Mixture(material, MixtureConfig(num_images=4, num_texts=2, seed=3))
    second.load_state_dict(state)
    got = second.draw()
    assert got.step == expected.step == 9
    assert np.array_equal(got.image_rows_N, expected.image_rows_N)
    assert np.array_equal(got.text_keys_M, expected.text_keys_M)
    half = Mixture(material, MixtureConfig(num_images=2, num_texts=1, seed=3), rank=1, world_size=2)
    half.load_state_dict(state)
    assert np.array_equal(half.draw().image_keys_N, expected.image_keys_N[2:])


@pytest.mark.parametrize("change", [{"seed": 1}, {"num_images": 5}])
def test_a_state_of_another_run_is_refused(tmp_path: Path, change: dict[str, int]) -> None:
    material = _material(tmp_path)
    settings = {"num_images": 4, "num_texts": 2}
    state = Mixture(material, MixtureConfig(**settings)).state_dict()
    with pytest.raises(InputError, match="interrupted"):
        Mixture(material, MixtureConfig(**settings | change)).load_state_dict(state)


def test_slots_that_nothing_can_fill_are_refused(tmp_path: Path) -> None:
    images = read_material([Supply(manifest=image_manifest(tmp_path), kind=Kind.IMAGES, labels=same_columns())])
    with pytest.raises(UsageError, match="texts"):
        Mixture(images, MixtureConfig(num_images=2, num_texts=2))
    with pytest.raises(UsageError, match="no supply"):
        Mixture(_material(tmp_path, (0.0, 1.0, 1.0)), MixtureConfig(num_pairs=2))
    with pytest.raises(UsageError, match="compared"):
        MixtureConfig(num_images=4)
    with pytest.raises(UsageError, match="rank"):
        Mixture(images, MixtureConfig(num_pairs=1), rank=2, world_size=2)
