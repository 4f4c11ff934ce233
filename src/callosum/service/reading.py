"""Files read here, one after the other, for commands that name a few of them; many are read by `service.workers`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from callosum.core.digest import digest_bytes
from callosum.core.errors import Refused
from callosum.core.record import Answer, Image
from callosum.core.result import Problem
from callosum.data.readers import read_bytes, read_file


def read_each(files: Iterable[Path], problems: list[Problem]) -> Iterator[tuple[str, Image]]:
    """Each file's name and picture; a file that is refused joins `problems`, and the next one has its turn."""
    for file in files:
        digest = ""
        try:
            data = read_file(file)
            digest = digest_bytes(data)
            yield str(file), read_bytes(data, digest=digest)
        except Refused as refused:
            problems.append(
                Problem(
                    source=str(file),
                    source_digest=digest,
                    answer=Answer(refused.answer),
                    code=refused.reason,
                    sentence=refused.sentence,
                )
            )
