"""What a run was: data, code, choices, seeds and machine in, digests of the checkpoint out."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from callosum.core.digest import digest_bytes, digest_file
from callosum.train.disk import writing

SCHEMA = "callosum.trace/1"
TRACE = "trace.json"


@cache
def code_digest() -> str:
    """SHA-256 over the package's own source files."""
    root = Path(__file__).parents[1]
    lines = [f"{path.relative_to(root).as_posix()} {digest_file(path)}" for path in sorted(root.rglob("*.py"))]
    return digest_bytes("\n".join(lines).encode())


def code() -> dict[str, str]:
    """Versions of what computed."""
    return {
        "callosum": version("callosum"),
        "source": code_digest(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def hardware() -> dict[str, Any]:
    """What it ran on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "system": platform.system(),
        "machine": platform.machine(),
    }


def write_trace(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the trace of a run."""
    value = {"schema": SCHEMA, "what": "train", "code": code(), "hardware": hardware(), **values}
    draft = folder / f"{TRACE}.part"
    with writing("The trace of the run"):
        draft.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(folder / TRACE)
