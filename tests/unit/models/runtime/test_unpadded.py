import copy

import pytest
import torch

from callosum.core.errors import InputError, UsageError
from callosum.models.runtime.accelerate import accelerate
from callosum.models.runtime.packed import Segments
from callosum.models.runtime.precision import Op, Path, PathReport, Precision, Runtime, RuntimeReport
from callosum.models.runtime.unpadded import encode_unpadded, takes_unpadded
from callosum.models.text.bert import Bert, BertConfig
from callosum.models.text.pooling import Pool
from tests.unit.models.runtime.kernels import needs_kernels

LENGTHS = (1, 3, 3, 3, 7, 2, 11, 11)


def packed(precision: Precision) -> RuntimeReport:
    paths = {Op.LINEAR: Path.PACKED, Op.GELU: Path.FUSED, Op.ATTENTION: Path.BMM}
    reports = tuple(PathReport(op=op, path=path, ratio=1.0, error=0.0, why="told") for op, path in paths.items())
    return RuntimeReport(runtime=Runtime.TORCH, version="", precision=precision, paths=reports)


def bert(pool: Pool) -> Bert:
    torch.manual_seed(0)
    sizes = {"width": 48, "num_blocks": 4, "num_heads": 4, "hidden": 96, "max_positions": 20, "context_length": 12}
    tower = Bert(BertConfig(vocab_size=50, pool=pool, **sizes)).eval()
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return tower


def test_runs_of_one_length() -> None:
    segments = Segments(LENGTHS)
    assert segments.starts == (0, 1, 4, 7, 10, 17, 19, 30)
    assert segments.runs == ((0, 1, 1), (1, 3, 3), (10, 1, 7), (17, 1, 2), (19, 2, 11))


@needs_kernels
@pytest.mark.parametrize("pool", [pool for pool in Pool if pool is not Pool.MEDCLIP_UNMASKED])
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_each_text_is_as_if_it_were_alone(pool: Pool, precision: Precision) -> None:
    tower = bert(pool)
    texts = [torch.randint(0, 50, (length,)).tolist() for length in LENGTHS]
    with torch.inference_mode():
        alone = [tower(torch.tensor([text]), torch.ones(1, len(text), dtype=torch.bool)) for text in texts]
        fast = accelerate(copy.deepcopy(tower), precision=precision, probe=packed)
        found = encode_unpadded(fast, texts)
    expected = torch.cat(alone)
    assert found.shape == expected.shape
    bound = 1e-5 if precision is Precision.FP32 else 0.05
    assert float((found - expected).norm(dim=1).max() / expected.norm(dim=1).max()) <= bound


@needs_kernels
def test_towers_that_need_padding_say_so() -> None:
    tower = bert(Pool.CLS)
    assert not takes_unpadded(tower)
    with pytest.raises(UsageError, match="found another"):
        encode_unpadded(tower, [[1]])
    assert takes_unpadded(accelerate(tower, probe=packed))
    assert not takes_unpadded(accelerate(bert(Pool.MEDCLIP_UNMASKED), probe=packed))


@needs_kernels
@pytest.mark.parametrize(
    ("texts", "found"), [([], "found no text"), ([[1], []], "found 0 to 1 ids"), ([[1] * 21], "found 21 to 21 ids")]
)
def test_refusals(texts: list[list[int]], found: str) -> None:
    tower = accelerate(bert(Pool.CLS), probe=packed)
    with pytest.raises(InputError, match=found):
        encode_unpadded(tower, texts)
