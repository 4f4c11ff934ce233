"""One way to ask a DICOM header: a value, or None when it is missing or cannot be read.

pydicom converts an element when it is first touched, and a damaged one raises then; a header question must not.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag, Tag

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


PIXEL_NUMBERS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
)
"""The whole numbers that say how pixels lie in a file."""

_IDENTIFIERS = {
    "patient_id": "PatientID",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "instance_uid": "SOPInstanceUID",
    "accession": "AccessionNumber",
}


@cache
def _tag(keyword: str) -> BaseTag:
    """Tag of a keyword. Asking by tag is some ten times faster than by keyword, most of all for what is missing."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise KeyError(keyword)
    return Tag(number)


def raw_value(dataset: Dataset, keyword: str) -> Any:
    """The value as pydicom gives it; None when missing, empty or unreadable."""
    tag = _tag(keyword)
    if tag not in dataset.keys():
        return None
    try:
        value = dataset[tag].value
    except RecursionError:
        raise
    except Exception:
        return None
    return None if value is None or (isinstance(value, (str, bytes)) and not value) else value


def first_value(dataset: Dataset, keyword: str) -> Any:
    """The first of several values."""
    value = raw_value(dataset, keyword)
    if hasattr(value, "append"):
        return value[0] if len(value) else None
    return value


def as_int(dataset: Dataset, keyword: str) -> int | None:
    """A whole number."""
    value = first_value(dataset, keyword)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def as_float(dataset: Dataset, keyword: str) -> float | None:
    """A finite number."""
    value = first_value(dataset, keyword)
    try:
        number = math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_floats(dataset: Dataset, keyword: str) -> list[float]:
    """All numbers of an element; empty when one of them is not a finite number."""
    value = raw_value(dataset, keyword)
    try:
        numbers = [float(one) for one in (value if hasattr(value, "append") else [value])]
    except (TypeError, ValueError, OverflowError):
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


def as_text(dataset: Dataset, keyword: str) -> str:
    """Text without surrounding space; empty when missing."""
    value = first_value(dataset, keyword)
    return "" if value is None else str(value).strip(" \0")


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; empty when missing or not a sequence."""
    value = raw_value(dataset, keyword)
    return [item for item in value if hasattr(item, "get_item")] if hasattr(value, "append") else []


def identifiers_of(dataset: Dataset) -> dict[str, str]:
    """The identifiers that the header states, by their names in records."""
    return {name: text for name, keyword in _IDENTIFIERS.items() if (text := as_text(dataset, keyword))}


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from validating, warning and logging: its messages quote values, which may be names."""
    logger, settings = logging.getLogger("pydicom"), config.settings
    propagate, mode = logger.propagate, settings.reading_validation_mode
    logger.propagate, settings.reading_validation_mode = False, config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.propagate, settings.reading_validation_mode = propagate, mode
