"""Settings: a frozen, keyword-only dataclass above its owner, read from a mapping that may hold nothing else.

A misspelt key must not pass: `config_from` names the nearest one it knows.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar, get_origin, get_type_hints

from callosum.core.errors import UsageError

T = TypeVar("T")


def config_from(cls: type[T], values: Mapping[str, Any]) -> T:
    """Build the dataclass `cls` from `values`.

    A `StrEnum` may be given as its text and a tuple as a list, as they are in JSON.

    Raises:
        UsageError: a key that `cls` does not have, one that it needs and is not there, or a choice that is none.
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
    hints = get_type_hints(cls)
    return cls(**{name: _fitting(hints[name], value, name=name) for name, value in values.items()})


def _fitting(hint: Any, value: Any, *, name: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in list(hint):
            message = f"{name} is one of {', '.join(hint)}; found {value!r}."
            raise UsageError(message)
        return hint(value)
    return tuple(value) if get_origin(hint) is tuple and isinstance(value, list) else value
