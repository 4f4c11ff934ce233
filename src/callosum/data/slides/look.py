"""What would be read of a slide, for a person to look at; found out in a jail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from callosum.data.jail import Jail
from callosum.data.slides.drawing import slide_overview
from callosum.data.slides.plan import SlideConfig, SlidePlan, expand

if TYPE_CHECKING:
    from callosum.data.poison import PoisonList


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """A slide's plan, and the picture of it: uint8 `[H, W, 3]`, what is no tissue faded, each tile framed."""

    plan: SlidePlan
    picture: np.ndarray


def look(path: Path | str, *, config: SlideConfig | None = None) -> Look:
    """Look at a slide as indexing would.

    Raises:
        Refused: it is no slide, or not one that can be read.
        MissingDependency: only openslide reads it, and it is not installed.
    """
    jail = Jail("callosum.data.slides.look:answer_look", config or SlideConfig())
    try:
        found: Look = jail.call(str(Path(path).absolute()))
    finally:
        jail.stop()
    return found


def answer_look(config: SlideConfig, _: PoisonList) -> Callable[[str], Look]:
    """What a `Jail` asks for a slide; see `look`."""

    def answer(path: str) -> Look:
        plan = expand(path, config=config)
        return Look(plan=plan, picture=np.asarray(slide_overview(path, plan)))

    return answer
