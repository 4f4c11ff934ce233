from pathlib import Path

import pytest
import torch

from callosum.core.errors import UsageError
from callosum.objectives.gather import Gathering, gather_views
from callosum.objectives.registry import ObjectiveName, build_objective
from tests.unit.objectives.batches import batch
from tests.unit.objectives.processes import MODES, POLICY, Towers, whole_batch, work


def test_two_processes_have_the_gradients_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(work, (tmp_path,), nprocs=2)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    image, text = whole_batch()
    for name in ObjectiveName:
        towers = Towers()
        loss = build_objective(name, POLICY)(towers(image, text))["loss"]
        loss.backward()
        one = [loss.detach(), *(torch.zeros_like(p) if p.grad is None else p.grad for p in towers.parameters())]
        assert any(float(value.abs().max()) > 1e-3 for value in one[1:])
        for mode in (*MODES, "cached"):
            for ours, theirs in zip(found[f"{name}/{mode}"], one, strict=True):
                assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12), (name, mode)
    assert "different kinds" in (tmp_path / "refused0").read_text()
    assert "different kinds" in (tmp_path / "refused1").read_text()


def test_local_terms_without_travelling_gradients_are_refused() -> None:
    with pytest.raises(UsageError, match="local_loss needs with_gradient"):
        Gathering(local_loss=True, with_gradient=False)


def test_one_process_keeps_its_batch() -> None:
    views = batch()
    assert gather_views(views) is views
