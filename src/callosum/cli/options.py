"""Shared options, each with one spelling."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

F = TypeVar("F", bound=Callable[..., Any])
PRECISIONS, RUNTIMES = ("fp32", "bf16", "int8"), ("auto", "torch", "openvino")

ARCHIVE = click.argument("archive", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON lines instead of a table.")
MODEL = click.option("--model", metavar="NAME", help="Checkpoint, as `callosum model list` names it.")
FILE = click.Path(path_type=Path)


def COMPUTING(function: F) -> F:
    """Options of what computes; the command gets them together, as `computing`, for `load_encoder`."""

    @wraps(function)
    def collected(*args: Any, precision: str, runtime: str, device: str, **rest: Any) -> Any:
        return function(*args, computing={"precision": precision, "runtime": runtime, "device": device}, **rest)

    options = (
        click.option(
            "--precision", type=click.Choice(PRECISIONS), default="fp32", help="Number format; fp32 by default."
        ),
        click.option("--runtime", type=click.Choice(RUNTIMES), default="auto", help="What multiplies."),
        click.option("--device", default="auto", metavar="NAME", help="auto, cpu, or a GPU such as cuda."),
    )
    for option in options:
        collected = option(collected)
    return cast("F", collected)
