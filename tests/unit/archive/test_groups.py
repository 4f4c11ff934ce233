from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import Archive
from callosum.archive.entry import Entry
from callosum.archive.groups import refresh_groups
from callosum.archive.levels import GROUPED, Level
from callosum.core.embedding import Embedding, unit_rows
from callosum.core.errors import UsageError
from tests.fakes import FakeEncoder

BARE = Entry(record_id="", source="", source_digest="", thumbnail=b"", render_recipe="{}")


def rows_of(*names: str) -> list[Entry]:
    """One row for each `record:file:series:study:patient`; an empty part is not known."""
    made = []
    for name in names:
        record, file, series, study, patient = name.split(":")
        ids = {"series_id": series or None, "study_id": study or None, "patient_id": patient or None}
        made.append(replace(BARE, record_id=record, source_digest=record, file_id=file or None, **ids))  # type: ignore[arg-type]
    return made


def vectors(encoder: FakeEncoder, num: int, *, seed: int = 0) -> Embedding:
    rows = np.random.default_rng(seed).normal(size=(num, 16))
    return Embedding(matrix=unit_rows(rows), space=encoder.space)


def stored(archive: Archive) -> dict[tuple[str, str], tuple[int, np.ndarray]]:
    table = archive._store.table("groups")
    rows = [] if table is None else table.to_arrow().to_pylist()
    assert len({(row["level"], row["group_id"]) for row in rows}) == len(rows)
    return {(r["level"], r["group_id"]): (r["num_images"], np.asarray(r["vector"])) for r in rows}


def expected(entries: list[Entry], matrix: np.ndarray) -> dict[tuple[str, str], tuple[int, np.ndarray]]:
    members: dict[tuple[str, str], list[int]] = {}
    for n, entry in enumerate(entries):
        file = entry.file_id or entry.source_digest
        groups = (file, entry.series_id or file, entry.study_id or file, entry.patient_id or file)
        for level, group in zip(GROUPED, groups, strict=True):
            members.setdefault((str(level), group), []).append(n)
    return {
        group: (len(rows), unit_rows(matrix[rows].mean(axis=0, keepdims=True))[0])
        for group, rows in members.items()
        if len(rows) > 1
    }


def check(archive: Archive, entries: list[Entry], matrix: np.ndarray) -> None:
    found, wanted = stored(archive), expected(entries, matrix)
    assert {group: number for group, (number, _) in found.items()} == {g: number for g, (number, _) in wanted.items()}
    for group, (_, vector) in wanted.items():
        np.testing.assert_allclose(found[group][1], vector, atol=1e-6)


def test_groups_of_two_or_more_are_pooled(tmp_path: Path, encoder: FakeEncoder) -> None:
    entries = rows_of("a::s1:1:p", "b::s1:1:p", "c::s2:1:p", "d:slide:::", "e:slide:::", "f::::", "g:::2:p")
    rows = vectors(encoder, len(entries))
    archive = Archive.create(tmp_path / "a")
    archive.add(entries, rows)
    assert archive.num_unpooled == 7
    assert archive.refresh_groups() == 7
    assert archive.num_unpooled == 0
    assert (
        set(stored(archive))
        == {
            ("file", "slide"),
            ("series", "s1"),
            ("series", "slide"),
            ("study", "1"),
            ("study", "slide"),
            ("patient", "p"),
            ("patient", "slide"),
        }
        - set()
    )
    check(archive, entries, rows.matrix)
    assert archive.refresh_groups() == 0


def test_only_touched_groups_are_pooled_again(tmp_path: Path, encoder: FakeEncoder) -> None:
    entries = rows_of("a:::1:", "b:::1:", "c:::2:", "d:::2:", "e:::3:", "f:::2:", "g:::3:")
    rows = vectors(encoder, len(entries))
    archive = Archive.create(tmp_path / "a")
    archive.add(entries[:5], replace(rows, matrix=rows.matrix[:5], ids=()))
    assert archive.refresh_groups() == 2
    archive.add(entries[5:], replace(rows, matrix=rows.matrix[5:], ids=()))
    assert archive.num_unpooled == 2
    assert archive.refresh_groups() == 2, "study 2 has grown, study 3 has become a group"
    check(archive, entries, rows.matrix)


@pytest.mark.parametrize("max_rows", [1, 7, 10_000])
def test_however_many_rows_are_read_at_once(
    max_rows: int, tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callosum.archive.groups.MAX_ROWS", max_rows)
    rng = np.random.default_rng(5)
    entries = rows_of(*(f"r{n}:::{study}:{study % 3}" for n, study in enumerate(rng.integers(12, size=60))))
    rows = vectors(encoder, 60)
    archive = Archive.create(tmp_path / "a")
    archive.add(entries, rows)
    archive.refresh_groups()
    check(archive, entries, rows.matrix)


def test_the_table_can_be_made_again(tmp_path: Path, encoder: FakeEncoder) -> None:
    """A run that was killed before the card was written pools again; groups that are gone are taken out."""
    entries = rows_of("a:::1:", "b:::1:", "c:::2:", "d:::2:")
    rows = vectors(encoder, 4)
    archive = Archive.create(tmp_path / "a")
    archive.add(entries, rows)
    archive.refresh_groups()
    archive._store.note(num_pooled=0)
    assert refresh_groups(archive._store) == 0
    archive._store.table("images").delete("record_id = 'd'")  # type: ignore[union-attr]
    assert archive.num_unpooled == 1
    archive.refresh_groups()
    check(archive, entries[:3], rows.matrix[:3])


def test_an_empty_archive_has_no_groups(tmp_path: Path) -> None:
    archive = Archive.create(tmp_path / "a")
    assert archive.num_unpooled == archive.refresh_groups() == 0


def test_a_level_names_the_group_of_a_row_in_two_languages(tmp_path: Path, encoder: FakeEncoder) -> None:
    entries = rows_of("a:f:s:1:p", "b:::1:", "c::s::p")
    archive = Archive.create(tmp_path / "a")
    archive.add(entries, vectors(encoder, 3))
    query = vectors(encoder, 1)
    for level in Level:
        in_sql = {row["record_id"]: row["group_id"] for row in archive.rank(query, level=level, k=9).to_pylist()}
        assert in_sql == {name: level.group_of(archive.get(name)) for name in "abc"}


def test_a_condition_cannot_leave_its_parentheses() -> None:
    with pytest.raises(UsageError):
        Level.STUDY.within(["1"], where="true) OR (true")
    inside = Level.STUDY.within(["it's"], where="label = ')(' -- that is text")
    assert inside == "(label = ')(' -- that is text\n) AND coalesce(study_id, file_id, source_digest) IN ('it''s')"
