import numpy as np
import pytest
import torch

from callosum.core.errors import UsageError
from callosum.objectives.convirt import ConVirt
from tests.unit.objectives.batches import leaves, plain, unit


def test_the_papers_formula_in_numpy_and_by_finite_differences() -> None:
    image, text = unit(5, 4, seed=0), unit(5, 4, seed=1)

    def paper(v: np.ndarray, u: np.ndarray) -> float:
        total = 0.0
        for i in range(5):
            to_text = sum(np.exp(v[i] @ u[k] / 0.1) for k in range(5))
            to_image = sum(np.exp(v[k] @ u[i] / 0.1) for k in range(5))
            own = np.exp(v[i] @ u[i] / 0.1)
            total -= 0.75 * np.log(own / to_text) + 0.25 * np.log(own / to_image)
        return total / 5

    views, found = leaves(plain(image, text, torch.tensor(1.0)))
    loss = ConVirt()(views)["loss"]
    assert float(loss.detach()) == pytest.approx(paper(image.numpy(), text.numpy()), rel=1e-12)
    gradient = torch.autograd.grad(loss, found[:2])
    for which in range(2):
        for n, d in ((0, 0), (3, 2)):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [image.clone(), text.clone()]
                moved[which][n, d] += step
                ends.append(paper(moved[0].numpy(), moved[1].numpy()))
            assert float(gradient[which][n, d]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-6)


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"image_weight": 1.5}])
def test_settings_outside_their_range(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        ConVirt(**settings)
