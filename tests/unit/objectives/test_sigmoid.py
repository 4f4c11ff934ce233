import math

import pytest
import torch

from callosum.core.errors import InputError
from callosum.objectives.pairs import FalseNegatives
from callosum.objectives.sigmoid import SigLip
from tests.unit.objectives.batches import batch, golden, plain, unit, value_and_gradients


@pytest.mark.parametrize(("case", "rel"), [("a", 1e-5), ("b", 1e-5), ("c", 1e-10)])
def test_equals_open_clip(case: str, rel: float) -> None:
    g = {name: golden("open_clip_losses")[f"{case}_siglip_{name}"] for name in GOLDEN}
    dtype = g["img"].dtype
    scale = g["log_scale"].to(dtype).exp()
    loss, image, text, by_scale, by_bias = value_and_gradients(
        SigLip(), plain(g["img"], g["txt"], scale, g["bias"].to(dtype))
    )
    assert float(loss) == pytest.approx(float(g["loss"]), rel=rel)
    assert torch.allclose(image, g["g_img"], rtol=rel, atol=rel / 10)
    assert torch.allclose(text, g["g_txt"], rtol=rel, atol=rel / 10)
    assert float(by_scale * scale) == pytest.approx(float(g["g_log_scale"]), rel=10 * rel)
    assert float(by_bias) == pytest.approx(float(g["g_bias"]), rel=rel)


GOLDEN = ("img", "txt", "log_scale", "bias", "loss", "g_img", "g_txt", "g_log_scale", "g_bias")


def test_by_hand() -> None:
    rows = torch.eye(2)
    terms = SigLip()(plain(rows, rows, torch.tensor(2.0), torch.tensor(-1.0)))
    positive, negative = math.log1p(math.exp(-1.0)), math.log1p(math.exp(-1.0))
    assert float(terms["positive"]) == pytest.approx(positive)
    assert float(terms["negative"]) == pytest.approx(negative)
    assert float(terms["loss"]) == pytest.approx(positive + negative)


@pytest.mark.parametrize("policy", list(FalseNegatives))
def test_ties_change_the_sign_or_leave_the_pair_out(policy: FalseNegatives) -> None:
    views = batch()
    objective = SigLip(equal_text=policy, equal_patient=policy)
    truth = objective.truth(views.image, views.text)
    total = 0.0
    for n in range(7):
        for m in range(7):
            if not math.isnan(truth[n, m]):
                logit = 6.0 * float(views.image.embedding_ND[n] @ views.text.embedding_ND[m]) - 3.0
                total += math.log1p(math.exp(-logit if truth[n, m] else logit))
    assert float(objective(views)["loss"]) == pytest.approx(total / 7, rel=1e-12)


def test_a_bias_is_needed() -> None:
    with pytest.raises(InputError, match="logit bias"):
        SigLip()(plain(unit(2, 3, seed=0), unit(2, 3, seed=1), torch.tensor(1.0)))
