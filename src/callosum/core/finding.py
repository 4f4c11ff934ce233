"""What a label or a sentence says of a concept: four values that are never merged."""

from __future__ import annotations

from enum import StrEnum


class Presence(StrEnum):
    """Whether a concept is there. To say nothing of it is not to say that it is absent."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    UNCERTAIN = "uncertain"
    UNMENTIONED = "unmentioned"
