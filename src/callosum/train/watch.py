"""What is seen of a run while it goes on: a log of JSON lines, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from callosum.core.errors import MissingDependency
from callosum.train.disk import writing

Event = Mapping[str, Any]
SCHEMA = "callosum.train-log/1"


class Log:
    """Appends events to `log.jsonl`; after an interruption it ends where the state does.

    Args:
        folder: Where the log is kept.
        step: Events of later steps are taken out: they will come again.
        is_writing: Whether this process writes; of several only the first does.
        has_tensorboard: Write event files for TensorBoard beside it.
        tell: Is told every event.

    Raises:
        MissingDependency: TensorBoard is asked for and not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        step: int,
        is_writing: bool = True,
        has_tensorboard: bool = False,
        tell: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self.path = folder / "log.jsonl"
        self._tell = tell
        self.is_writing = is_writing
        self._board = _board(folder / "tensorboard", step) if has_tensorboard and is_writing else None
        if not is_writing:
            return
        kept = [line for line in self._lines() if json.loads(line)["step"] <= step]
        with writing("The log of the run"):
            self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, kind: str, step: int, values: Event) -> None:
        """Add one event; numbers that are none are written as null."""
        if not self.is_writing:
            return
        event = {"schema": SCHEMA, "kind": kind, "step": step, **{k: _plain(v) for k, v in values.items()}}
        with writing("The log of the run"), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, ensure_ascii=False) + "\n")
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(f"{kind}/{name}", value, step)
        self._tell(event)

    def _lines(self) -> list[str]:
        """Whole lines only: the last one may have been cut off by a kill."""
        if not self.path.is_file():
            return []
        return self.path.read_text(encoding="utf-8").split("\n")[:-1]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        message = "TensorBoard is not installed."
        raise MissingDependency(message, hint="Run: pip install 'callosum[tensorboard]', or leave it out.") from error
    return SummaryWriter(str(folder), purge_step=step + 1)
