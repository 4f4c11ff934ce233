import math

import pytest
import torch

from callosum.objectives import blockwise
from callosum.objectives.blockwise import blocks, log_sum_exps
from tests.unit.objectives.batches import unit


@pytest.fixture(params=[(4, 0), (12, 0), (12, 13), (12, 1 << 20), (1 << 20, 0)], ids=str)
def cells(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one row, of two rows (computed again, partly kept, all kept), and of everything."""
    monkeypatch.setitem(blockwise.BLOCK_CELLS, "cpu", request.param[0])
    monkeypatch.setattr(blockwise, "KEPT_CELLS", request.param[1])


def test_blocks_cover_every_row_once(cells: None) -> None:
    found = [n for rows in blocks(7, 5, torch.device("cpu")) for n in range(rows.start, rows.stop)]
    assert found == list(range(7))


def test_gradcheck(cells: None) -> None:
    left_out = torch.zeros(4, 6, dtype=torch.bool)
    left_out[1, :3] = left_out[2] = left_out[:, 4] = True
    image, text = (unit(n, 3, seed=n).requires_grad_() for n in (4, 6))
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)

    def both(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, ...]:
        row, column = log_sum_exps(image, text, scale=scale, left_out=lambda rows: left_out[rows])
        return row[[0, 1, 3]], column[[0, 1, 2, 3, 5]]

    assert torch.autograd.gradcheck(both, (image, text, scale))
    row, column = log_sum_exps(image, text, scale=scale, left_out=lambda rows: left_out[rows])
    assert float(row[2].detach()) == float(column[4].detach()) == -math.inf


def test_large_logits_do_not_overflow(cells: None) -> None:
    image = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    row, column = log_sum_exps(image, image, scale=torch.tensor(1000.0))
    assert row.tolist() == column.tolist() == [1000.0, 1000.0, 1000.0]
