"""Ingest with real worker processes, real files and the fake encoder."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from callosum.archive.archive import Archive
from callosum.core.errors import MissingDependency, SpaceMismatch
from callosum.core.record import Answer
from callosum.data.jail import JailConfig
from callosum.data.sources import Source, iter_sources
from callosum.service.ingest import IngestConfig, Progress, ingest, inspect
from callosum.service.outcome import Job, Unreadable
from callosum.service.workers import Workers, WorkersConfig
from tests.fakes import FakeEncoder, FakePreprocess, Trap

JOB = Job(preprocess=FakePreprocess(), known=np.empty(0, dtype="S32"), key=b"key")


def run(path: Path, folder: Path, encoder: FakeEncoder, **config: object):
    archive = Archive.open(path) if path.exists() else Archive.create(path)
    return archive, ingest(archive, iter_sources([folder]), encoder, config=IngestConfig(**config))


def test_every_file_has_an_answer(tmp_path: Path, shades: Path, encoder: FakeEncoder) -> None:
    archive, report = run(tmp_path / "a", shades, encoder)
    assert report.accepted + report.flagged == archive.count() == 5
    assert (report.rejected, report.skipped) == (1, 1)
    refused = [p for p in report.problems if p.answer is Answer.REJECT]
    assert [p.source for p in refused] == ["notes.txt"]
    assert refused[0].code == "NOT_AN_IMAGE"
    assert len(refused[0].source_digest) == 64
    assert archive.search(encoder.encode_text(["bright"]), k=1)[0].source == "bright.png"
    assert archive.search(encoder.encode_text(["white"]), k=1)[0].source == "deep/white.png"


def test_a_second_run_adds_nothing(tmp_path: Path, shades: Path, encoder: FakeEncoder) -> None:
    _, first = run(tmp_path / "a", shades, encoder)
    archive, second = run(tmp_path / "a", shades, encoder)
    assert archive.count() == 5
    assert (second.accepted, second.flagged, second.unchanged, second.rejected) == (0, 0, 5, 1)
    assert first.unchanged == 0


def test_a_resumed_run_repeats_refusals_without_reading_again(
    tmp_path: Path, shades: Path, encoder: FakeEncoder
) -> None:
    run(tmp_path / "a", shades, encoder)
    archive, resumed = run(tmp_path / "a", shades, encoder, is_resumed=True)
    assert (resumed.unchanged, resumed.rejected) == (5, 1)
    assert [(p.source, p.code) for p in resumed.problems] == [("notes.txt", "NOT_AN_IMAGE")]
    assert len(archive.refusals()) == 1


def test_the_same_content_twice_is_one_image(tmp_path: Path, shades: Path, encoder: FakeEncoder) -> None:
    (shades / "copy.png").write_bytes((shades / "grey.png").read_bytes())
    archive, report = run(tmp_path / "a", shades, encoder)
    assert archive.count() == 5
    assert report.unchanged == 1
    assert [p.answer for p in report.problems if p.code == "DUPLICATE_CONTENT"] == [Answer.FLAG]


def test_progress_counts_what_is_acknowledged(tmp_path: Path, shades: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    seen: list[tuple[int, int]] = []

    def on_progress(progress: Progress) -> None:
        seen.append((progress.num_images, Archive.open(tmp_path / "a").count()))

    ingest(
        archive,
        iter_sources([shades]),
        encoder,
        config=IngestConfig(batch_size=1, commit_size=1),
        on_progress=on_progress,
    )
    assert len(seen) >= 5
    assert all(claimed == stored for claimed, stored in seen)
    assert seen[-1] == (5, 5)


def test_an_archive_of_another_space_is_refused_before_reading(
    tmp_path: Path, shades: Path, encoder: FakeEncoder
) -> None:
    run(tmp_path / "a", shades, encoder)
    with pytest.raises(SpaceMismatch):
        run(tmp_path / "a", shades, FakeEncoder("stranger.v1"))


def test_a_dry_run_writes_nothing(tmp_path: Path, shades: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    report = inspect(iter_sources([shades]))
    assert report.accepted + report.flagged == 5
    assert report.rejected == 1
    assert sorted(tmp_path.rglob("*")) == before


def traps(shades: Path) -> Iterator[Source]:
    files = list(iter_sources([shades]))
    yield from files[:2]
    yield Trap("crash.dcm", "crash")  # type: ignore[misc]
    yield Trap("hang.dcm", "hang")  # type: ignore[misc]
    yield Trap("bug.dcm", "raise")  # type: ignore[misc]
    yield from files[2:]


def test_a_dry_run_knows_what_the_archive_holds(tmp_path: Path, shades: Path, encoder: FakeEncoder) -> None:
    archive, _ = run(tmp_path / "a", shades, encoder)
    PilImage.fromarray(np.full((9, 9), 200, np.uint8)).save(shades / "new.png")
    (shades / "new-copy.png").write_bytes((shades / "new.png").read_bytes())
    report = inspect(iter_sources([shades]), archive=archive)
    assert (report.accepted + report.flagged, report.unchanged, report.rejected) == (1, 6, 1)
    assert archive.count() == 5


def test_a_taken_id_is_answered_and_forgotten_once_mended(tmp_path: Path, shades: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    named = [replace(source, record_id="same") for source in iter_sources([shades]) if source.name != "notes.txt"]
    report = ingest(archive, named, encoder)
    assert (report.accepted + report.flagged, report.quarantined) == (1, 4)
    assert {p.code for p in report.problems if p.answer is Answer.QUARANTINE} == {"ID_CONFLICT"}
    mended = ingest(archive, iter_sources([shades]), encoder)
    assert mended.accepted + mended.flagged == 4
    resumed = ingest(archive, iter_sources([shades]), encoder, config=IngestConfig(is_resumed=True))
    assert (resumed.unchanged, resumed.quarantined, resumed.rejected) == (5, 0, 1)


def test_an_odd_attribute_is_flagged(tmp_path: Path, shades: Path, encoder: FakeEncoder) -> None:
    archive = Archive.create(tmp_path / "a")
    pictures = [source for source in iter_sources([shades]) if source.name != "notes.txt"]
    odd = [replace(source, attributes={"rows": "many", "site": n}) for n, source in enumerate(pictures)]
    ingest(archive, [replace(pictures[0], attributes={"rows": 24})], encoder)
    report = ingest(archive, odd, encoder)
    assert sum("ATTRIBUTE_TYPE" in problem.code for problem in report.problems) == 4
    assert (report.flagged, report.unchanged) == (4, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_reading_process_ends_with_its_parent(shades: Path) -> None:
    code = (
        "import os, sys, time\n"
        "sys.path.insert(0, os.getcwd())\n"
        "import numpy as np\n"
        "from callosum.service.outcome import Job\n"
        "from callosum.data.jail import Jail\n"
        "from callosum.service.worker import ENTRY\n"
        "from tests.fakes import Trap\n"
        "process = Jail(ENTRY, Job(preprocess=None, known=np.empty(0, dtype='S32'), key=b''))\n"
        "process.send(Trap('hang', 'hang'))\n"
        "print(process._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_crash_and_a_hang_are_answers_and_the_run_goes_on(shades: Path, num_workers: int) -> None:
    config = WorkersConfig(num_workers=num_workers, jail=JailConfig(timeout_s=3.0))
    with Workers(JOB, config) as workers:
        outcomes = list(workers.results(traps(shades)))
    lost = {o.source: o for o in outcomes if isinstance(o, Unreadable) and o.answer is Answer.QUARANTINE}
    assert {name: outcome.code for name, outcome in lost.items()} == {
        "crash.dcm": "DECODER_CRASHED",
        "hang.dcm": "TIMEOUT",
        "bug.dcm": "UNEXPECTED_ERROR",
    }
    assert "Jane" not in lost["bug.dcm"].sentence, "what an unknown error says may name a patient"
    assert len(outcomes) == 9


def test_leaving_early_stops_every_process(shades: Path) -> None:
    def endless() -> Iterator[Source]:
        while True:
            yield from iter_sources([shades])

    with Workers(JOB, WorkersConfig(num_workers=2)) as workers:
        results = workers.results(endless())
        for _ in range(10):
            next(results)
    assert not any(thread.is_alive() for thread in workers._threads)


def test_an_error_while_walking_reaches_the_caller() -> None:
    def broken() -> Iterator[Source]:
        message = "the disk is gone"
        raise OSError(message)
        yield

    with pytest.raises(OSError, match="disk"), Workers(JOB) as workers:
        list(workers.results(broken()))


class _Unloadable:
    """Preprocessing that the reading process cannot import."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return (_never_there, ())


def _never_there() -> None:
    raise AssertionError


def test_a_reader_that_cannot_start_is_an_error_not_an_answer(shades: Path) -> None:
    job = Job(preprocess=_Unloadable(), known=np.empty(0, dtype="S32"), key=b"")  # type: ignore[arg-type]
    with pytest.raises(MissingDependency, match="could not start"), Workers(job) as workers:
        list(workers.results(iter_sources([shades])))


class FailingEncoder(FakeEncoder):
    """Fails at the third slice it is given."""

    calls = 0

    def encode_pixels(self, pixels: np.ndarray):
        self.calls += 1
        if self.calls == 3:
            message = "the encoder failed"
            raise RuntimeError(message)
        return super().encode_pixels(pixels)


def many(folder: Path, count: int) -> Path:
    folder.mkdir()
    for n in range(count):
        picture = np.full((8, 8), n % 251, np.uint8)
        picture[0, 0] = n // 251
        PilImage.fromarray(picture).save(folder / f"{n:03}.png")
    return folder


def test_an_encoder_that_fails_ends_the_run_and_a_resumed_one_completes(tmp_path: Path, encoder: FakeEncoder) -> None:
    files = many(tmp_path / "files", 40)
    with pytest.raises(RuntimeError, match="the encoder failed"):
        run(tmp_path / "a", files, FailingEncoder(), batch_size=8, commit_s=0.0)
    archive, report = run(tmp_path / "a", files, encoder, batch_size=8, is_resumed=True)
    assert archive.count() == 40
    assert report.accepted + report.flagged + report.unchanged == 40


class GatedEncoder(FakeEncoder):
    """Encodes its second batch only when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.calls = 0

    def encode_pixels(self, pixels: np.ndarray):
        self.calls += 1
        if self.calls == 2:
            assert self.gate.wait(20)
        return super().encode_pixels(pixels)


def test_what_is_being_encoded_is_not_counted(tmp_path: Path) -> None:
    encoder, seen = GatedEncoder(), []

    def note(progress: Progress) -> None:
        seen.append((progress.num_files, progress.num_images))
        if progress.num_images >= 8:
            encoder.gate.set()

    archive = Archive.create(tmp_path / "a")
    config = IngestConfig(batch_size=8, commit_s=0.0)
    report = ingest(archive, iter_sources([many(tmp_path / "files", 24)]), encoder, config=config, on_progress=note)
    assert report.accepted + report.flagged == archive.count() == 24
    assert (8, 8) in seen, "the first batch is written and counted while the second is being encoded"
    assert all(files == images for files, images in seen), "a file counts when its row is on the disk"
