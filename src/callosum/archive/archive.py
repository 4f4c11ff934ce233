"""Archive: a folder that holds images' vectors, thumbnails and attributes, and the space they live in.

The system of record is LanceDB: embedded, versioned, every commit atomic. Two tables: `images` has one row per image,
`refused` one per file that was answered otherwise. `archive.json` names the format and the space. Search is an exact
scan here, so that recall is one; faster indexes are derived from these rows, never instead of them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from callosum.archive.commit import Synced, write_atomically
from callosum.archive.entry import Entry, entry_from_image
from callosum.archive.schema import FORMAT, attributes_from, images_schema, images_table, new_columns, refused_schema
from callosum.core.embedding import Embedding, SpaceId
from callosum.core.errors import CallosumError, InputError, NotFound, UsageError
from callosum.core.record import Answer, Image
from callosum.core.result import Hit, Problem

if TYPE_CHECKING:
    import pyarrow as pa

CARD = "archive.json"
MAX_FRAGMENTS = 64
"""Commits after which small files are merged: a scan over hundreds of fragments is several times slower."""
_HIDDEN = {"vector", "text_vector", "thumbnail"}


class Stored(StrEnum):
    """What became of a record that was added."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


class Archive:
    """Images, their vectors and attributes, in one space. Use `Archive.create` or `Archive.open`."""

    def __init__(self, path: Path, card: dict[str, Any]) -> None:
        import lancedb

        self.path = path
        self._card = card
        self._db = lancedb.connect(path)
        self._synced = Synced(path)
        tables = set(self._db.list_tables().tables)
        self._images = self._db.open_table("images") if "images" in tables else None
        self._refused = self._db.open_table("refused") if "refused" in tables else None

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
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            message = "An archive is made in a new or empty folder; this one holds something."
            raise UsageError(message, hint="Open it, or choose another folder.")
        path.mkdir(parents=True, exist_ok=True)
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
        except ValueError as error:
            message = f"The archive's {CARD} is not JSON."
            raise InputError(message, hint="Restore it from a backup.") from error
        if card.get("format") != FORMAT:
            message = f"This version reads archives of format {FORMAT}; this one is {card.get('format')!r}."
            raise InputError(message)
        return cls(path, card)

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
        with self._explained():
            return int(self._images.count_rows(where))

    def add(
        self,
        records: Sequence[Entry | Image],
        embedding: Embedding,
        *,
        texts: Embedding | None = None,
    ) -> list[Stored]:
        """Write images and their vectors; when it returns they are on the disk. An image that is there stays as it is.

        Args:
            records: Entries, or images as `callosum.read` returns them.
            embedding: One row per record.
            texts: Vectors of report texts; their ids are the record ids they belong to.

        Returns:
            For each record: new, the same content as one that is there, or in conflict: an id that another content has.

        Raises:
            SpaceMismatch: the vectors are not of this archive's space.
        """
        entries = [
            r if isinstance(r, Entry) else entry_from_image(r, source="").pseudonymous(self.key) for r in records
        ]
        if len(entries) != len(embedding):
            message = f"{len(entries)} records need as many vectors; found {len(embedding)}."
            raise InputError(message)
        for vectors in (embedding, texts):
            if vectors is not None:
                self.require_space(vectors.space)
        self._adopt(embedding.space, dim=embedding.matrix.shape[1])
        stored = self._sort_out(entries)
        fresh = [n for n, answer in enumerate(stored) if answer is Stored.NEW]
        if not fresh:
            return stored
        entries = [entries[n] for n in fresh]
        if missing := new_columns([entry.attributes for entry in entries], self._table.schema):
            self._table.add_columns(missing)
        table = images_table(
            entries,
            self._table.schema,
            space=str(embedding.space),
            vectors=_vector_array(embedding.matrix[fresh]),
            text_vectors=_text_array(entries, texts, embedding.matrix.shape[1]),
        )
        self._table.add(table)
        self._synced.flush()
        return stored

    def refuse(self, problems: Sequence[Problem], *, attributes: Sequence[dict[str, Any]] = ()) -> None:
        """Remember files that were not indexed: digest, answer, code and sentence; never the path."""
        import pyarrow as pa

        rows = [
            {
                "source_digest": problem.source_digest,
                "answer": str(problem.answer),
                "code": problem.code,
                "sentence": problem.sentence,
                "attributes": json.dumps(known),
            }
            for problem, known in zip(problems, attributes or [{}] * len(problems), strict=True)
        ]
        if rows:
            if self._refused is None:
                self._refused = self._db.create_table("refused", schema=refused_schema())
            self._refused.add(pa.Table.from_pylist(rows, schema=refused_schema()))
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
        with self._explained():
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
            rows = self._table.search().where(f"record_id IN {_sql_list({record_id})}").limit(1).to_arrow().to_pylist()
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
        if self._images is not None and self._num_fragments > MAX_FRAGMENTS:
            self._table.optimize()
            self._synced.flush()

    @property
    def _num_fragments(self) -> int:
        return int(self._table.stats()["fragment_stats"]["num_fragments"])

    @property
    def _table(self) -> Any:
        if self._images is None:
            message = "The archive has no images yet."
            raise CallosumError(message)
        return self._images

    def _adopt(self, space: SpaceId, *, dim: int) -> None:
        """Make the archive one of this space and width, if it has none yet."""
        if "space" not in self._card:
            self._card = {**self._card, "space": space.to_json()}
            write_atomically(self.path / CARD, json.dumps(self._card, indent=1).encode())
        if self._images is None:
            self._images = self._db.create_table("images", schema=images_schema(dim))

    def _sort_out(self, entries: Sequence[Entry]) -> list[Stored]:
        """What becomes of each entry: new, the same content as a row that is there, or a taken id."""
        if not entries:
            return []
        keys, ids = (_sql_list({getattr(e, name) for e in entries}) for name in ("source_digest", "record_id"))
        known = (
            self._table.search()
            .where(f"source_digest IN {keys} OR record_id IN {ids}")
            .select(["record_id", "source_digest"])
            .to_arrow()
        )
        digests, taken = set(known["source_digest"].to_pylist()), set(known["record_id"].to_pylist())
        stored = []
        for entry in entries:
            if entry.source_digest in digests:
                stored.append(Stored.SAME)
            elif entry.record_id in taken:
                stored.append(Stored.CONFLICT)
            else:
                stored.append(Stored.NEW)
                digests.add(entry.source_digest)
                taken.add(entry.record_id)
        return stored

    def _explained(self) -> _Explained:
        return _Explained(self._table.schema.names)


class _Explained:
    """Turns an engine's complaint about a filter into one that names the columns there are."""

    def __init__(self, columns: list[str]) -> None:
        self._columns = [name for name in columns if name not in _HIDDEN]

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, RuntimeError, OSError)):
            message = "The filter is not SQL over the columns of this archive."
            hint = f"Columns: {', '.join(self._columns)}. Example: modality = 'CT' AND body_part = 'chest'."
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


def _vector_array(matrix: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(matrix).ravel()), matrix.shape[1])


def _text_array(entries: Sequence[Entry], texts: Embedding | None, dim: int) -> pa.Array:
    import pyarrow as pa

    rows = {} if texts is None else dict(zip(texts.ids, texts.matrix, strict=True))
    return pa.array([rows.get(entry.record_id) for entry in entries], pa.list_(pa.float32(), dim))


def _sql_list(values: set[str]) -> str:
    quoted = ("'" + value.replace("'", "''") + "'" for value in sorted(values))
    return f"({', '.join(quoted)})"
