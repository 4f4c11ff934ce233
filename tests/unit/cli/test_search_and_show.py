"""What needs no encoder: more like a record, at every level; records; files that were refused."""

import gc
import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from callosum.archive.archive import Archive
from callosum.archive.entry import entry_from_image
from callosum.archive.levels import Level
from callosum.archive.reports import ReportEntry
from callosum.cli.commands import search, show
from callosum.core.errors import CallosumError, UsageError
from callosum.core.pooling import Pooling
from callosum.core.record import Answer, Image, PixelUnit
from callosum.core.result import Problem
from tests.fakes import FakeEncoder


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """`search` turns the garbage collector off, for it expects to be a process of its own."""
    yield
    gc.enable()


@pytest.fixture
def archive(tmp_path: Path, encoder: FakeEncoder) -> Path:
    """Two files of three frames each, of one study each; a report of the first; two files that were refused."""
    made = Archive.create(tmp_path / "a")
    pictures = [
        Image(
            pixels=np.full((8, 8), 90 * file + 10 * frame, np.uint8),
            unit=PixelUnit.DISPLAY,
            attributes={"frame": frame, "num_frames": 3},
            source_digest=f"file {file}",
        )
        for file in (0, 1)
        for frame in (0, 1, 2)
    ]
    entries = [
        entry_from_image(each, source="x.dcm", study_id=each.source_digest, record_id=f"r{n}")
        for n, each in enumerate(pictures)
    ]
    made.add(entries, encoder.encode_image(pictures))
    report = ReportEntry(text="FINDINGS: dark", searchable="dark", source_digest="r", study_id="file 0")
    made.attach([report], encoder.encode_text(["dark"]))
    problems = [
        Problem(source="x", source_digest=name, answer=Answer.METADATA_ONLY, code="NO_PIXELS", sentence="None.")
        for name in ("sr", "plan")
    ]
    made.refuse(problems, attributes=[{"modality": "SR"}, {"modality": "RTPLAN"}])
    return tmp_path / "a"


def run(command: click.Command, *arguments: object, raises: type[CallosumError] | None = None) -> Result:
    done = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if raises is None:
        assert done.exception is None, done.output
    else:
        assert isinstance(done.exception, raises)
    return done


def lines(done: Result) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_choices_are_those_of_the_enumerations() -> None:
    assert set(search.LEVELS) == set(Level)
    assert set(search.POOLS) == set(Pooling)


@pytest.mark.parametrize("pool", Pooling)
def test_one_hit_for_each_group(archive: Path, pool: str) -> None:
    [hit] = lines(run(search.command, archive, "--like", "r0", "--level", "study", "--pool", pool, "--json"))
    assert hit["schema"] == "callosum.hit/1"
    assert (hit["level"], hit["group_id"], hit["num_images"]) == ("study", "file 1", 3)
    assert hit["part"] == f"frame={hit['attributes']['frame']}"
    assert Archive.open(archive).num_unpooled == (6 if pool == Pooling.MAX else 0), (
        "what was not pooled is, when needed"
    )


def test_pictures_are_the_default(archive: Path) -> None:
    hits = lines(run(search.command, archive, "--like", "r0", "-k", 2, "--json"))
    assert [(hit["level"], hit["group_id"], hit["num_images"]) for hit in hits] == [("image", None, 1)] * 2


def test_a_table_says_which_part_and_how_many(archive: Path) -> None:
    shown = run(search.command, archive, "--like", "r0", "--level", "file").stdout
    assert "images" in shown
    assert "frame=" in shown


def test_while_another_process_writes_the_means_are_old(archive: Path) -> None:
    with Archive.open(archive).writing():
        done = run(search.command, archive, "--like", "r0", "--level", "study", "--pool", "mean")
    assert "6 images are not in the vectors of their groups yet" in done.stderr


def test_a_record_shows_its_report(archive: Path) -> None:
    [record] = lines(run(show.command, archive, "r1", "--json"))
    assert (record["part"], record["study_id"], record["text"]) == ("frame=1", "file 0", "dark")
    assert (record["report"]["version"], record["report"]["text"]) == (1, "FINDINGS: dark")
    assert lines(run(show.command, archive, "r4", "--json"))[0]["report"] is None


def test_refused_files_are_listed(archive: Path) -> None:
    rows = lines(run(show.command, archive, "--refused", "--where", "modality = 'SR'", "--json"))
    assert rows == [
        {
            "schema": "callosum.refused/1",
            "source_digest": "sr",
            "answer": "METADATA_ONLY",
            "code": "NO_PIXELS",
            "sentence": "None.",
            "attributes": {"modality": "SR"},
        }
    ]
    assert "RTPLAN" in run(show.command, archive, "--refused").stdout


@pytest.mark.parametrize("arguments", [(), ("r0", "--refused"), ("r0", "--where", "true")])
def test_one_or_the_other(archive: Path, arguments: tuple[str, ...]) -> None:
    run(show.command, archive, *arguments, raises=UsageError)
