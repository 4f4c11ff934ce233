"""Service: what can be asked of one archive. The command line is a skin over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from callosum.archive.archive import CARD, Archive
from callosum.archive.facets import Facet
from callosum.archive.levels import Level
from callosum.core.errors import ArchiveBusy, NotFound, UsageError
from callosum.core.pooling import Pooling
from callosum.core.protocols import Encoder
from callosum.core.result import Hit, IngestReport
from callosum.data.sources import Source
from callosum.knowledge.matcher import default_matcher
from callosum.search.asked import Asked, understand
from callosum.search.conditions import concept_of, finding_condition
from callosum.search.searcher import Scope, Searcher, more_like
from callosum.service.encoders import load_encoder
from callosum.service.ingest import IngestConfig, Progress, ingest, inspect

DEFAULT_MODEL = "starter"


@dataclass(frozen=True, kw_only=True)
class Query:
    """A question: exactly one of a text, a picture or a record of the archive.

    Attributes:
        text: A sentence.
        image: A file.
        like: The id of a record.
        k: How many hits.
        where: SQL condition over columns and attributes.
        level: What a hit stands for: a picture, or a file, series, study or patient with the best of its pictures.
        pool: What a group of pictures is ranked by.
        findings: Concepts that the texts of all hits must state.
        without: Concepts that they must not state.
        is_literal: Whether the text goes to the encoder as it is, denials and abbreviations with it.
    """

    text: str | None = None
    image: Path | None = None
    like: str | None = None
    k: int = 10
    where: str | None = None
    level: Level = Level.IMAGE
    pool: Pooling = Pooling.MAX
    findings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    is_literal: bool = False

    def __post_init__(self) -> None:
        """Refuse a question that is none, or several at once."""
        if sum(part is not None for part in (self.text, self.image, self.like)) != 1:
            message = "A search needs exactly one of a text, an image and a record id."
            raise UsageError(message, hint="Give TEXT, --image FILE or --like RECORD_ID.")
        if self.text is not None and not self.text.strip():
            message = "The text to search for is empty."
            raise UsageError(message)
        if self.k < 1:
            message = f"A search returns at least one hit; k is {self.k}."
            raise UsageError(message)

    @cached_property
    def asked(self) -> Asked:
        """What the text asks, once its denials and abbreviations are understood."""
        return Asked(text=self.text or "") if self.is_literal or self.text is None else understand(self.text)

    @property
    def condition(self) -> str | None:
        """What pictures must meet, as SQL; None for all.

        Raises:
            NotFound: a finding that the ontology does not have.
        """
        if not (self.findings or self.without or self.asked.without):
            return self.where
        matcher = default_matcher()
        present, without = ([concept_of(n, matcher=matcher) for n in names] for names in (self.findings, self.without))
        without += self.asked.without
        return finding_condition(present=present, without=without, ontology=matcher.ontology, where=self.where)


class Service:
    """One archive, and the encoder of its space."""

    def __init__(
        self, path: str | Path, *, model: str | None = None, computing: Mapping[str, Any] | None = None
    ) -> None:
        """Name the archive.

        Args:
            path: The archive's folder; it need not exist before `index`.
            model: The checkpoint for a new archive; an existing one has its own, and another is refused.
            computing: `precision`, `runtime` and `device`, as `load_encoder` takes them.
        """
        self._path = Path(path)
        self._model = model
        self._computing = computing or {}

    @cached_property
    def archive(self) -> Archive:
        """The archive, which must exist."""
        return Archive.open(self._path)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder of the archive's space; the chosen or default one where there is no space yet."""
        space = self.archive.space if (self._path / CARD).exists() else None
        name = self._model or (space.name if space else DEFAULT_MODEL)
        try:
            return load_encoder(name, **self._computing)
        except NotFound:
            if space is None or self._model:
                raise
        # of another space, which is refused with both recipes where they meet
        return load_encoder(DEFAULT_MODEL, **self._computing)

    def index(
        self,
        sources: Iterable[Source],
        *,
        reports: Path | None = None,
        config: IngestConfig | None = None,
        is_dry_run: bool = False,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> IngestReport:
        """Add files to the archive, which is made if there is none; see `service.ingest`."""
        is_there = (self._path / CARD).exists()
        if is_dry_run:
            archive = self.archive if is_there else None
            preprocess = self.encoder.preprocess
            return inspect(
                sources,
                archive=archive,
                preprocess=preprocess,
                reports=reports,
                config=config,
                on_progress=on_progress,
            )
        archive = self.archive if is_there else Archive.create(self._path, space=self.encoder.space)
        return ingest(archive, sources, self.encoder, reports=reports, config=config, on_progress=on_progress)

    def search(self, query: Query) -> list[Hit]:
        """The best hits of a question, best first."""
        if query.level is not Level.IMAGE and query.pool is not Pooling.MAX:
            self._pool_groups()
        scope = Scope(k=query.k, where=query.condition, level=query.level, pool=query.pool)
        if query.like is not None:
            return more_like(self.archive, query.like, scope)
        searcher = Searcher(self.archive, self.encoder)
        if query.text is not None:
            return searcher.by_text(query.asked.text, scope)
        return searcher.by_image(query.image, scope)

    def refused(self, *, where: str | None = None) -> list[dict[str, Any]]:
        """Files that were refused and not indexed since, with what their headers told."""
        return self.archive.unindexed(where=where)

    def facets(self, *, where: str | None = None) -> list[Facet]:
        """How many pictures that a condition admits have each modality, body part, split and finding."""
        return self.archive.facets(where=where)

    def _pool_groups(self) -> None:
        """Pool what a run left unpooled when it was killed; while one is writing, `archive.num_unpooled` stays."""
        if self.archive.num_unpooled:
            with suppress(ArchiveBusy, UsageError):
                self.archive.refresh_groups()

    def show(self, record_id: str) -> dict[str, Any]:
        """Everything that the archive keeps of one image, and the report that it belongs to, if there is one."""
        row = self.archive.get(record_id)
        found = self.archive.reports(report_id=row["report_id"]) if row["report_id"] else []
        return {**row, "report": found[0] if found else None}
