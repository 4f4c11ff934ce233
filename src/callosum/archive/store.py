"""Store: an archive's folder, card, tables and lock. What the other modules keep, they keep through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callosum.archive.card import EARLIER_FORMATS, FORMAT, read_card, write_card
from callosum.archive.commit import Synced
from callosum.archive.schema import NEW_COLUMNS, column_of, finding_fields
from callosum.archive.tables import existing_table, make_table, num_fragments
from callosum.core.errors import ArchiveBusy, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

LOCK = ".lock"
TABLES = ("images", "refused", "reports", "groups")


class Store:
    """The tables of one archive, some of which may not be there yet."""

    def __init__(self, path: Path, card: dict[str, Any]) -> None:
        import filelock
        import lancedb

        self.path = path
        self.card = card
        self._db = lancedb.connect(path)
        self._synced = Synced(path)
        self._lock = filelock.FileLock(path / LOCK, blocking=False)
        self._tables: dict[str, Any] = {}
        self._refresh()
        if card["format"] in EARLIER_FORMATS:
            self._open_earlier()

    def table(self, name: str) -> Any | None:
        """A table; None where nothing has been written to it."""
        return self._tables.get(name)

    def made(self, name: str, schema: pa.Schema) -> Any:
        """A table, which is made with this schema if there is none."""
        if name not in self._tables:
            self._tables[name] = make_table(self._db, self.path, name, schema)
        return self._tables[name]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write, and see first what others have written.

        Raises:
            ArchiveBusy: another process has it.
            UsageError: the folder cannot be written to.
        """
        import filelock

        try:
            lock = self._lock.acquire()
        except filelock.Timeout:
            message = "Another process is writing to this archive."
            raise ArchiveBusy(message, hint="Wait until it has ended, then give the command again.") from None
        except OSError as error:
            message = "The archive's folder cannot be written to."
            raise UsageError(message, hint="Check its permissions and the space on its disk.") from error
        with lock:
            if self._lock.lock_counter == 1:
                self._refresh()
                self.card = read_card(self.path)
                self.flush()  # what an earlier process may not have flushed
                if self.card["format"] in EARLIER_FORMATS:
                    self._upgrade()
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the right to write, and turn an engine's complaint about it into an error that says what to do.

        Raises:
            ArchiveBusy: another process has it.
            UsageError: what was to be written could not be.
        """
        with self.writing():
            try:
                yield
            except (OSError, RuntimeError) as error:  # its words may hold a path
                message = "The archive could not be written to; what was acknowledged before is kept."
                hint = "Check the space on its disk and its permissions, then give the command again with --resume."
                raise UsageError(message, hint=hint) from error

    def flush(self) -> None:
        """Put on the disk whatever was written since the last time."""
        self._synced.flush()

    def note(self, **values: Any) -> None:
        """Keep values on the card."""
        self.card = {**self.card, **values}
        write_card(self.path, self.card)

    def compact(self, *, max_fragments: int) -> None:
        """Merge the small files of tables that have more than so many."""
        for table in self._tables.values():
            if num_fragments(table) > max_fragments:
                table.optimize()
        self.flush()

    def _refresh(self) -> None:
        for name in TABLES:
            if name in self._tables:
                self._tables[name].checkout_latest()
            elif (table := existing_table(self._db, self.path, name)) is not None:
                self._tables[name] = table

    def _open_earlier(self) -> None:
        """Upgrade; where that cannot be done now, the second format can be read as it is."""
        try:
            with self.writing():
                pass
        except (ArchiveBusy, UsageError):
            if self.card["format"] == EARLIER_FORMATS[0]:
                raise

    def _upgrade(self) -> None:
        """Bring an archive of an earlier format to this one: its tables get the columns they lack.

        An attribute that has the name of such a column gets the column that `column_of` now gives it. Each step is one
        commit, and the card is written last, so that an interrupted upgrade is taken up.
        """
        import pyarrow as pa

        if self.card["format"] == EARLIER_FORMATS[0]:
            self._widen("images", [pa.field(name, pa.string()) for name in NEW_COLUMNS])
        self._widen("images", finding_fields())
        self._widen("reports", finding_fields())
        self.note(format=FORMAT)

    def _widen(self, name: str, fields: list[pa.Field]) -> None:
        """Add columns to a table that does not have all of them; one of such a name is an attribute, and is renamed."""
        import pyarrow as pa

        table = self.table(name)
        wanted = [field.name for field in fields]
        if table is None or set(wanted) <= set(table.schema.names):
            return
        if taken := [column for column in wanted if column in table.schema.names]:
            table.alter_columns(*({"path": column, "rename": column_of(column)} for column in taken))
        table.add_columns(pa.schema(fields))
        self.flush()
