import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from callosum.core.errors import InputError, UsageError
from callosum.core.finding import Presence
from callosum.models.tokenizer import SubwordTokenizer, train_wordpiece
from callosum.train.augment_recipes import Recipe, augment_pixels
from callosum.train.feed import Batch
from callosum.train.labels import split_uncertain
from callosum.train.loader import Loader, LoaderConfig, RecipeOn, iter_once
from callosum.train.material import read_material
from callosum.train.mixture import MixtureConfig
from callosum.train.pixel_cache import CacheConfig, PixelCache, build_cache
from callosum.train.sentences import SentenceConfig, Take
from callosum.train.stock import Material
from callosum.train.supply import Kind, Supply
from tests.unit.train.films import CONCEPTS, image_manifest, pair_manifest, same_columns, text_manifest, write_manifest

APART = MixtureConfig(num_images=4, num_texts=3)
WHOLE = SentenceConfig(take=Take.WHOLE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("material")


@pytest.fixture(scope="module")
def material(folder: Path) -> Material:
    supplies = (
        (pair_manifest(folder, 8), Kind.PAIRS),
        (image_manifest(folder, 6), Kind.IMAGES),
        (text_manifest(folder, 6), Kind.TEXTS),
    )
    return read_material(Supply(manifest=path, kind=kind, labels=same_columns()) for path, kind in supplies)


@pytest.fixture(scope="module")
def cache(folder: Path, material: Material) -> PixelCache:
    return build_cache(material.sources, folder / "cache", CacheConfig(side_px=32, num_channels=1, num_processes=1))


def _config(**settings: object) -> LoaderConfig:
    chosen = {"mixture": APART, "sentences": WHOLE, "recipe": Recipe.CONVIRT, "size_px": 28, **settings}
    return LoaderConfig(**chosen)  # type: ignore[arg-type]


def _equal(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.pixels, second.pixels)
        and (first.step, first.texts, first.image_ids, first.text_ids)
        == (second.step, second.texts, second.image_ids, second.text_ids)
        and torch.equal(first.text_labels.nan_to_num(9), second.text_labels.nan_to_num(9))
    )


def test_a_batch_holds_what_was_drawn(material: Material, cache: PixelCache) -> None:
    tokenizer = SubwordTokenizer(train_wordpiece(["pleural effusion"] * 9, vocab_size=60), context_length=16)
    config = _config(mixture=MixtureConfig(num_pairs=3, num_images=2, num_texts=1))
    with Loader(material, cache, config, tokenizer=tokenizer) as loader:
        for batch in islice(loader, 5):
            assert batch.pixels.shape == (5, 3, 28, 28)
            assert batch.token_ids is not None
            assert batch.token_ids.shape == (4, 16)
            assert batch.token_mask is not None
            assert batch.token_mask.all()
            assert batch.image_ids[:3] == batch.text_ids[:3]
            assert batch.image_patients[:3] == batch.text_patients[:3]
            assert batch.text_of_image.tolist() == [0, 1, 2, -1, -1]
            assert batch.image_text_keys == (*batch.text_keys[:3], None, None)
            assert batch.text_pairs.tolist() == [0, 1, 2, -1]
            for n, record_id in enumerate(batch.image_ids):
                number = int(record_id[1:])
                assert batch.image_labels[n].tolist() == [number % 2, (number // 2) % 2, number % 4 == 0]
            assert batch.num_matched >= 3


def test_an_interrupted_run_goes_on_with_the_same_batches(material: Material, cache: PixelCache) -> None:
    with Loader(material, cache, _config(num_ahead=3)) as loader:
        whole = list(islice(loader, 12))
    with Loader(material, cache, _config(num_ahead=1)) as loader:
        first = list(islice(loader, 5))
        state = json.loads(json.dumps(loader.state_dict()))  # batches were prepared beyond this one
    with Loader(material, cache, _config()) as loader:
        next(loader)
        loader.load_state_dict(state)
        rest = list(islice(loader, 7))
    assert all(_equal(a, b) for a, b in zip(whole, first + rest, strict=True))
    assert not _equal(whole[0], whole[1])


def test_closing_loses_no_batch(material: Material, cache: PixelCache) -> None:
    with Loader(material, cache, _config()) as loader:
        whole = list(islice(loader, 4))
    loader = Loader(material, cache, _config())
    got = []
    for _ in range(4):
        got.append(next(loader))
        loader.close()
    assert all(_equal(a, b) for a, b in zip(whole, got, strict=True))


@pytest.mark.parametrize("change", [{"size_px": 24}, {"recipe": Recipe.CLIP}, {"sentences": SentenceConfig()}])
def test_a_state_of_other_settings_is_refused(material: Material, cache: PixelCache, change: dict[str, object]) -> None:
    state = Loader(material, cache, _config(sentences=SentenceConfig(inherits_labels=True))).state_dict()
    changed = _config(**{"sentences": SentenceConfig(inherits_labels=True, min_words=2), **change})
    if change.get("sentences"):
        changed = _config(sentences=SentenceConfig(take=Take.SOME, inherits_labels=True))
    with pytest.raises(InputError, match="interrupted"):
        Loader(material, cache, changed).load_state_dict(state)


def test_processes_share_the_pairs_of_one_draw(material: Material, cache: PixelCache) -> None:
    config = _config(mixture=MixtureConfig(num_pairs=4))
    parts = []
    for rank in range(2):
        with Loader(material, cache, config, rank=rank, world_size=2) as loader:
            parts.append(next(loader))
    assert not set(parts[0].image_ids) & set(parts[1].image_ids)
    assert parts[0].image_pairs.tolist() + parts[1].image_pairs.tolist() == list(range(8))


def test_augmenting_in_the_loop_gives_the_same_pictures(material: Material, cache: PixelCache) -> None:
    config = _config(recipe_on=RecipeOn.LOOP)
    with Loader(material, cache, _config()) as ready, Loader(material, cache, config) as raw:
        for expected, batch in islice(zip(ready, raw, strict=False), 3):
            assert batch.pixels.dtype == torch.uint8
            limits = config.augmentation
            got = augment_pixels(batch.pixels, batch.keys_N, augmentation=limits, size_px=config.size_px)
            assert torch.equal(got, expected.pixels)


def test_sentences_and_their_labels_come_together(folder: Path, cache: PixelCache) -> None:
    def extractor(sentence: str) -> dict[str, Presence]:
        if "effusion" in sentence:
            return {"Effusion": Presence.PRESENT}
        return {"Edema": Presence.ABSENT} if "edema" in sentence else {}

    supplies = [
        Supply(manifest=folder / "images.csv", kind=Kind.IMAGES, labels=same_columns()),
        Supply(manifest=folder / "texts.csv", kind=Kind.TEXTS),
    ]
    material = read_material(supplies, concepts=CONCEPTS, extractor=extractor)
    seen = set()
    with Loader(material, cache, _config(sentences=SentenceConfig())) as loader:
        for batch in islice(loader, 20):
            present, uncertain = split_uncertain(batch.text_labels)
            assert not uncertain.any()
            for text, present_K, labels_K in zip(batch.texts, present, batch.text_labels, strict=True):
                seen.add(text[:8])
                assert present_K.tolist() == ["effusion" in text, 0, 0]
                assert (labels_K[1] == 0) == ("edema" in text)
                assert bool(labels_K[2].isnan())
    assert seen == {"There is", "The hear", "No edema", "This is "}


def test_labels_of_whole_reports_are_not_given_to_sentences_unasked(material: Material, cache: PixelCache) -> None:
    with pytest.raises(UsageError, match="whole reports"):
        Loader(material, cache, _config(sentences=SentenceConfig()))
    with Loader(material, cache, _config(sentences=SentenceConfig(inherits_labels=True))) as loader:
        assert all(len(text.split()) < 10 for text in next(loader).texts)


def test_a_batch_without_positives_says_so(folder: Path, material: Material, cache: PixelCache) -> None:
    with Loader(material, cache, _config(mixture=MixtureConfig(num_images=1, num_texts=1))) as loader:
        for batch in islice(loader, 30):
            shared = (batch.image_labels[0] == 1) & (batch.text_labels[0] == 1)
            assert batch.num_matched == int(shared.any())
            if not batch.num_matched:
                return
    pytest.fail("thirty draws of one picture and one text all matched")


def test_everything_once_for_validation(material: Material, cache: PixelCache) -> None:
    batches = list(iter_once(material, cache, batch_size=5, size_px=32))
    assert [(len(b.image_ids), len(b.text_ids)) for b in batches] == [(5, 5), (3, 3), (5, 0), (1, 0), (0, 5), (0, 1)]
    assert [b.step for b in batches] == list(range(6))
    sizes = [(len(b.image_ids), len(b.text_ids)) for b in iter_once(material, cache, batch_size=7, size_px=32)]
    assert sizes == [(8, 8), (6, 0), (0, 6)], "no pair is alone"
    assert sum((b.image_ids for b in batches), ()) == tuple(p.record_id for p in material.pictures)
    assert batches[0].text_of_image.tolist() == [0, 1, 2, 3, 4]
    expected = torch.from_numpy(cache.gather(cache.find(material.sources[:5]))).permute(0, 3, 1, 2) / 255
    assert torch.equal(batches[0].pixels, expected.expand(-1, 3, -1, -1))
    assert "normal in size. No edema" in batches[0].texts[0]
    tokenizer = SubwordTokenizer(train_wordpiece(["pleural effusion"] * 9, vocab_size=60), context_length=16)
    alone = list(iter_once(material, cache, batch_size=5, size_px=24, tokenizer=tokenizer))[2]
    assert alone.token_ids is not None
    assert len(alone.token_ids) == 0
    assert alone.pixels.shape == (5, 3, 24, 24)


def _one_text(folder: Path, **row: object) -> Material:
    rows = [{"path": str(n), "split": "train", "text": "No edema is seen.", "Edema": 0, **row} for n in range(3)]
    texts = write_manifest(folder / "equal.csv", [{"id": f"e{n}", **row} for n, row in enumerate(rows)])
    images = Supply(manifest=folder / "images.csv", kind=Kind.IMAGES, labels={"Edema": "Edema"})
    return read_material([images, Supply(manifest=texts, kind=Kind.TEXTS, labels={"Edema": "Edema"})])


def test_nothing_to_learn_is_refused(folder: Path, cache: PixelCache) -> None:
    with pytest.raises(InputError, match="All 3 texts are equal"):
        Loader(_one_text(folder), cache, _config())
    texts = text_manifest(folder, 4, name="unlabelled")
    supplies = [(folder / "images.csv", Kind.IMAGES), (texts, Kind.TEXTS)]
    plain = read_material(Supply(manifest=path, kind=kind) for path, kind in supplies)
    with pytest.raises(UsageError, match="labels"):
        Loader(plain, cache, _config())
    apart = [
        Supply(manifest=folder / "images.csv", kind=Kind.IMAGES, labels={"Edema": "Edema"}),
        Supply(manifest=texts, kind=Kind.TEXTS, labels={"Effusion": "Effusion"}),
    ]
    with pytest.raises(InputError, match="positive both"):
        Loader(read_material(apart), cache, _config())


def test_one_class_only_is_refused(folder: Path) -> None:
    images = image_manifest(folder, 3, name="alike", Effusion=1, Edema=0)
    rows = [
        {"id": f"x{n}", "path": str(n), "split": "train", "text": f"Effusion number {n}.", "E": 1} for n in range(3)
    ]
    texts = write_manifest(folder / "effusions.csv", rows)
    material = read_material(
        [
            Supply(manifest=images, kind=Kind.IMAGES, labels={"Effusion": "Effusion"}),
            Supply(manifest=texts, kind=Kind.TEXTS, labels={"Effusion": "E"}),
        ]
    )
    cache = build_cache(material.sources, folder / "cache", CacheConfig(side_px=32, num_channels=1, num_processes=1))
    with pytest.raises(InputError, match="same labels"):
        Loader(material, cache, _config())


def test_pictures_that_are_not_in_the_cache_are_refused(material: Material, tmp_path: Path) -> None:
    empty = PixelCache(tmp_path, CacheConfig(side_px=32))
    with pytest.raises(UsageError, match="14 of 14 pictures"):
        Loader(material, empty, _config())


def test_an_error_in_the_thread_is_raised_where_batches_are_asked_for(material: Material, cache: PixelCache) -> None:
    def broken(texts: object) -> tuple[np.ndarray, np.ndarray]:
        message = "no such word"
        raise InputError(message)

    with Loader(material, cache, _config(), tokenizer=broken) as loader, pytest.raises(InputError, match="such word"):
        next(loader)
