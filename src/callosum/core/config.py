"""Settings: a frozen, keyword-only dataclass above its owner, read from a mapping that may hold nothing else.

A misspelt key must not pass: `config_from` names the nearest one it knows.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from callosum.core.errors import UsageError

T = TypeVar("T")


def config_from(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build the dataclass `cls` from `values`.

    Raises:
        UsageError: a key that `cls` does not have, or one that it needs and is not there.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(sorted(fields))}."
            message = f"{cls.__name__} has no setting {key!r}."
            raise UsageError(message, hint=hint)
    needed = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    if missing := sorted(needed - set(values)):
        message = f"{cls.__name__} needs {', '.join(missing)}."
        raise UsageError(message)
    return cls(**values)
