import pytest
import torch

from callosum.core.errors import UsageError
from callosum.models.text.pooling import Pool, Projection, pooled, projection, word_sums

STATES = torch.randn(5, 2, 6, 3, generator=torch.Generator().manual_seed(0))
LENGTHS = [6, 4]
MASK = torch.arange(6) < torch.tensor(LENGTHS)[:, None]


@pytest.mark.parametrize("pool", Pool)
def test_each_pooling_by_its_definition(pool: Pool) -> None:
    picked = [STATES[n] for n in pool.layers(4)]
    found = pooled(pool, picked, MASK, num_slots=9)
    for n, length in enumerate(LENGTHS):
        rows = STATES[:, n, :length]
        expected = {
            Pool.CLS: rows[4, 0],
            Pool.MEAN: rows[4].mean(0),
            Pool.MAX: rows[4].max(0).values,
            Pool.MEDCLIP_UNMASKED: (STATES[1, n] + STATES[2, n] + STATES[4, n]).mean(0) / 3,
            Pool.MEDCLIP_MASKED: (rows[1] + rows[2] + rows[4]).mean(0) / 3,
            Pool.GLORIA: rows[1:].sum((0, 1)) / 9,
        }[pool]
        assert torch.allclose(found[n], expected, atol=1e-6)


def test_pieces_of_one_word_are_summed() -> None:
    joins = torch.tensor([[False, False, True, True, False, False], [False, False, True, False, True, True]])
    words, is_word = word_sums(STATES[0], MASK, joins)
    first, second = STATES[0]
    assert is_word.tolist() == [[True] * 4, [True] * 3 + [False]]
    assert torch.allclose(words[0], torch.stack([first[0], first[1:4].sum(0), first[4], first[5]]))
    assert torch.allclose(words[1], torch.stack([second[0], second[1:3].sum(0), second[3], torch.zeros(3)]))


def test_a_piece_that_continues_nothing_is_a_word() -> None:
    words, is_word = word_sums(STATES[0], MASK, torch.ones_like(MASK))
    assert is_word.tolist() == [[True], [True]]
    assert torch.allclose(words[1, 0], STATES[0, 1, :4].sum(0), atol=1e-6)


def test_projections() -> None:
    x = torch.randn(4, 6)
    linear, mlp = projection(Projection.LINEAR, 6, 3), projection(Projection.MLP, 6, 3)
    state = mlp.state_dict()
    hidden = x @ state["0.weight"].T
    bent = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    assert torch.allclose(mlp(x), bent @ state["2.weight"].T, atol=1e-6)
    assert torch.allclose(linear(x), x @ linear.state_dict()["weight"].T, atol=1e-6)
    assert projection(Projection.NONE, 6, 6)(x) is x
    with pytest.raises(UsageError, match="of the space, 3; found 6"):
        projection(Projection.NONE, 6, 3)
