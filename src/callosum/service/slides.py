"""A slide is one file and many batches of tiles: what became of each batch, until the slide can be answered for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from callosum.archive.entry import Stored
from callosum.core.record import Answer, Flag
from callosum.data.slides.plan import MAX_LOST
from callosum.service.outcome import Expanded, Unreadable


@dataclass(kw_only=True)
class _Open:
    """A slide of which not every batch is done, and files with the same content that were met meanwhile."""

    slide: Expanded
    num_left: int
    num_new: int = 0
    num_same: int = 0
    num_lost: int = 0
    flags: list[Flag] = field(default_factory=list)
    copies: list[Expanded] = field(default_factory=list)
    conflict: Stored | None = None


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A slide of which every batch is done.

    Attributes:
        slide: As it was expanded.
        num_new: Tiles that are new in the archive.
        num_same: Tiles that were there.
        flags: Doubts about it, tiles that were lost among them.
        refused: The answer when no tile at all could be read; None otherwise.
        copies: Files with the same content, which were read beside it.
        conflict: What some of its tiles contradicted, which kept them out.
    """

    slide: Expanded
    num_new: int
    num_same: int
    flags: tuple[Flag, ...]
    refused: Unreadable | None
    copies: tuple[Expanded, ...] = ()
    conflict: Stored | None = None


class Slides:
    """The slides of a run."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}

    def begin(self, slide: Expanded) -> None:
        """A slide's batches are going to come; those of a copy of it cannot be told from its own."""
        now = self._open.get(slide.source_digest)
        if now is None:
            self._open[slide.source_digest] = _Open(slide=slide, num_left=len(slide.parts), flags=list(slide.flags))
        else:
            now.copies.append(slide)
            now.num_left += len(slide.parts)

    def done(
        self,
        slide: str,
        *,
        num_new: int = 0,
        num_same: int = 0,
        num_lost: int = 0,
        flags: Iterable[Flag] = (),
        conflict: Stored | None = None,
    ) -> Finished | None:
        """One batch is done; the slide when it was the last one."""
        now = self._open[slide]
        now.num_left -= 1
        now.num_new += num_new
        now.num_same += num_same
        now.num_lost += num_lost
        now.flags += flags
        now.conflict = now.conflict or conflict
        if now.num_left:
            return None
        del self._open[slide]
        return _finished(now)


def _finished(now: _Open) -> Finished:
    flags = list(now.flags)
    num_tiles = now.num_new + now.num_same + now.num_lost
    num_files = 1 + len(now.copies)
    if now.num_lost:
        share = now.num_lost / num_tiles
        doubt = "; it is not well covered" if share > MAX_LOST else ""
        sentence = f"{now.num_lost // num_files} of {num_tiles // num_files} tiles could not be read{doubt}."
        flags.append(Flag(code="TILES_LOST", sentence=sentence))
    refused = None
    if num_tiles == now.num_lost:
        refused = Unreadable(
            source=now.slide.source,
            source_digest=now.slide.source_digest,
            answer=Answer.QUARANTINE,
            code="CORRUPT",
            sentence="No tile of this slide could be read.",
            attributes={},
        )
    return Finished(
        slide=now.slide,
        num_new=now.num_new,
        num_same=now.num_same,
        flags=tuple(flags),
        refused=refused,
        copies=tuple(now.copies),
        conflict=now.conflict,
    )
