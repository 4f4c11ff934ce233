"""Values as trees of plain ones, and back: what a jailed process sends, which must not be able to do anything.

Unpickling runs what a message names, and even arrays and dataclasses are enough to write into this process's memory.
So a message from a jail names nothing, and what it describes is built here, field by field: arrays of numbers and
text, and this package's own dataclasses, choices and errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np

from callosum.core.errors import CallosumError, Refused

_ATOMS = (str, int, float, bool, bytes, type(None))
_ARRAY_KINDS = frozenset("biufcSU")
_REFUSED = ("answer", "reason", "sentence", "attributes", "identifiers")


class NotData(OSError):
    """The other end sent something that is no value of this package."""


def to_plain(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value as atoms and lists, each list beginning with the kind of what it describes; bytes of arrays join a list.

    Raises:
        NotData: the value is of a kind that is not sent.
    """
    if type(value) in _ATOMS:
        return value
    for kind, (encode, _) in _KINDS.items():
        if (parts := encode(value, arrays)) is not None:
            return [kind, *parts]
    raise NotData


def from_plain(tree: Any, arrays: Sequence[bytearray]) -> Any:
    """The value that a tree describes.

    Raises:
        Exception: it describes none.
    """
    if type(tree) in _ATOMS:
        return tree
    if type(tree) is not list:
        raise NotData
    return _KINDS[tree[0]][1](tree[1:], arrays)


def _array_parts(value: Any, arrays: list[np.ndarray]) -> list[Any] | None:
    if not isinstance(value, (np.ndarray, np.generic)):
        return None
    if value.dtype.kind not in _ARRAY_KINDS:
        raise NotData
    order: Literal["C", "F"] = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    flat = np.array(value, order=order, copy=None).ravel(order)
    arrays.append(flat.view(np.uint8) if flat.nbytes else np.empty(0, np.uint8))
    return [isinstance(value, np.generic), value.dtype.str, list(value.shape), order, len(arrays) - 1]


def _array(parts: list[Any], arrays: Sequence[bytearray]) -> Any:
    is_scalar, kind, shape, order, number = parts
    dtype = np.dtype(str(kind))
    if dtype.kind not in _ARRAY_KINDS:
        raise NotData
    array: Any = np.ndarray(tuple(shape), dtype, buffer=arrays[number] or None, order=order)
    if array.nbytes != len(arrays[number]):
        raise NotData
    return array[()] if is_scalar else array


def _data_parts(value: Any, arrays: list[np.ndarray]) -> list[Any] | None:
    if not is_dataclass(value) or isinstance(value, type):
        return None
    values = {field.name: getattr(value, field.name) for field in fields(value)}
    return [*_name(value), *_all((*values, *values.values()), arrays)]


def _data(parts: list[Any], arrays: Sequence[bytearray]) -> Any:
    found, values = _found(*parts[:2]), _known(parts[2:], arrays)
    names = [field.name for field in fields(found)]
    if values[: len(names)] != names or len(values) != 2 * len(names):
        raise NotData
    made = object.__new__(found)
    for name, value in zip(names, values[len(names) :], strict=True):
        object.__setattr__(made, name, value)
    return made


def _error_parts(value: Any, arrays: list[np.ndarray]) -> list[Any] | None:
    if isinstance(value, Refused):
        return [*_name(value), *_all((getattr(value, part) for part in _REFUSED), arrays)]
    return [*_name(value), str(value), value.hint] if isinstance(value, CallosumError) else None


def _error(parts: list[Any], arrays: Sequence[bytearray]) -> CallosumError:
    found, values = _found(*parts[:2]), _known(parts[2:], arrays)
    if issubclass(found, Refused):
        return Refused(*values[:3], attributes=values[3], identifiers=values[4])
    if not issubclass(found, CallosumError):
        raise NotData
    made: CallosumError = found(str(values[0]))
    made.hint = str(values[1])
    return made


def _choice(parts: list[Any], arrays: Sequence[bytearray]) -> Enum:
    found = _found(*parts[:2])
    if not issubclass(found, Enum):
        raise NotData
    return found(from_plain(parts[2], arrays))


def _name(value: Any) -> tuple[str, str]:
    return type(value).__module__, type(value).__qualname__


def _found(module: str, name: str) -> type[Any]:
    """A class of this package."""
    if module.partition(".")[0] != "callosum":
        raise NotData
    found = getattr(import_module(module), name)
    if not isinstance(found, type) or found.__module__ != module:
        raise NotData
    return found


def _all(values: Iterable[Any], arrays: list[np.ndarray]) -> list[Any]:
    return [to_plain(value, arrays) for value in values]


def _known(values: Iterable[Any], arrays: Sequence[bytearray]) -> list[Any]:
    return [from_plain(value, arrays) for value in values]


_KINDS: dict[
    str, tuple[Callable[[Any, list[np.ndarray]], list[Any] | None], Callable[[list[Any], Sequence[bytearray]], Any]]
] = {
    "choice": (lambda v, a: [*_name(v), to_plain(v.value, a)] if isinstance(v, Enum) else None, _choice),
    "data": (_data_parts, _data),
    "tuple": (lambda v, a: _all(v, a) if type(v) is tuple else None, lambda p, a: tuple(_known(p, a))),
    "dict": (
        lambda v, a: _all((*v, *v.values()), a) if isinstance(v, Mapping) else None,
        lambda p, a: dict(zip(_known(p[: len(p) // 2], a), _known(p[len(p) // 2 :], a), strict=True)),
    ),
    "array": (_array_parts, _array),
    "list": (lambda v, a: _all(v, a) if type(v) is list else None, _known),
    "set": (lambda v, a: _all(v, a) if type(v) is frozenset else None, lambda p, a: frozenset(_known(p, a))),
    "path": (lambda v, _: [str(v)] if isinstance(v, PurePath) else None, lambda p, _: Path(*p)),
    "time": (
        lambda v, _: [v.isoformat()] if isinstance(v, datetime) else None,
        lambda p, _: datetime.fromisoformat(*p),
    ),
    "date": (lambda v, _: [v.isoformat()] if isinstance(v, date) else None, lambda p, _: date.fromisoformat(*p)),
    "error": (_error_parts, _error),
}
"""Every kind of value: how it is taken apart, in the order asked, and how it is built."""
