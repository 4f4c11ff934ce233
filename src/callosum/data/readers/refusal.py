"""The three ways to refuse, the size limits, and the guard around foreign decoders.

Sentences never quote the file: a value in a damaged header may be a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from callosum.core.errors import CallosumError, Refused
from callosum.core.record import Answer

MAX_FILE_BYTES = 2 << 30
"""Larger files are refused before they are read."""

MAX_SAMPLES = 1 << 28
"""Rows x columns x samples of one frame; more is refused before anything is allocated."""

MAX_INFLATED_BYTES = 64 << 20
"""What a deflated data set may always grow to; larger ones must not grow out of all proportion."""


class Reason(StrEnum):
    """Why a file is refused: the machine codes, as they are written to `callosum.problem/1`."""

    ARCHIVE_UNSAFE = "ARCHIVE_UNSAFE"
    ARCHIVE_UNSUPPORTED = "ARCHIVE_UNSUPPORTED"
    BITS_INVALID = "BITS_INVALID"
    BITS_UNSUPPORTED = "BITS_UNSUPPORTED"
    CHANNELS_UNSUPPORTED = "CHANNELS_UNSUPPORTED"
    CODESTREAM_INVALID = "CODESTREAM_INVALID"
    CORRUPT = "CORRUPT"
    DECODER_CRASHED = "DECODER_CRASHED"
    DECOMPRESSION_LIMIT = "DECOMPRESSION_LIMIT"
    DIM_MISMATCH = "DIM_MISMATCH"
    DIM_ZERO = "DIM_ZERO"
    DICOM_DIRECTORY = "DICOM_DIRECTORY"
    EMPTY = "EMPTY"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    FORMAT_UNSUPPORTED = "FORMAT_UNSUPPORTED"
    HEADER_INVALID = "HEADER_INVALID"
    LABEL_IMAGE = "LABEL_IMAGE"
    LENGTH_OVERRUN = "LENGTH_OVERRUN"
    MIXED_GEOMETRY = "MIXED_GEOMETRY"
    NESTING_LIMIT = "NESTING_LIMIT"
    NON_FINITE = "NON_FINITE"
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    NOT_AN_IMAGE_OBJECT = "NOT_AN_IMAGE_OBJECT"
    NO_GEOMETRY = "NO_GEOMETRY"
    NOT_A_REPORT = "NOT_A_REPORT"
    NOT_TEXT = "NOT_TEXT"
    NO_META = "NO_META"
    NO_PIXELS = "NO_PIXELS"
    NO_PYRAMID = "NO_PYRAMID"
    NO_REPORT_TEXT = "NO_REPORT_TEXT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    PALETTE_MISSING = "PALETTE_MISSING"
    PHOTOMETRIC_INVALID = "PHOTOMETRIC_INVALID"
    PIXELS_INVALID = "PIXELS_INVALID"
    READER_MISSING = "READER_MISSING"
    SLIDE_LEVEL = "SLIDE_LEVEL"
    REPORT_UNLINKED = "REPORT_UNLINKED"
    TIMEOUT = "TIMEOUT"
    TOO_MANY_ELEMENTS = "TOO_MANY_ELEMENTS"
    TOO_MANY_PIXELS = "TOO_MANY_PIXELS"
    TRUNCATED = "TRUNCATED"
    TRUNCATED_HEADER = "TRUNCATED_HEADER"
    TS_UNSUPPORTED = "TS_UNSUPPORTED"
    UNEXPECTED_ERROR = "UNEXPECTED_ERROR"
    UNREADABLE = "UNREADABLE"
    XML_UNSAFE = "XML_UNSAFE"


def reject(reason: Reason, sentence: str) -> Refused:
    """Not kept: the bytes are not an image, or dangerous, or damaged beyond use."""
    return Refused(Answer.REJECT, reason.value, sentence)


def quarantine(reason: Reason, sentence: str) -> Refused:
    """Kept aside for a person: an image was meant, and it might be mended."""
    return Refused(Answer.QUARANTINE, reason.value, sentence)


def metadata_only(reason: Reason, sentence: str) -> Refused:
    """Searchable by its header; there is no picture to embed."""
    return Refused(Answer.METADATA_ONLY, reason.value, sentence)


def unreadable() -> Refused:
    """The file, folder or archive member cannot be opened."""
    return reject(Reason.UNREADABLE, "It is missing, not a regular file, or may not be opened.")


def check_samples(num_samples: int) -> None:
    """Refuse a frame that is too large to hold.

    Raises:
        Refused: `TOO_MANY_PIXELS`.
    """
    if num_samples > MAX_SAMPLES:
        raise reject(Reason.TOO_MANY_PIXELS, f"The frame announces {num_samples} samples; the limit is {MAX_SAMPLES}.")


@contextmanager
def guard(otherwise: Refused) -> Iterator[None]:
    """Turn whatever a foreign library raises into an answer.

    Rust plugins panic with a `BaseException`; only the ways to stop the program pass.

    Args:
        otherwise: The answer for an error that says nothing more.

    Raises:
        Refused: the block failed.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, CallosumError):
        raise
    except MemoryError as error:
        raise reject(Reason.OUT_OF_MEMORY, "Reading it needs more memory than there is.") from error
    except RecursionError as error:
        raise reject(Reason.NESTING_LIMIT, "Its sequences are nested deeper than any real file's.") from error
    except BaseException as error:
        raise otherwise from error
