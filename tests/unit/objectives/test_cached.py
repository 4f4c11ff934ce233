"""The gradients of a batch in chunks are those of the batch, with dropout on."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError
from callosum.objectives.cached import cached_backward
from callosum.objectives.registry import ObjectiveName, build_objective
from callosum.objectives.views import Side, Views, join_sides
from tests.unit.objectives.processes import POLICY, whole_batch


class Towers(nn.Module):
    """Two towers with dropout, and noise from a generator of their own."""

    def __init__(self, *, is_locked: bool = False) -> None:
        super().__init__()
        torch.manual_seed(3)
        widths = [(6, 9), (9, 4)]
        self.image, self.text = (
            nn.Sequential(nn.Linear(*widths[0]), nn.Dropout(0.4), nn.ReLU(), nn.Linear(*widths[1])).double()
            for _ in range(2)
        )
        self.image.requires_grad_(not is_locked)
        self.log_scale = nn.Parameter(torch.tensor(1.5, dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor(-2.0, dtype=torch.float64))
        self.noise = torch.Generator().manual_seed(9)

    def encode(self, chunk: tuple[dict[str, Tensor], dict[str, Tensor]]) -> tuple[Side, Side]:
        sides = []
        for tower, given in zip((self.image, self.text), chunk, strict=True):
            x = given["x"] + 0.1 * torch.randn(given["x"].shape, generator=self.noise, dtype=torch.float64)
            keys = {name: value for name, value in given.items() if name not in ("x", "tokens")}
            embedding = functional.normalize(tower(x), dim=1)
            sides.append(Side(embedding_ND=embedding, token_NLD=tower(given["tokens"]), **keys))
        return sides[0], sides[1]

    def loss(self, name: str) -> Callable[[Side, Side], dict[str, Tensor]]:
        objective = build_objective(name, POLICY)

        def terms(image: Side, text: Side) -> dict[str, Tensor]:
            torch.rand(3)  # A loss may draw too: what it drew is not drawn again.
            return objective(Views(image=image, text=text, logit_scale=self.log_scale.exp(), logit_bias=self.bias))

        return terms

    def gradients(self) -> dict[str, Tensor]:
        return {name: p.grad for name, p in self.named_parameters() if p.grad is not None}


def chunks() -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    image, text = whole_batch()
    for given in (image, text):
        given["pair_N"] = torch.arange(8)
    rows = (slice(0, 3), slice(3, 6), slice(6, 8))
    return [({k: v[r] for k, v in image.items()}, {k: v[r] for k, v in text.items()}) for r in rows]


@pytest.mark.parametrize("name", list(ObjectiveName))
def test_equals_the_whole_batch(name: str) -> None:
    whole, parts = Towers(), Towers()
    torch.manual_seed(5)
    encoded = [whole.encode(chunk) for chunk in chunks()]
    terms = whole.loss(name)(join_sides([i for i, _ in encoded]), join_sides([t for _, t in encoded]))
    terms["loss"].backward()
    after = torch.rand(1), torch.rand(1, generator=whole.noise)
    torch.manual_seed(5)
    found = cached_backward(chunks(), encode=parts.encode, loss=parts.loss(name), generators=[parts.noise])
    assert not any(term.requires_grad for term in found.values())
    assert float(found["loss"]) == pytest.approx(float(terms["loss"].detach()), rel=1e-12)
    expected, ours = whole.gradients(), parts.gradients()
    assert expected.keys() == ours.keys()
    assert ("log_scale" in ours) == (name not in ("convirt", "gloria"))
    for parameter, gradient in expected.items():
        assert torch.allclose(ours[parameter], gradient, rtol=1e-10, atol=1e-13), parameter
    # The streams of both generators go on where they would have, so that the next step draws anew.
    assert torch.rand(1) == after[0]
    assert torch.rand(1, generator=parts.noise) == after[1]


def test_without_replayed_noise_the_gradients_would_differ() -> None:
    gradients = []
    for generators in ([], [0]):
        towers = Towers()
        torch.manual_seed(5)
        cached_backward(
            chunks(), encode=towers.encode, loss=towers.loss("clip"), generators=[towers.noise for _ in generators]
        )
        gradients.append(towers.gradients()["image.0.weight"])
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-3)


def test_a_locked_tower_and_gradients_that_were_there() -> None:
    free, locked = Towers(), Towers(is_locked=True)
    for towers in (free, locked):
        towers.text[0].weight.grad = torch.ones_like(towers.text[0].weight)
        torch.manual_seed(5)
        cached_backward(chunks(), encode=towers.encode, loss=towers.loss("clip"), generators=[towers.noise])
    assert "image.0.weight" not in locked.gradients()
    assert torch.equal(free.gradients()["text.0.weight"], locked.gradients()["text.0.weight"])
    torch.manual_seed(5)
    fresh = Towers()
    torch.manual_seed(5)
    cached_backward(chunks(), encode=fresh.encode, loss=fresh.loss("clip"), generators=[fresh.noise])
    assert torch.allclose(fresh.gradients()["text.0.weight"] + 1.0, free.gradients()["text.0.weight"])


def test_no_chunk() -> None:
    towers = Towers()
    with pytest.raises(InputError, match="no chunk"):
        cached_backward([], encode=towers.encode, loss=towers.loss("clip"))
