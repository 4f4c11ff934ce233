"""Whether this torch has the private operators that packed modules call."""

import pytest
import torch

has_kernels = torch.backends.mkldnn.is_available() and all(
    hasattr(torch.ops.mkldnn, name)
    for name in ("_reorder_linear_weight", "_linear_pointwise", "_reorder_convolution_weight", "_convolution_pointwise")
)
needs_kernels = pytest.mark.skipif(not has_kernels, reason="this torch has no packed oneDNN operators")
