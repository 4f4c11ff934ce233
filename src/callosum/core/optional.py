"""The one way to import a dependency that may be absent."""

from __future__ import annotations

import importlib
from types import ModuleType

from callosum.core.errors import MissingDependency


def import_optional(module: str, *, extra: str, feature: str) -> ModuleType:
    """Import `module`, or say which extra brings it.

    Raises:
        MissingDependency: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        message = f"{feature} needs the package {module.split('.')[0]!r}, which is not installed."
        raise MissingDependency(message, hint=f"Install it with: pip install 'callosum[{extra}]'.") from error
