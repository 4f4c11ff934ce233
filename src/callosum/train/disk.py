"""A disk that is full, or a folder that refuses, said in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from callosum.core.errors import UsageError


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Say of what is written inside that it could not be.

    Args:
        what: Begins the sentence, such as "The log of the run".

    Raises:
        UsageError: the disk is full, or the folder refuses.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        message = f"{what} cannot be written."
        raise UsageError(
            message, hint="Make room on the disk, check the folder, and continue with --resume."
        ) from error
