"""What the jail is asked: read whatever these bytes are, show it, and say how it ended."""

import resource
from collections.abc import Callable

from callosum.core.digest import digest_bytes
from callosum.core.errors import Refused
from callosum.data.poison import PoisonList
from callosum.data.readers import read_pictures

NUM_PICTURES = 3
Ending = tuple[str, int, int]
"""Answer and code, number of pictures, and the most memory that the process has had, in KiB."""


def answer_bytes(_: None, poison: PoisonList) -> Callable[[bytes], Ending]:
    """What a `Jail` asks for each file."""
    return _read


def _read(data: bytes) -> Ending:
    num_pictures, ending = 0, "ACCEPT"
    try:
        for image in read_pictures(data, limit=NUM_PICTURES, digest=digest_bytes(data)):
            shown = image.display()
            assert shown.dtype == "uint8"
            assert shown.shape[:2] == image.pixels.shape[:2]
            assert all(flag.sentence.endswith(".") for flag in image.flags)
            num_pictures += 1
        assert num_pictures
    except Refused as refused:
        assert refused.sentence.endswith(".")
        ending = f"{refused.answer} {refused.reason}"
    return ending, num_pictures, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
