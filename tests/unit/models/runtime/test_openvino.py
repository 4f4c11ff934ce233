"""Runs where OpenVINO is installed; that it is asked for by name where it is not is tested everywhere."""

import importlib.util
from collections.abc import Callable

import pytest
import torch

from callosum.core.errors import InputError, MissingDependency, UsageError
from callosum.models.runtime import int8, openvino
from callosum.models.runtime.fidelity import Fidelity, fidelity
from callosum.models.runtime.int8 import quantised
from callosum.models.runtime.outliers import with_outliers
from callosum.models.runtime.precision import Precision, Runtime
from callosum.models.text.bert import Bert, BertConfig
from callosum.models.vision.vit import ViT, ViTConfig

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="NNCF is not installed")


def vit() -> ViT:
    torch.manual_seed(0)
    return ViT(ViTConfig(size_px=32, patch_px=8, width=64, num_blocks=2, num_heads=2)).eval()


def pictures(*, seed: int = 0, count: int = 1) -> tuple[torch.Tensor, ...]:
    return (torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)),)


@needs_openvino
@pytest.mark.parametrize(("precision", "bound"), [(Precision.FP32, 0.999999), (Precision.BF16, 0.9995)])
def test_any_number_of_pictures(precision: Precision, bound: float) -> None:
    tower = vit()
    fast = openvino.convert(tower, pictures(count=2), precision=precision)
    assert (fast.report.runtime, fast.report.precision) == (Runtime.OPENVINO, precision)
    with torch.inference_mode():
        assert fidelity(tower, fast, [pictures(seed=1, count=n) for n in (1, 2, 5)], bound=bound).passed


@needs_openvino
def test_texts_of_any_length() -> None:
    torch.manual_seed(0)
    tower = Bert(BertConfig(vocab_size=50, width=64, num_blocks=2, num_heads=2, hidden=128, context_length=32)).eval()

    def texts(count: int, length: int) -> tuple[torch.Tensor, ...]:
        mask = torch.ones(count, length, dtype=torch.bool)
        mask[0, 2:] = False
        return torch.randint(0, 50, (count, length)), mask

    fast = openvino.convert(tower, texts(2, 9))
    with torch.inference_mode():
        assert fidelity(tower, fast, [texts(1, 5), texts(3, 17)], bound=0.999999).passed


@needs_openvino
@needs_nncf
def test_int8_passes_the_gate_or_is_an_error() -> None:
    tower = vit()
    calibration, check = ([pictures(seed=s) for s in range(a, b)] for a, b in ((0, 16), (16, 24)))
    fast, found = quantised(tower, pictures(), calibration=calibration, check=check, bound=0.98)
    assert found.passed
    assert found.num_rows == 8
    assert found.min_cosine < 0.999999, "an int8 tower that equals float32 is not int8"
    assert fast.report.precision is Precision.INT8
    with pytest.raises(UsageError, match=r"int8 has to keep a cosine of 0.999999"):
        quantised(tower, pictures(), calibration=calibration, check=check, bound=0.999999)


@needs_openvino
@needs_nncf
def test_the_gate_looks_at_outlier_channels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([0.9999, 0.8])
    tower, calibration, check = vit(), [pictures()], [pictures(seed=1)]

    def found(*_: object, **given: float) -> Fidelity:
        cosine = next(measured)
        return Fidelity(min_cosine=cosine, mean_cosine=cosine, max_abs=0.0, num_rows=1, bound=given["bound"])

    monkeypatch.setattr(int8, "fidelity", found)
    with pytest.raises(UsageError, match=r"int8 with outlier channels has to keep .* found 0.800000"):
        quantised(tower, pictures(), calibration=calibration, check=check)


def test_outlier_channels_change_nothing_in_float32() -> None:
    tower = torch.nn.Sequential(vit())
    strained = with_outliers(tower)
    assert strained is not None
    assert float(strained[0].blocks[0].norm1.weight.detach().abs().max()) > 15
    with torch.inference_mode():
        assert torch.allclose(strained(*pictures()), tower(*pictures()), atol=1e-4)
    assert with_outliers(torch.nn.Linear(3, 3)) is None


@needs_openvino
def test_refusals() -> None:
    with pytest.raises(UsageError, match="eval mode"):
        openvino.convert(vit().train(), pictures())


def test_int8_needs_pictures() -> None:
    with pytest.raises(UsageError, match="without any"):
        openvino.convert(vit(), pictures(), precision=Precision.INT8)
    with pytest.raises(InputError, match="found 0 and 1"):
        quantised(vit(), pictures(), calibration=[], check=[pictures()])


def test_it_is_asked_for_by_name_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Callable[..., object]:
        raise ImportError(name)

    monkeypatch.setattr(openvino.importlib, "import_module", missing)
    with pytest.raises(MissingDependency, match="the package openvino, which is not installed"):
        openvino.convert(vit(), pictures())
