from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from callosum.core.errors import InputError
from callosum.models.tokenizer import WordPiece
from callosum.models.vision.sizes import HybridConfig
from callosum.train import loop
from callosum.train.batch import Sampler
from callosum.train.config import TrainConfig
from callosum.train.examination import EXAMINED
from callosum.train.facts import modality_facts, region_facts
from callosum.train.loop import Material, Trainer
from callosum.train.packs import Row
from callosum.train.state import load_state, save_state
from callosum.train.vocabulary import build_wordpiece
from callosum.train.words import caption_vectors, ppmi_vectors

VISION = HybridConfig(size_px=32, stem=8, widths=(8, 16, 16), depths=(1, 1, 1), token_width=16, thumbnail_px=4)


def rows() -> list[Row]:
    out = []
    for n in range(48):
        kind = ("xray", "ct")[n % 2]
        texts = (
            (f"Axial CT of the {('liver', 'kidney', 'spleen', 'brain', 'lung', 'heart')[n // 2 % 6]}.",)
            if kind == "ct"
            else ()
        )
        facts = {**modality_facts(kind), **region_facts("chest"), "normal": n % 4 == 0, "male": True}
        pack = "roco_open" if texts else "cxr_nih14"
        member = f"{n}.jpg"
        out.append(
            Row(pack=pack, row_id=str(n), split="train", texts=texts, facts=facts, archive=Path("a.tar"), member=member)
        )
    return out


@lru_cache
def vocabulary() -> WordPiece:
    """One vocabulary for every run: its trainer breaks ties at random, which is why a run keeps its vocabulary."""
    return build_wordpiece(rows(), ["a liver"], vocab_size=400, context_length=32, seed=0)


def trainer(views: int = 1) -> Trainer:
    config = TrainConfig(
        vision=VISION,
        text_width=16,
        dim=16,
        vocab_size=400,
        store_px=40,
        batch_rows={"roco_open": 6, "cxr_nih14": 6},
        num_steps=4,
        views=views,
        num_threads=1,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 40, 3)).astype(np.uint8)
    torch.manual_seed(0)
    return Trainer(config, Material(rows=rows(), pixels=pixels, wordpiece=vocabulary()))


@pytest.mark.parametrize("views", [1, 2])
def test_two_steps_change_both_towers(views: int) -> None:
    run = trainer(views)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    seen: list[dict[str, float]] = []
    run.run(until=2, report=lambda step, terms: seen.append(terms))
    assert run.step == len(seen) == 2
    assert all(np.isfinite(list(terms.values())).all() for terms in seen)
    assert ("views" in seen[0]) == (views == 2)
    for name in ("vision.stem.0.weight", "text.token.weight", "image_projection.weight", "text_projection.weight"):
        assert not torch.equal(before[name], run.model.state_dict()[name])


def test_a_run_continues_from_its_file(tmp_path: Path) -> None:
    run = trainer()
    run.run(until=2, report=lambda step, terms: None)
    save_state(run, tmp_path / "state.safetensors")
    again = trainer()
    load_state(again, tmp_path / "state.safetensors")
    assert again.step == 2
    assert again.seconds == pytest.approx(run.seconds, abs=0.1)
    for name, value in run.average.state_dict().items():
        assert torch.equal(value, again.average.state_dict()[name])
    again.run(until=3, report=lambda step, terms: None)
    assert again.step == 3


def test_a_run_continues_with_its_own_settings_only(tmp_path: Path) -> None:
    run = trainer()
    save_state(run, tmp_path / "state.safetensors")
    other = trainer()
    other.config = replace(other.config, learning_rate=0.5)
    with pytest.raises(InputError, match="other settings"):
        load_state(other, tmp_path / "state.safetensors")


def test_a_run_never_writes_what_is_examined() -> None:
    assert trainer().captioner.avoid == EXAMINED


def test_the_sampler_uses_every_row_before_it_repeats_one() -> None:
    sampler = Sampler(rows(), {"roco_open": 12, "cxr_nih14": 3}, rng=np.random.default_rng(0))
    drawn = [n for _ in range(2) for n in sampler.draw() if n % 2]
    assert sorted(drawn) == list(range(1, 48, 2))


def test_words_that_keep_the_same_company_are_alike() -> None:
    captions = [[1, 5, 2], [3, 5, 2], [4, 6, 7], [8, 6, 7]] * 5
    vectors = ppmi_vectors(captions, vocab_size=10, width=4, rng=np.random.default_rng(0))
    similarity = vectors @ vectors.T
    assert similarity[1, 3] > 0.9 > similarity[1, 4]
    texts = caption_vectors(captions, vocab_size=10, width=4, rng=np.random.default_rng(0))
    assert texts[0] @ texts[1] > texts[0] @ texts[2]
    assert np.linalg.norm(texts, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_averaged_weights_follow_slowly() -> None:
    run = trainer()
    name = "image_projection.weight"
    before = run.average.state_dict()[name].clone()
    run.run(until=1, report=lambda step, terms: None)
    decay = min(run.config.ema_decay, 2 / 11)
    expected = decay * before + (1 - decay) * run.model.state_dict()[name]
    assert torch.allclose(run.average.state_dict()[name], expected, atol=1e-6)


def test_the_learning_rate_rises_and_falls() -> None:
    run = trainer()
    rates = [run.learning_rate(step) for step in range(5)]
    assert rates[0] == pytest.approx(run.config.learning_rate)
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert rates[-1] == pytest.approx(0.02 * run.config.learning_rate)


def test_the_objective_is_told_which_captions_are_true(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    real = loop.contrastive_loss

    def spy(*arguments: torch.Tensor, **options: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(options["truth_NM"])
        return real(*arguments, **options)

    monkeypatch.setattr(loop, "contrastive_loss", spy)
    trainer().run(until=1, report=lambda step, terms: None)
    assert seen[0].shape == (12, 12)
    assert bool((seen[0].diagonal() == 1).all())
    assert bool((seen[0] - torch.eye(12) == 1).any()), "some captions are true of several pictures"
