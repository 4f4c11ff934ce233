"""What a run holds in memory, what it sends ahead, and slides and reports that come twice."""

import csv
import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pil

from callosum.archive.archive import Archive
from callosum.archive.entry import Entry
from callosum.core.record import Answer
from callosum.data.manifest import read_manifest
from callosum.data.sources import Source, iter_sources
from callosum.service.ingest import ingest, inspect
from callosum.service.outcome import Job, Readied, Ready, Walked
from callosum.service.workers import MAX_WAITING, Workers, WorkersConfig, _Pictures
from tests.fakes import FakeEncoder, FakePreprocess
from tests.unit.data.slides.made import paint

JOB = Job(preprocess=FakePreprocess(), known=np.empty(0, dtype="S32"), key=b"")


def test_what_waits_is_measured_in_pictures() -> None:
    entry = Entry(record_id="", source="", source_digest="", thumbnail=b"", render_recipe="{}")
    file = Readied(pictures=(Ready(entry=entry, flags=(), pixels=None),) * (MAX_WAITING // 2))
    waiting = _Pictures(MAX_WAITING)
    waiting.put((0, file), block=False)
    assert not waiting.full()
    waiting.put((1, file), block=False)
    assert waiting.full()
    waiting.get(block=False)
    assert not waiting.full()
    waiting.put(None, block=False)
    assert [waiting.get(block=False), waiting.get(block=False)] == [(1, file), None]
    assert waiting.empty()


@pytest.mark.parametrize(
    "is_large", [lambda n: n % 2 == 1, lambda n: n < 3, lambda n: n > 8], ids=["odd", "few", "end"]
)
def test_sources_with_much_text_block_nobody(tmp_path: Path, is_large: object) -> None:
    """Both ends would wait for each other if such a source were sent while a large answer comes back."""
    rng = np.random.default_rng(0)
    frames = [Pil.fromarray(rng.integers(0, 255, (256, 256), dtype=np.uint8)) for _ in range(60)]
    frames[0].save(tmp_path / "many.tiff", save_all=True, append_images=frames[1:])
    words = "word " * 200_000
    sources = [
        Source(name=str(n), location=tmp_path / "many.tiff", attributes={"note": words if is_large(n) else ""})  # type: ignore[operator]
        for n in range(12)
    ]
    job = replace(JOB, reading=replace(JOB.reading, max_pictures=60))
    with Workers(job, WorkersConfig(num_workers=1)) as workers:
        outcomes = list(workers.results(sources))
    assert [len(each.pictures) for each in outcomes if isinstance(each, Readied)] == [60] * 12


def slide(path: Path, *, seed: int = 0) -> Path:
    pixels = paint(1500, 1500, tissue=(0, 0, 1500, 1500), seed=seed)
    words = "Aperio Image Library v11\r\n1500x1500 (256x256) J2K Q=70|MPP = 0.5"
    with tifffile.TiffWriter(path) as writer:
        for level in (pixels, pixels[::4, ::4]):
            writer.write(level, photometric="rgb", tile=(256, 256), metadata=None, description=words)
    return path


def test_copies_of_a_slide_are_one_slide(tmp_path: Path, encoder: FakeEncoder) -> None:
    (tmp_path / "files").mkdir()
    data = slide(tmp_path / "files" / "a.svs").read_bytes()
    for name in ("b.svs", "c.svs"):
        (tmp_path / "files" / name).write_bytes(data)
    foreseen = inspect(iter_sources([tmp_path / "files"]), preprocess=FakePreprocess())
    archive = Archive.create(tmp_path / "a")
    report = ingest(archive, iter_sources([tmp_path / "files"]), encoder)
    for each in (foreseen, report):
        assert (each.accepted + each.flagged, each.unchanged, each.num_files) == (1, 2, 3)
        twins = [problem for problem in each.problems if problem.code == "DUPLICATE_CONTENT"]
        assert {problem.answer for problem in twins} <= {Answer.FLAG}
    assert archive.count() == report.images > 16, "more than one batch"
    again = ingest(archive, iter_sources([tmp_path / "files"]), encoder)
    assert (again.unchanged, again.num_files, again.images) == (3, 3, 0)


def test_members_of_archives_come_in_their_place(tmp_path: Path) -> None:
    """Two archives and files around them are read at once; which of two copies is the first does not depend on it."""
    names = ["a.png", "b.zip", *(f"b.zip:{n}.png" for n in range(30)), "c.png", "d.zip"]
    names += [*(f"d.zip:{n}.png" for n in range(30)), *(f"e{n}.png" for n in range(9))]
    picture = io.BytesIO()
    Pil.new("L", (300, 300), 7).save(picture, "PNG")
    for name in names:
        archive, _, member = name.partition(":")
        if member:
            with zipfile.ZipFile(tmp_path / archive, "a") as packed:
                packed.writestr(member, picture.getvalue())
        elif not archive.endswith(".zip"):
            (tmp_path / archive).write_bytes(picture.getvalue())
    for num_workers in (1, 3):
        with Workers(JOB, WorkersConfig(num_workers=num_workers)) as workers:
            outcomes = list(workers.results(iter_sources([tmp_path])))
        found = ["" if isinstance(each, Walked) else each.pictures[0].entry.source for each in outcomes]  # type: ignore[union-attr]
        assert found == ["" if name.endswith(".zip") else name for name in names]


def test_a_slide_whose_id_is_taken_is_answered(tmp_path: Path, encoder: FakeEncoder) -> None:
    for n, seed in enumerate((1, 2)):
        slide(tmp_path / f"{n}.svs", seed=seed)
        (tmp_path / f"{n}.csv").write_text(f"path,id\n{n}.svs,same\n")
    archive = Archive.create(tmp_path / "a")
    first = ingest(archive, read_manifest(tmp_path / "0.csv"), encoder)
    assert (first.accepted + first.flagged, first.skipped) == (1, 0)
    second = ingest(archive, read_manifest(tmp_path / "1.csv"), encoder)
    answers = [(problem.answer, problem.code) for problem in second.problems]
    if second.images:
        assert (second.flagged, second.num_files) == (1, 1)
        assert "ID_CONFLICT" in answers[0][1]
    else:
        assert (second.quarantined, second.num_files) == (1, 1)
        assert answers == [(Answer.QUARANTINE, "ID_CONFLICT")]


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a limit of POSIX")
def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path, shades: Path) -> None:
    code = (
        "import os, resource, sys\n"
        "sys.path.insert(0, os.getcwd())\n"
        "from callosum.archive.archive import Archive\n"
        "from callosum.core.errors import UsageError\n"
        "from callosum.data.sources import iter_sources\n"
        "from callosum.service.ingest import ingest\n"
        "from tests.fakes import FakeEncoder\n"
        "class Filler(FakeEncoder):\n"
        "    def encode_pixels(self, pixels):\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "        return super().encode_pixels(pixels)\n"
        "try:\n"
        "    ingest(Archive.create(sys.argv[1]), iter_sources([sys.argv[2]]), Filler())\n"
        "except UsageError as error:\n"
        "    assert 'could not be written' in str(error)\n"
        "    assert 'Check the space' in str(error)\n"
        "    sys.exit(9)\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "a"), str(shades)]
    root = str(Path(__file__).parents[3])
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 9, done.stderr


def test_a_dry_run_knows_reports_that_come_twice_or_contradict(tmp_path: Path, encoder: FakeEncoder) -> None:
    Pil.new("L", (8, 8), 99).save(tmp_path / "one.png")
    (tmp_path / "manifest.csv").write_text("path,study_id,patient_id\none.png,S1,P1\n")
    rows = [
        ("FINDINGS: clear.", "S1", "P1"),
        ("FINDINGS: clear.", "S1", "P1"),
        ("FINDINGS: other.", "S1", "P2"),
        ("FINDINGS: alone.", "S2", "P3"),
        ("FINDINGS: stranger.", "S2", "P4"),
    ]
    with (tmp_path / "reports.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "study_id", "patient_id"), *rows])
    given = {"reports": tmp_path / "reports.csv"}
    archive = Archive.create(tmp_path / "a", space=encoder.space)

    def counts(report: object) -> list[int]:
        return [getattr(report, name) for name in ("accepted", "flagged", "reports", "unchanged", "quarantined")]

    foreseen = inspect(read_manifest(tmp_path / "manifest.csv"), archive=archive, **given)
    report = ingest(archive, read_manifest(tmp_path / "manifest.csv"), encoder, **given)
    assert counts(foreseen) == counts(report)
    assert (report.reports, report.unchanged, report.quarantined) == (2, 1, 2)
    again = inspect(read_manifest(tmp_path / "manifest.csv"), archive=archive, **given)
    assert counts(again) == counts(ingest(archive, read_manifest(tmp_path / "manifest.csv"), encoder, **given))
    assert (again.reports, again.quarantined) == (0, 2)
    bare = inspect(read_manifest(tmp_path / "manifest.csv"), **given)
    assert counts(bare) == counts(foreseen)
