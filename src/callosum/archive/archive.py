"""Archive: a folder that holds images' vectors, thumbnails and attributes, and the space they live in.

The system of record is LanceDB: embedded, versioned, every commit atomic. Two tables: `images` has one row per image,
`refused` one per file that was answered otherwise. `archive.json` names the format and the space. Search is an exact
scan here, so that recall is one; faster indexes are derived from these rows, never instead of them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from callosum.archive.commit import Synced, make_folder, write_atomically
from callosum.archive.entry import Added, Entry, Stored, entry_from_image
from callosum.archive.schema import (
    FORMAT,
    attributes_from,
    fit_attributes,
    images_schema,
    images_table,
    refused_schema,
)
from callosum.archive.tables import (
    damaged,
    existing_table,
    first_of_each,
    make_table,
    num_fragments,
    sql_list,
    text_array,
    text_rows,
    vector_array,
)
from callosum.core.embedding import Embedding, SpaceId
from callosum.core.errors import ArchiveBusy, InputError, NotFound, UsageError
from callosum.core.record import Answer, Image
from callosum.core.result import Hit, Problem

CARD = "archive.json"
LOCK = ".lock"
MAX_FRAGMENTS = 256
"""Commits after which small files are merged: a scan over hundreds of fragments is several times slower."""
_HIDDEN = {"vector", "text_vector", "thumbnail"}


class Archive:
    """Images, their vectors and attributes, in one space. Use `Archive.create` or `Archive.open`."""

    def __init__(self, path: Path, card: dict[str, Any]) -> None:
        import filelock
        import lancedb

        self.path = path
        self._card = card
        self._db = lancedb.connect(path)
        self._synced = Synced(path)
        self._lock = filelock.FileLock(path / LOCK, blocking=False)
        self._images = existing_table(self._db, path, "images")
        self._refused = existing_table(self._db, path, "refused")

    @classmethod
    def create(cls, path: str | Path, *, space: SpaceId | None = None) -> Archive:
        """Make an empty archive in a new or empty folder.

        Args:
            path: The folder.
            space: The space of its vectors; the space of the first embedding that is added when omitted.

        Raises:
            UsageError: the folder holds something already.
        """
        path = Path(path)
        if path.exists() and (not path.is_dir() or any(not p.name.startswith(f".{CARD}.") for p in path.iterdir())):
            message = "An archive is made in a new or empty folder; this one holds something."
            raise UsageError(message, hint="Open it, or choose another folder.")
        make_folder(path)
        card: dict[str, Any] = {"format": FORMAT, "key": secrets.token_hex(32)}
        if space is not None:
            card["space"] = space.to_json()
        write_atomically(path / CARD, json.dumps(card, indent=1).encode())
        return cls(path, card)

    @classmethod
    def open(cls, path: str | Path) -> Archive:
        """Open an archive.

        Raises:
            NotFound: there is none.
            InputError: it is of a format that this version does not read.
        """
        path = Path(path)
        try:
            card = json.loads((path / CARD).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            message = "There is no archive in this folder."
            raise NotFound(message, hint="Make one with: callosum index ARCHIVE SOURCE.") from None
        except (ValueError, OSError) as error:
            message = f"The archive's {CARD} cannot be read as JSON."
            raise InputError(message, hint="Restore it from a backup.") from error
        if not isinstance(card, dict) or card.get("format") != FORMAT or not isinstance(card.get("key"), str):
            found = card.get("format") if isinstance(card, dict) else None
            message = f"This version reads archives of format {FORMAT} with a key; found format {found!r}."
            raise InputError(message, hint="Restore it from a backup, or use the version that wrote it.")
        return cls(path, card)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write; `add` and `refuse` take it for themselves, a run takes it once.

        Raises:
            ArchiveBusy: another process has it.
        """
        import filelock

        try:
            lock = self._lock.acquire()
        except filelock.Timeout:
            message = "Another process is writing to this archive."
            raise ArchiveBusy(message, hint="Wait until it has ended, then give the command again.") from None
        with lock:
            if self._lock.lock_counter == 1:
                self._refresh()
            yield

    @property
    def space(self) -> SpaceId | None:
        """The space of the vectors; None before the first one."""
        return SpaceId.from_json(self._card["space"]) if "space" in self._card else None

    @property
    def key(self) -> bytes:
        """Secret of this archive's pseudonyms for patients and studies."""
        return bytes.fromhex(self._card["key"])

    def count(self, *, where: str | None = None) -> int:
        """Number of images, or of those that a filter admits."""
        if self._images is None:
            return 0
        with self._explained(where):
            return int(self._images.count_rows(where))

    def add(
        self,
        records: Sequence[Entry | Image],
        embedding: Embedding,
        *,
        texts: Embedding | None = None,
        sources: Sequence[str] = (),
    ) -> list[Added]:
        """Write images and their vectors; when it returns they are on the disk. An image that is there stays as it is.

        Args:
            records: Entries, or images as `callosum.read` returns them.
            embedding: One row per record.
            texts: Vectors of the records' texts: one row per record that has a text, in their order.
            sources: Where images come from, one each, as hits shall show it; not for entries, which know.

        Returns:
            What became of each record.

        Raises:
            SpaceMismatch: the vectors are not of this archive's space.
            ArchiveBusy: another process is writing.
        """
        names = list(sources) or [""] * len(records)
        entries = [
            record if isinstance(record, Entry) else entry_from_image(record, source=name).pseudonymous(self.key)
            for record, name in zip(records, names, strict=True)
        ]
        num_texts = sum(1 for entry in entries if entry.text)
        if len(entries) != len(embedding) or (texts is not None and len(texts) != num_texts):
            message = f"{len(entries)} records, {num_texts} with a text, need as many vectors of each kind."
            raise InputError(message)
        for vectors in (embedding, texts):
            if vectors is not None:
                self.require_space(vectors.space)
        with self.writing():
            return self._add(entries, embedding, texts)

    def _add(self, entries: Sequence[Entry], embedding: Embedding, texts: Embedding | None) -> list[Added]:
        dim = embedding.matrix.shape[1]
        self._adopt(embedding.space, dim=dim)
        stored = self.sort_out(entries)
        fresh = [n for n, answer in enumerate(stored) if answer is Stored.NEW]
        if not fresh:
            return [Added(stored=answer) for answer in stored]
        fitted, new = fit_attributes([entries[n] for n in fresh], self._table.schema)
        if new:
            self._table.add_columns(new)
        rows = text_rows(entries, texts)
        table = images_table(
            fitted,
            self._table.schema,
            space=str(embedding.space),
            vectors=vector_array(embedding.matrix[fresh]),
            text_vectors=text_array([rows[n] for n in fresh], dim),
        )
        self._table.add(table)
        self._synced.flush()
        kept = dict(zip(fresh, fitted, strict=True))
        return [
            Added(stored=answer, is_fitted=n not in kept or len(kept[n].attributes) == len(entries[n].attributes))
            for n, answer in enumerate(stored)
        ]

    def refuse(self, problems: Sequence[Problem], *, attributes: Sequence[dict[str, Any]] = ()) -> None:
        """Remember files that were not indexed: digest, answer, code and sentence; never the path."""
        import pyarrow as pa

        rows = {
            problem.source_digest: {
                "source_digest": problem.source_digest,
                "answer": str(problem.answer),
                "code": problem.code,
                "sentence": problem.sentence,
                "attributes": json.dumps(known),
            }
            for problem, known in zip(problems, attributes or [{}] * len(problems), strict=True)
        }
        if not rows:
            return
        with self.writing():
            if self._refused is None:
                self._refused = make_table(self._db, self.path, "refused", refused_schema())
            table = pa.Table.from_pylist(list(rows.values()), schema=refused_schema())
            merge = self._refused.merge_insert("source_digest").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(table)
            self._synced.flush()

    def refusals(self) -> dict[str, Problem]:
        """What was not indexed, by digest of the file; sources are not kept."""
        rows = [] if self._refused is None else self._refused.to_arrow().to_pylist()
        return {
            row["source_digest"]: Problem(
                source="",
                source_digest=row["source_digest"],
                answer=Answer(row["answer"]),
                code=row["code"],
                sentence=row["sentence"],
            )
            for row in rows
        }

    def digests(self) -> np.ndarray:
        """The first 16 bytes of every indexed file's digest, sorted: `[N]` of type `S32` (hexadecimal)."""
        if self._images is None:
            return np.empty(0, dtype="S32")
        column = self._table.search().select(["source_digest"]).to_arrow()["source_digest"]
        return np.sort(np.array(column.to_pylist(), dtype="S32"))

    def search(
        self,
        query: Embedding,
        *,
        k: int = 10,
        where: str | None = None,
        by: Literal["image", "text"] = "image",
    ) -> list[Hit]:
        """The `k` rows nearest to one query vector, best first.

        Args:
            query: One row.
            k: How many hits.
            where: SQL condition over columns and attributes, applied before the search.
            by: Compare with the vectors of the images or of their texts.

        Raises:
            SpaceMismatch: the query is of another space; both recipes are shown.
            UsageError: the condition is not SQL over known columns.
        """
        self.require_space(query.space)
        if len(query) != 1 or k < 1:
            message = f"A search takes one query vector and k of at least 1; found {len(query)} and {k}."
            raise UsageError(message)
        if self._images is None:
            return []
        column = "vector" if by == "image" else "text_vector"
        columns = [name for name in self._table.schema.names if name not in _HIDDEN]
        with self._explained(where):
            search = self._table.search(query.matrix[0], vector_column_name=column).distance_type("cosine")
            if where:
                search = search.where(where, prefilter=True)
            rows = search.select([*columns, "_distance"]).limit(k).to_arrow().to_pylist()
        return [_hit(row, rank=rank, score=1.0 - row["_distance"]) for rank, row in enumerate(rows, start=1)]

    def get(self, record_id: str) -> dict[str, Any]:
        """Everything that is kept of one image, its vectors and thumbnail included.

        Raises:
            NotFound: no image has this id.
        """
        if self._images is not None:
            rows = self._table.search().where(f"record_id IN {sql_list({record_id})}").limit(1).to_arrow().to_pylist()
            if rows:
                return {**rows[0], "attributes": attributes_from(rows[0])}
        message = "No image of this archive has that record id."
        raise NotFound(message, hint="Record ids are in the hits of: callosum search.")

    def require_space(self, space: SpaceId) -> None:
        """Refuse vectors of another space.

        Raises:
            SpaceMismatch: with both recipes.
        """
        if (own := self.space) is not None:
            own.require(space, here="The archive", there="the query or the encoder")

    @property
    def has_texts(self) -> bool:
        """True when some image has a report-text vector."""
        return self._images is not None and self._table.count_rows("text_vector IS NOT NULL") > 0

    def compact(self) -> None:
        """Merge the small files of many commits when there are more than `MAX_FRAGMENTS`."""
        with self.writing():
            for table in (self._images, self._refused):
                if table is not None and num_fragments(table) > MAX_FRAGMENTS:
                    table.optimize()
            self._synced.flush()

    @property
    def _table(self) -> Any:
        assert self._images is not None, "the table of images exists"
        return self._images

    def _refresh(self) -> None:
        """See what other processes have written since, and flush what they may not have."""
        for name in ("images", "refused"):
            if (table := getattr(self, f"_{name}")) is None:
                setattr(self, f"_{name}", existing_table(self._db, self.path, name))
            else:
                table.checkout_latest()
        self._card = json.loads((self.path / CARD).read_bytes())
        self._synced.flush()

    def _adopt(self, space: SpaceId, *, dim: int) -> None:
        """Make the archive one of this space and width, if it has none yet."""
        if "space" not in self._card:
            self._card = {**self._card, "space": space.to_json()}
            write_atomically(self.path / CARD, json.dumps(self._card, indent=1).encode())
        if self._images is None:
            self._images = make_table(self._db, self.path, "images", images_schema(dim))

    def sort_out(self, entries: Sequence[Entry]) -> list[Stored]:
        """What becomes of each entry: new, the same content as a row that is there, or a taken id."""
        if not entries or self._images is None:
            return first_of_each(entries, digests=set(), taken=set())
        keys, ids = (sql_list({getattr(e, name) for e in entries}) for name in ("source_digest", "record_id"))
        known = (
            self._table.search()
            .where(f"source_digest IN {keys} OR record_id IN {ids}")
            .select(["record_id", "source_digest"])
            .to_arrow()
        )
        digests, taken = set(known["source_digest"].to_pylist()), set(known["record_id"].to_pylist())
        return first_of_each(entries, digests=digests, taken=taken)

    @contextmanager
    def _explained(self, where: str | None) -> Iterator[None]:
        """Turn an engine's complaint into one that names the columns there are, or says that files are damaged."""
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:
            if where is None:
                raise damaged() from error
            columns = ", ".join(name for name in self._table.schema.names if name not in _HIDDEN)
            message = "The filter is not SQL over the columns of this archive."
            hint = f"Columns: {columns}. Example: modality = 'CT' AND body_part = 'chest'."
            raise UsageError(message, hint=hint) from error


def _hit(row: dict[str, Any], *, rank: int, score: float) -> Hit:
    return Hit(
        rank=rank,
        record_id=row["record_id"],
        score=round(score, 6),
        source=row["source"],
        modality=row["modality"],
        body_part=row["body_part"],
        text=row["text"],
        attributes=attributes_from(row),
    )
