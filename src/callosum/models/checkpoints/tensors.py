"""Weights out of files that may hold code: tensors are taken, nothing is ever run.

`torch.save` writes a pickle. It is read by torch's weights-only reader, which builds tensors and plain containers and
refuses the rest; settings of training frameworks that lie beside the weights (OmegaConf's in a Lightning file) are
taken as inert values and dropped. A file that names anything else is refused with what it names.

A zip, torch's own included, holds a check sum of every member: a byte that differs is found, in weights too.
"""

from __future__ import annotations

import errno
import json
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from callosum.core.errors import InputError, NotFound

MAX_ZIP_BYTES = 1 << 34
INERT_ROOTS = frozenset(
    {"omegaconf", "pytorch_lightning", "lightning", "lightning_fabric", "argparse", "typing", "pathlib"}
)
"""Packages whose objects may lie beside the weights: they are replaced by empty ones, unread."""
INERT_NAMES = frozenset(
    {
        "collections.defaultdict",
        "numpy.dtype",
        "numpy.ndarray",
        *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str", "tuple")),
        *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    }
)
"""Plain types that such settings name, and numpy's scalars and arrays, the best score so far: replaced likewise."""
MAPPINGS = ("defaultdict", "AttributeDict")
NESTED = ("state_dict", "model_state_dict", "model")
"""Where training programs put the weights inside what they save."""


class Inert:
    """Stands for an object of a training framework: takes what it is given and does nothing."""

    def __new__(cls, *_: object, **__: object) -> Inert:
        """Ignore the arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


class InertItems:
    """Stands for a mapping of such a framework: a dict, since the reader lays items into nothing else."""

    def __new__(cls, *_: object, **__: object) -> dict[object, object]:  # type: ignore[misc]
        """Ignore the arguments."""
        return {}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Weights by name, from `.safetensors`, `.bin`, `.pt`, `.pth` or `.ckpt`.

    Raises:
        NotFound: there is no such file.
        InputError: the file is damaged, holds code, or holds no weights.
    """
    if not path.is_file():
        message = "There is no file of weights at the place given."
        raise NotFound(message)
    with path.open("rb") as stream:
        head = stream.read(16)
    if _is_safetensors(head, path.stat().st_size):
        try:
            return _without_prefix(load_file(path))
        except (SafetensorError, ValueError, KeyError) as error:
            message = "The safetensors file is damaged or cut short."
            raise InputError(message, hint="Fetch it again.") from error
    return _flat(_read_pickle(path))


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder of a model: `path` itself, or what a zip holds, below a temporary folder that is removed afterwards.

    Raises:
        InputError: the zip is damaged, too large, or names files outside itself.
    """
    if path.is_dir() or not _is_plain_zip(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        with _opened(path) as bundle:
            members = [info for info in bundle.infolist() if not info.is_dir()]
            if sum(info.file_size for info in members) > MAX_ZIP_BYTES:
                message = f"The zip holds more than {MAX_ZIP_BYTES >> 30} GiB."
                raise InputError(message)
            for info in members:
                if Path(info.filename).is_absolute() or ".." in Path(info.filename).parts:
                    message = "The zip names a file outside itself."
                    raise InputError(message)
                bundle.extract(info, folder)
        inner = Path(folder)
        while len(entries := [e for e in inner.iterdir() if e.name != "__MACOSX"]) == 1 and entries[0].is_dir():
            inner = entries[0]
        yield inner


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip.

    Raises:
        InputError: it is damaged, or what is in it.
    """
    try:
        with zipfile.ZipFile(path) as bundle:
            yield bundle
    except InputError:
        raise
    except Exception as error:  # the library raises what its decompressors raise
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            message = "There is no room to unpack the zip."
            raise InputError(message, hint="Free some, or name another folder with TMPDIR.") from error
        message = "The zip is damaged or cut short."
        raise InputError(message, hint="Fetch it again.") from error


def _is_plain_zip(path: Path) -> bool:
    """A zip that torch did not write: torch's own hold a pickle of the tensors."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with _opened(path) as bundle:
        return not any(name.endswith("/data.pkl") for name in bundle.namelist())


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < size


def _read_pickle(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with _opened(path) as bundle:
            if any(name.endswith("/constants.pkl") for name in bundle.namelist()):
                message = "The file is a TorchScript archive, which holds code."
                raise InputError(message, hint="Save the weights alone: torch.save(model.state_dict(), FILE).")
            if bundle.testzip() is not None:
                message = "The file of weights is damaged: the check sum of a part of it is another."
                raise InputError(message, hint="Fetch it again, or convert it to safetensors where it was made.")
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path) if zipfile.is_zipfile(path) else []
        strange = [name for name in foreign if name.split(".")[0] not in INERT_ROOTS and name not in INERT_NAMES]
        if not strange:
            stand_ins: list[Any] = [(InertItems if name.endswith(MAPPINGS) else Inert, name) for name in foreign]
            with torch.serialization.safe_globals(stand_ins):
                return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch raises whatever the damage led to
        message = "The file of weights is damaged, cut short, or holds something other than tensors."
        raise InputError(message, hint="Fetch it again, or convert it to safetensors where it was made.") from error
    message = f"The file of weights names code ({', '.join(sorted(strange)[:5])}), which is never run."
    raise InputError(message, hint="Convert it to safetensors where it was made.")


def _flat(value: Any) -> dict[str, Tensor]:
    """The weights in what a training program saved."""
    for key in NESTED:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    tensors = {str(k): v for k, v in value.items() if isinstance(v, Tensor)} if isinstance(value, Mapping) else {}
    if not tensors:
        message = "The file holds no weights by name."
        raise InputError(message, hint="Give the file that torch.save(model.state_dict(), FILE) wrote.")
    return _without_prefix(tensors)


def _without_prefix(tensors: dict[str, Tensor], prefix: str = "module.") -> dict[str, Tensor]:
    """The weights without what data-parallel training puts before every name."""
    if not all(name.startswith(prefix) for name in tensors):
        return tensors
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items()}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: the file is not one.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path.name} is not JSON."
        raise InputError(message) from error
    if not isinstance(value, dict):
        message = f"{path.name} must hold one JSON object."
        raise InputError(message)
    return value
