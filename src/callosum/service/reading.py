"""A few files read one after the other, for commands that name them; many are read by `service.workers`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from callosum.core.errors import Refused
from callosum.core.record import Answer, Image
from callosum.core.result import Problem
from callosum.data.read import digest_of, read


def read_each(files: Iterable[Path], problems: list[Problem]) -> Iterator[tuple[str, Image]]:
    """Each file's name and picture; a file that is refused joins `problems`, and the next one has its turn."""
    for file in files:
        try:
            image = read(file)
        except Refused as refused:
            problems.append(
                Problem(
                    source=str(file),
                    source_digest=digest_of(file),
                    answer=Answer(refused.answer),
                    code=refused.reason,
                    sentence=refused.sentence,
                )
            )
        else:
            yield str(file), image
