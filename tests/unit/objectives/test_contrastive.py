import math

import pytest
import torch
from torch.nn import functional

from callosum.objectives.contrastive import Clip, contrastive_loss, equal_text_truth
from callosum.objectives.pairs import FalseNegatives
from tests.unit.objectives.batches import batch, golden, plain, value_and_gradients


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


def naive(image: torch.Tensor, text: torch.Tensor, keys: list[str], scale: float) -> torch.Tensor:
    """Both directions in plain loops: the mean log-probability of every pair of equal texts."""
    logits = scale * image @ text.T
    total = torch.zeros(())
    for matrix in (logits, logits.T):
        for n, row in enumerate(matrix):
            log_probability = row - torch.logsumexp(row, dim=0)
            same = [m for m, key in enumerate(keys) if key == keys[n]]
            total = total - torch.stack([log_probability[m] for m in same]).mean() / len(keys) / 2
    return total


def test_equal_texts_are_positives_in_value_and_gradient() -> None:
    assert equal_text_truth(["a", "a", "b"]).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    generator = torch.Generator().manual_seed(2)
    keys = ["a", "b", "a", "c", "b", "a", "d"]
    raw = [torch.randn(7, 5, generator=generator, requires_grad=True) for _ in range(2)]
    gradients = []
    for loss in (
        lambda x, y: contrastive_loss(x, y, logit_scale=torch.tensor(9.0), truth_NM=equal_text_truth(keys))[
            "contrastive"
        ],
        lambda x, y: naive(x, y, keys, 9.0),
    ):
        value = loss(*(functional.normalize(part, dim=1) for part in raw))
        gradients.append((value.detach(), *torch.autograd.grad(value, raw)))
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    alone = contrastive_loss(*(functional.normalize(part, dim=1) for part in raw), logit_scale=torch.tensor(9.0))
    assert float(alone["contrastive"].detach()) != pytest.approx(float(gradients[0][0]), abs=1e-2)


def test_no_positive_at_all_is_no_loss() -> None:
    rows = unit([1.0, 0.0], [0.0, 1.0])
    terms = contrastive_loss(rows, rows, logit_scale=torch.tensor(1.0), truth_NM=torch.zeros(2, 2))
    assert float(terms["contrastive"]) == 0.0


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


@pytest.mark.parametrize(("case", "rel"), [("a", 1e-5), ("b", 1e-5), ("c", 1e-10)])
@pytest.mark.parametrize("kind", ["clip", "clip_bias"])
def test_equals_open_clip(case: str, kind: str, rel: float) -> None:
    g = {name.removeprefix(f"{case}_{kind}_"): value for name, value in golden("open_clip_losses").items()}
    dtype = g["img"].dtype
    scale = g["log_scale"].to(dtype).exp()
    bias = g["bias"].to(dtype) if kind == "clip_bias" else None
    loss, image, text, by_scale, *rest = value_and_gradients(Clip(), plain(g["img"], g["txt"], scale, bias))
    assert float(loss) == pytest.approx(float(g["loss"]), rel=rel)
    assert torch.allclose(image, g["g_img"], rtol=rel, atol=rel / 10)
    assert torch.allclose(text, g["g_txt"], rtol=rel, atol=rel / 10)
    assert float(by_scale * scale) == pytest.approx(float(g["g_log_scale"]), rel=rel)
    assert all(float(value.abs()) < 1e-6 for value in rest)


def test_the_objective_is_the_loss_of_its_truth() -> None:
    views = batch()
    for policy in FalseNegatives:
        objective = Clip(equal_text=policy, equal_patient=policy)
        assert views.logit_scale is not None
        terms = contrastive_loss(
            views.image.embedding_ND,
            views.text.embedding_ND,
            logit_scale=views.logit_scale,
            truth_NM=objective.truth(views.image, views.text),
        )
        found = objective(views)
        assert float(found["loss"]) == pytest.approx(float(terms["contrastive"]), rel=1e-12)
        assert float(found["matched"]) == pytest.approx(1.0 if policy == FalseNegatives.POSITIVE else 6 / 7)
