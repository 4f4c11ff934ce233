import math

import pytest
import torch
from torch.nn import functional

from callosum.objectives.contrastive import contrastive_loss, equal_text_truth


def unit(*rows: list[float]) -> torch.Tensor:
    return functional.normalize(torch.tensor(rows), dim=1)


def test_the_diagonal_case_is_clip() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = (functional.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in range(2))
    logits = 7.0 * image @ text.T
    target = torch.arange(6)
    clip = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    terms = contrastive_loss(image, text, logit_scale=torch.tensor(7.0))
    assert torch.allclose(terms["contrastive"], clip)


def test_by_hand() -> None:
    image = unit([1.0, 0.0], [0.0, 1.0])
    terms = contrastive_loss(image, image, logit_scale=torch.tensor(1.0))
    assert float(terms["contrastive"]) == pytest.approx(math.log(1 + math.exp(-1.0)), abs=1e-6)


def test_equal_texts_are_positives() -> None:
    image = unit([1.0, 0.0], [1.0, 0.0], [0.0, 1.0])
    truth = equal_text_truth(["a", "a", "b"])
    assert truth.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    shared = contrastive_loss(image, image, logit_scale=torch.tensor(50.0), truth_NM=truth)["contrastive"]
    apart = contrastive_loss(image, image, logit_scale=torch.tensor(50.0))["contrastive"]
    assert float(shared) == pytest.approx(2 / 3 * math.log(2), abs=1e-4)
    gradient_free = contrastive_loss(image, image, logit_scale=torch.tensor(50.0), truth_NM=truth)
    assert float(gradient_free["image_to_text"]) == pytest.approx(float(gradient_free["text_to_image"]))
    assert float(apart) == pytest.approx(float(shared), abs=1e-4)


def test_unknown_pairs_change_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    image, text = (functional.normalize(torch.randn(3, 4, generator=generator), dim=1) for _ in range(2))
    truth = torch.eye(3)
    truth[0, 2] = truth[2, 0] = float("nan")
    moved = text.clone()
    moved[2] = -text[2]
    scale = torch.tensor(5.0)
    before = contrastive_loss(image[:1], text, logit_scale=scale, truth_NM=truth[:1])["image_to_text"]
    after = contrastive_loss(image[:1], moved, logit_scale=scale, truth_NM=truth[:1])["image_to_text"]
    assert float(before) == pytest.approx(float(after))


def test_rows_without_a_positive_do_not_count_and_gradients_are_finite() -> None:
    image = unit([1.0, 0.2], [0.3, 1.0]).requires_grad_()
    truth = torch.tensor([[1.0, 0.0], [0.0, float("nan")]])
    smoothing = torch.tensor([[0.0, 0.1], [0.0, 0.0]])
    terms = contrastive_loss(image, image, logit_scale=torch.tensor(3.0), truth_NM=truth, smoothing=smoothing)
    terms["contrastive"].backward()
    assert image.grad is not None
    assert bool(torch.isfinite(image.grad).all())
