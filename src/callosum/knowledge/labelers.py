"""Where a labeller that is a model is plugged in: text in, labels of a scheme out.

A labeller of this package reads findings (`FindingLabeler`). One that is a network, such as CheXbert, is wrapped by
the person who has it: `CodedLabeler` maps its numbers to presences by the names of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from callosum.core.errors import InputError
from callosum.core.finding import Finding, Presence
from callosum.knowledge.labels import Aggregation, label
from callosum.knowledge.schemes import scheme_of

CHEXBERT_CODES: Mapping[int, Presence] = MappingProxyType(
    {0: Presence.UNMENTIONED, 1: Presence.PRESENT, 2: Presence.ABSENT, 3: Presence.UNCERTAIN}
)
"""CheXbert's four outputs of each class (Smit et al. 2020)."""


@runtime_checkable
class Labeler(Protocol):
    """Text in, the label of every class of one scheme out."""

    @property
    def scheme(self) -> str:
        """The name of its scheme."""
        ...

    def __call__(self, text: str) -> dict[str, Presence]:
        """The labels of a report or a sentence, by the names of the classes."""
        ...


@dataclass(frozen=True, kw_only=True)
class FindingLabeler:
    """Labels from findings.

    Attributes:
        extract: Text to findings.
        scheme: Name of the scheme.
        aggregation: Which of several presences of one class counts.
    """

    extract: Callable[[str], Iterable[Finding]] = field(repr=False)
    scheme: str = "chexpert14"
    aggregation: Aggregation = Aggregation.STRONGEST

    def __call__(self, text: str) -> dict[str, Presence]:
        """The labels of a text.

        Raises:
            NotFound: No scheme of that name.
        """
        return label(self.extract(text), self.scheme, aggregation=self.aggregation)


@dataclass(frozen=True, kw_only=True)
class CodedLabeler:
    """Labels from a model that gives one number for each class.

    Attributes:
        predict: Text to one number for each class.
        classes: What the numbers are of, in the model's own order.
        scheme: Name of the scheme that the classes are of.
        codes: What each number means.
    """

    predict: Callable[[str], Sequence[int]] = field(repr=False)
    classes: tuple[str, ...]
    scheme: str = "chexpert14"
    codes: Mapping[int, Presence] = field(default_factory=lambda: CHEXBERT_CODES, repr=False)

    def __post_init__(self) -> None:
        wanted = scheme_of(self.scheme).classes
        if sorted(self.classes) != sorted(wanted):
            message = f"The classes of {self.scheme} were expected in any order; found others."
            raise InputError(message, hint=f"They are {', '.join(wanted)}.")

    def __call__(self, text: str) -> dict[str, Presence]:
        """The labels of a text, in the order of the scheme.

        Raises:
            InputError: The model gave too few or too many numbers, or one that means nothing.
        """
        numbers = [int(number) for number in self.predict(text)]
        if len(numbers) != len(self.classes) or not set(numbers) <= set(self.codes):
            message = f"{len(self.classes)} numbers among {sorted(self.codes)} were expected of the model."
            raise InputError(message, hint="Check the order and the meaning of its outputs.")
        found = {name: self.codes[number] for name, number in zip(self.classes, numbers, strict=True)}
        return {name: found[name] for name in scheme_of(self.scheme).classes}
