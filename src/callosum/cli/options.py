"""Shared options, each with one spelling."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from callosum.data.slides import SlideConfig

F = TypeVar("F", bound=Callable[..., Any])
STAINS = ("none", "macenko", "reinhard")
PRECISIONS, RUNTIMES = ("fp32", "bf16", "int8"), ("auto", "torch", "openvino")

ARCHIVE = click.argument("archive", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Write JSON lines instead of a table.")
MODEL = click.option("--model", metavar="NAME", help="Checkpoint, as `callosum model list` names it.")
FILE = click.Path(path_type=Path)


def COMPUTING(function: F) -> F:
    """Options of what computes; the command gets them together, as `computing`, for `load_encoder`."""

    @wraps(function)
    def collected(*args: Any, precision: str, runtime: str, device: str, calibration: Path | None, **rest: Any) -> Any:
        computing = {"precision": precision, "runtime": runtime, "device": device, "calibration": calibration}
        return function(*args, computing=computing, **rest)

    options = (
        click.option(
            "--precision", type=click.Choice(PRECISIONS), default="fp32", help="Number format; fp32 by default."
        ),
        click.option("--runtime", type=click.Choice(RUNTIMES), default="auto", help="What multiplies."),
        click.option("--device", default="auto", metavar="NAME", help="auto, cpu, or a GPU such as cuda."),
        click.option(
            "--calibration", type=FILE, metavar="FOLDER", help="Pictures that int8 is set up and measured on."
        ),
    )
    for option in options:
        collected = option(collected)
    return cast("F", collected)


WINDOW = click.option(
    "--window", default="", metavar="NAME", help="lung, mediastinum, bone, brain, CENTER/WIDTH, or three joined by +."
)


def SLIDES(function: F) -> F:
    """Options of how slides are cut into tiles; the command gets them together, as `slides`."""

    @wraps(function)
    def collected(*args: Any, mpp: float, tiles: int, stain: str, **rest: Any) -> Any:
        from callosum.data.slides import SlideConfig, Stain

        return function(*args, slides=SlideConfig(mpp=mpp, max_tiles=tiles, stain=Stain(stain)), **rest)

    options = (
        click.option("--mpp", type=float, default=0.5, help="Micrometres per pixel of a slide's tiles; 0.5."),
        click.option("--tiles", type=click.IntRange(1), default=1024, help="Most tiles kept of one slide; 1024."),
        click.option("--stain", type=click.Choice(STAINS), default="none", help="Stain normalisation of slides."),
    )
    for option in reversed(options):
        collected = option(collected)
    return cast("F", collected)


def READING(function: F) -> F:
    """Options of what is taken from a file; the command gets them together, as `reading`."""

    @SLIDES
    @wraps(function)
    def collected(*args: Any, frames: int, window: str, slides: SlideConfig, **rest: Any) -> Any:
        from callosum.core.windowing import resolve_windowing
        from callosum.service.outcome import ReadingConfig

        windowing = resolve_windowing(window or "file")
        return function(*args, reading=ReadingConfig(max_pictures=frames, windowing=windowing, slides=slides), **rest)

    frames = click.option(
        "--frames", type=click.IntRange(1, 1024), default=8, help="Frames or slices kept of one file; 8."
    )
    return cast("F", WINDOW(frames(collected)))
