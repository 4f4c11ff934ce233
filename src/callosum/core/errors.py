"""One tree of errors; each says what was expected, what was found and what to do.

    CallosumError
    ├── UsageError            2  the call itself cannot be carried out
    ├── MissingDependency     3  a package that this feature needs is not installed
    ├── ArchiveBusy           3  another process is writing to the archive
    ├── InputError            4  bytes or values that are not what they should be
    │   └── Refused           4  a file that was answered with something else than ACCEPT
    ├── NotFound              5  no archive, record or model of that name
    ├── IntegrityError        6  bytes that are not the bytes that were named
    │   ├── SpaceMismatch     6  vectors of two spaces were about to meet
    │   └── DigestMismatch    6  a file whose digest differs from its card
    └── Interrupted         130  stopped by the user; the message says how to resume

The number is the exit code of the command line. No message holds a path, a name or an identifier of a patient.
"""

from __future__ import annotations

from typing import ClassVar


class CallosumError(Exception):
    """Anything this package raises on purpose."""

    code: ClassVar[str] = "ERROR"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.hint = hint


class UsageError(CallosumError):
    """The call itself cannot be carried out: an unknown key, two settings that disagree."""

    code = "USAGE"
    exit_code = 2


class MissingDependency(CallosumError):
    """A package that this feature needs is not installed."""

    code = "MISSING_DEPENDENCY"
    exit_code = 3


class ArchiveBusy(CallosumError):
    """Another process is writing to the archive."""

    code = "ARCHIVE_BUSY"
    exit_code = 3


class InputError(CallosumError):
    """Bytes or values that are not what they should be."""

    code = "INPUT"
    exit_code = 4


class Refused(InputError):
    """A file that cannot be indexed: METADATA_ONLY, QUARANTINE or REJECT, with a code and a sentence.

    Attributes:
        answer: The `Answer` as text (`core.record.Answer` is a `StrEnum`).
        reason: Machine code such as `TRUNCATED`.
        sentence: One sentence for a person, without path or identifier.
        attributes: What the header still told, for METADATA_ONLY.
        identifiers: Identifiers found in the header; never part of the message.
    """

    code = "REFUSED"

    def __init__(
        self,
        answer: str,
        reason: str,
        sentence: str,
        *,
        attributes: dict[str, str | int | float | bool] | None = None,
        identifiers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{answer} {reason}: {sentence}")
        self.answer = answer
        self.reason = reason
        self.sentence = sentence
        self.attributes = attributes or {}
        self.identifiers = identifiers or {}

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the parts, not the message made of them."""
        parts = (self.answer, self.reason, self.sentence, self.attributes, self.identifiers)
        return _refused, parts


def _refused(
    answer: str,
    reason: str,
    sentence: str,
    attributes: dict[str, str | int | float | bool],
    identifiers: dict[str, str],
) -> Refused:
    return Refused(answer, reason, sentence, attributes=attributes, identifiers=identifiers)


class NotFound(CallosumError):
    """No archive, record or model of that name."""

    code = "NOT_FOUND"
    exit_code = 5


class IntegrityError(CallosumError):
    """Bytes that are not the bytes that were named."""

    code = "INTEGRITY"
    exit_code = 6


class SpaceMismatch(IntegrityError):
    """Vectors of two spaces were about to meet; the message shows both recipes."""

    code = "SPACE_MISMATCH"


class DigestMismatch(IntegrityError):
    """A file whose digest differs from its card."""

    code = "DIGEST_MISMATCH"


class Interrupted(CallosumError):
    """Stopped by the user; the message says how to resume."""

    code = "INTERRUPTED"
    exit_code = 130
