"""Networks without values, to be filled with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_RANDOM = frozenset({"uniform_", "normal_"})


class _NoStart(TorchFunctionMode):
    """Leaves out the starting values: on the meta device torch takes a second to load what it decomposes them with."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or getattr(func, "__name__", "") in _RANDOM:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def without_values() -> Iterator[None]:
    """Networks built inside have shapes and no values; load weights with `assign=True`."""
    with torch.device("meta"), _NoStart():
        yield
