"""One figure: its name, value, target and whether it is met; printed as a table or as JSON lines."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured number beside what it should be."""

    name: str
    value: float
    target: float | None = None
    is_at_least: bool = True
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.value >= self.target if self.is_at_least else self.value <= self.target

    def to_json(self) -> dict[str, object]:
        """The JSON object."""
        return {**asdict(self), "met": self.met}


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer files and repetitions")
    parser.add_argument("--json", action="store_true", help="one JSON object per figure")
    return parser


def show(figures: Iterable[Figure], *, form: Literal["json", "table"]) -> None:
    """Print the figures."""
    for figure in figures:
        if form == "json":
            print(json.dumps(figure.to_json()))
            continue
        sign = "" if figure.target is None else f"  (target {'>=' if figure.is_at_least else '<='} {figure.target:g})"
        mark = {None: "   ", True: "met", False: "NOT"}[figure.met]
        print(f"{mark}  {figure.name:<48} {figure.value:10.4g} {figure.unit:<9}{sign}")


def save(name: str, figures: Iterable[Figure]) -> None:
    """Write the figures with the machine's description beside this script: `benchmarks/results/NAME.json`."""
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    value = {"machine": machine(), "figures": [figure.to_json() for figure in figures]}
    path.write_text(json.dumps(value, indent=1) + "\n")
