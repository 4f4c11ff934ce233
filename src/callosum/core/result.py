"""What search, classify and index return, and how each is written as JSON (docs/formats/json.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from callosum.core.record import Answer, Attribute


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One row of an answer: `callosum.hit/1`. The score is raw and grows with similarity.

    A hit stands for a picture, or for a group of `num_images` pictures of which it shows the best.

    Attributes:
        record_id: The picture.
        part: Which part of its file it shows, such as `frame=3`; empty for the whole.
        level: image, file, series, study or patient.
        group_id: The group; None at level image.
        findings: What its text states, concept by concept; empty too where there is no text.
    """

    rank: int
    record_id: str
    score: float
    source: str
    part: str = ""
    level: str = "image"
    group_id: str | None = None
    num_images: int = 1
    modality: str | None = None
    body_part: str | None = None
    text: str | None = None
    findings: tuple[str, ...] = ()
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The JSON object, with its schema."""
        return {"schema": "callosum.hit/1", **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Scores of one picture for each label: `callosum.prediction/1`. They are raw, not probabilities."""

    source: str
    scores: Mapping[str, float]
    space: str

    @property
    def best(self) -> str:
        """The label with the highest score."""
        return max(self.scores, key=lambda label: self.scores[label])

    def to_json(self) -> dict[str, Any]:
        """The JSON object, with its schema."""
        return {"schema": "callosum.prediction/1", **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a file was not plainly accepted: `callosum.problem/1`.

    `source` is the path below the SOURCE as the caller gave it: for the caller's eyes, never for a log.
    """

    source: str
    source_digest: str
    answer: Answer
    code: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """The JSON object, with its schema."""
        return {"schema": "callosum.problem/1", **asdict(self)}


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestReport:
    """What became of every file: `callosum.ingest/1`, and the problems beside it.

    All but `images` count files. `accepted` and `flagged` gave the new `images`, `reports` are texts that are
    joined to their studies; `unchanged` are files whose content was in the archive already.
    """

    accepted: int
    flagged: int
    unchanged: int
    reports: int
    metadata_only: int
    quarantined: int
    rejected: int
    images: int
    seconds: float
    images_per_s: float
    problems: tuple[Problem, ...] = ()

    @property
    def skipped(self) -> int:
        """Files that were not indexed."""
        return self.metadata_only + self.quarantined + self.rejected

    @property
    def num_files(self) -> int:
        """Every file that was answered for, those within archives among them."""
        return self.accepted + self.flagged + self.unchanged + self.reports + self.skipped

    def to_json(self) -> dict[str, Any]:
        """The JSON object, with its schema; problems are lines of their own."""
        values = {key: value for key, value in asdict(self).items() if key != "problems"}
        return {"schema": "callosum.ingest/1", **values}
