"""The command line as a user types it: real processes, real files, the starter model."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as PilImage

from callosum.archive.archive import Archive
from callosum.archive.entry import entry_from_image
from callosum.core.record import Image, PixelUnit
from tests.fakes import FakeEncoder

HIT_KEYS = {"schema", "rank", "record_id", "score", "source", "modality", "body_part", "text", "attributes"}
HIT_KEYS |= {"part", "level", "group_id", "num_images", "findings"}
PROBLEM_KEYS = {"schema", "source", "source_digest", "answer", "code", "sentence"}
INGEST_KEYS = {
    "schema",
    "accepted",
    "flagged",
    "unchanged",
    "metadata_only",
    "quarantined",
    "rejected",
    "images",
    "reports",
    "seconds",
    "images_per_s",
}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "callosum", *map(str, arguments)]


def callosum(*arguments: object, code: int = 0, cwd: Path | None = None, stdin: str = "") -> str:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, cwd=cwd, input=stdin, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code in {0, 7} else done.stderr


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, pydicom_files: Path) -> Path:
    folder = tmp_path_factory.mktemp("scans") / "scans"
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "examples_ybr_color.dcm", "693_J2KI.dcm", "rtplan.dcm"):
        (folder / name).write_bytes((pydicom_files / name).read_bytes())
    (folder / "empty.dcm").touch()
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, scans: Path) -> Path:
    path = tmp_path_factory.mktemp("archive") / "archive"
    callosum("index", path, scans, code=7)
    return path


def test_index_as_json_is_a_contract(tmp_path: Path, scans: Path) -> None:
    rows = lines(callosum("index", tmp_path / "a", scans, "--json", code=7))
    problems, report = rows[:-1], rows[-1]
    assert report["schema"] == "callosum.ingest/1"
    assert set(report) == INGEST_KEYS
    assert all(set(p) == PROBLEM_KEYS and p["schema"] == "callosum.problem/1" for p in problems)
    answers = {p["source"]: p["answer"] for p in problems}
    assert answers["rtplan.dcm"] == "METADATA_ONLY"
    assert answers["empty.dcm"] == "REJECT"
    assert report["accepted"] + report["flagged"] == 4
    again = lines(callosum("index", tmp_path / "a", scans, "--json", code=7))[-1]
    assert (again["accepted"], again["flagged"], again["unchanged"]) == (0, 0, 4)


def test_a_dry_run_leaves_nothing_behind(tmp_path: Path, scans: Path) -> None:
    report = lines(callosum("index", tmp_path / "a", scans, "--dry-run", "--json", code=7))[-1]
    assert report["accepted"] + report["flagged"] == 4
    assert not (tmp_path / "a").exists()


def test_search_by_words(archive: Path) -> None:
    hits = lines(callosum("search", archive, "ultrasound of the heart", "--json", "-k", 3))
    assert hits[0]["source"] == "examples_ybr_color.dcm"
    assert all(set(hit) == HIT_KEYS and hit["schema"] == "callosum.hit/1" for hit in hits)
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert "examples_ybr_color.dcm" in callosum("search", archive, "ultrasound of the heart")


def test_search_by_picture_and_by_record(archive: Path, scans: Path) -> None:
    hits = lines(callosum("search", archive, "--image", scans / "CT_small.dcm", "--json"))
    assert hits[0]["source"] == "CT_small.dcm"
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-4)
    like = lines(callosum("search", archive, "--like", hits[0]["record_id"], "--json"))
    assert len(like) == 3 + 7  # eight frames of one of the four files are rows of their own
    assert hits[0]["record_id"] not in {hit["record_id"] for hit in like}


def test_filters(archive: Path) -> None:
    hits = lines(callosum("search", archive, "anything", "--where", "modality = 'MR'", "--json"))
    assert [hit["modality"] for hit in hits] == ["MR"]
    assert "modality" in callosum("search", archive, "anything", "--where", "nothing = 1", code=2)


def test_show(archive: Path) -> None:
    record_id = lines(callosum("search", archive, "head", "--where", "modality = 'US'", "--json"))[0]["record_id"]
    record = lines(callosum("show", archive, record_id, "--json"))[0]
    assert record["schema"] == "callosum.record/1"
    assert record["modality"] == "US"
    assert record["space"].startswith("starter.")
    assert len(record["source_digest"]) == 64
    assert record["render_recipe"]["decoder"]
    assert record_id in callosum("show", archive, record_id)


def test_classify(scans: Path) -> None:
    labels = ("--label", "ultrasound of the heart", "--label", "CT of the head")
    files = (scans / "examples_ybr_color.dcm", scans / "693_J2KI.dcm")
    echo, head = lines(callosum("classify", *files, *labels, "--json"))
    assert set(echo) == {"schema", "source", "scores", "space"}
    assert echo["scores"]["ultrasound of the heart"] > echo["scores"]["CT of the head"]
    assert head["scores"]["ultrasound of the heart"] < head["scores"]["CT of the head"]
    mixed = lines(callosum("classify", files[0], scans / "empty.dcm", *labels, "--json", code=7))
    assert [row["schema"] for row in mixed] == ["callosum.prediction/1", "callosum.problem/1"]


def test_embed(tmp_path: Path, scans: Path) -> None:
    callosum("embed", "-", "--as", "text", "-o", tmp_path / "t.npz", stdin="a CT of the head\nan x-ray\n")
    callosum("embed", scans / "693_J2KI.dcm", "--as", "image", "-o", tmp_path / "i.parquet")
    texts, images = np.load(tmp_path / "t.npz"), pq.read_table(tmp_path / "i.parquet")
    assert texts["ids"].tolist() == ["a CT of the head", "an x-ray"]
    assert texts["matrix"].dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(texts["matrix"], axis=1), 1, atol=1e-5)
    assert json.loads(str(texts["space"])) == json.loads(images.schema.metadata[b"callosum.space"])
    scores = texts["matrix"] @ np.array(images["vector"][0].as_py(), np.float32)
    assert scores[0] > scores[1]
    assert "UTF-8" in callosum("embed", scans / "CT_small.dcm", "--as", "text", "-o", tmp_path / "x.npz", code=4)
    assert ".npz" in callosum("embed", "-", "--as", "text", "-o", tmp_path / "x.csv", code=2)


def test_a_manifest_over_an_archive_file(tmp_path: Path, shades: Path) -> None:
    with tarfile.open(tmp_path / "pictures.tar.gz", "w:gz") as tar:
        for file in sorted(shades.glob("*.png")):
            tar.add(file, file.name)
    rows = ["path,id,text,modality,label,No Finding,source"]
    rows += [f"pictures.tar.gz:{n}.png,id-{n},a {n} picture,OT,{n},{int(n == 'dark')},site" for n in ("dark", "grey")]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    report = lines(callosum("index", tmp_path / "a", "--manifest", tmp_path / "manifest.csv", "--json"))[-1]
    assert report["accepted"] + report["flagged"] == 2
    where = "`No Finding` = 1 AND label = 'dark' AND attribute_source = 'site'"
    hit = lines(callosum("search", tmp_path / "a", "a dark picture", "--where", where, "--json"))[0]
    assert (hit["record_id"], hit["text"], hit["modality"]) == ("id-dark", "a dark picture", "OT")
    assert hit["attributes"]["label"] == "dark"


def test_an_archive_of_another_space_is_refused(tmp_path: Path, scans: Path) -> None:
    encoder = FakeEncoder()
    made = Archive.create(tmp_path / "a")
    image = Image(pixels=np.zeros((8, 8), np.uint8), unit=PixelUnit.DISPLAY)
    made.add([entry_from_image(image, source="x")], encoder.encode_image([image]))
    assert "fake.v1" in callosum("index", tmp_path / "a", scans, "--model", "starter", code=6)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("search", "nowhere", "text"), 5),
        (("show", "nowhere", "id"), 5),
        (("search", "nowhere"), 2),
        (("index", "nowhere"), 2),
        (("model", "show", "nothing"), 5),
        (("embed",), 2),
        (("no-such-command",), 2),
    ],
)
def test_mistakes_have_their_exit_code(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    message = callosum(*arguments, code=code, cwd=tmp_path)
    assert message
    assert "Traceback" not in message
    assert str(tmp_path) not in message


def test_models_and_doctor() -> None:
    cards = lines(callosum("model", "list", "--json"))
    assert [card["name"].split(".")[0] for card in cards] == ["starter"]
    assert "must not" in callosum("model", "show", "starter").lower()
    assert callosum("model", "verify", "starter")
    assert all(check["is_ok"] for check in lines(callosum("doctor", "--json")))


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for n in range(count):
        PilImage.fromarray(rng.integers(0, 255, (160, 160), dtype=np.uint8)).save(folder / f"{n:04}.png")


def acknowledged(path: Path) -> int:
    try:
        return Archive.open(path).count()
    except Exception:  # the archive is being made by the other process
        return 0


def test_a_killed_run_loses_nothing_acknowledged(tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 1000)
    running = subprocess.Popen(command("index", tmp_path / "a", tmp_path / "many"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (kept := acknowledged(tmp_path / "a")) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    kept = max(kept, acknowledged(tmp_path / "a"))
    assert 0 < kept < 1000, "the run was killed in its middle"
    report = lines(callosum("index", tmp_path / "a", tmp_path / "many", "--resume", "--json"))[-1]
    assert report["unchanged"] == kept
    archive = Archive.open(tmp_path / "a")
    assert archive.count() == 1000
    assert len(np.unique(archive.digests())) == 1000


def test_interrupting_says_how_to_resume(tmp_path: Path) -> None:
    write_pictures(tmp_path / "many", 3000)
    running = subprocess.Popen(
        command("index", tmp_path / "a", tmp_path / "many"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while acknowledged(tmp_path / "a") == 0:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    message = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "--resume" in message
    assert "Traceback" not in message


def test_a_reader_that_leaves_early_does_not_stop_the_run(tmp_path: Path, scans: Path) -> None:
    running = subprocess.Popen(
        command("index", tmp_path / "a", scans, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    running.stdout.close()
    assert "goes on" in running.communicate()[1]
    assert running.returncode == 7
    assert Archive.open(tmp_path / "a").count() == 4 + 7


def test_no_message_repeats_a_path(tmp_path: Path) -> None:
    patient = tmp_path / "DOE^JANE"
    for arguments, code in {
        ("index", tmp_path / "a", patient): 4,
        ("search", tmp_path, "--image", patient): 5,
        ("classify", patient, "--label", "x", "--label", "y"): 7,
        ("show", patient, "x"): 5,
        ("index", tmp_path / "a", "--manifest", patient): 4,
    }.items():
        done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert "DOE" not in done.stderr


def test_an_unforeseen_error_says_its_kind_only(tmp_path: Path) -> None:
    code = (
        "import sys, callosum.service.service as s; sys.argv = ['callosum', 'search', 'x', 'y']\n"
        "def broken(*_): raise RuntimeError('Jane Doe')\n"
        "s.Service.search = broken\n"
        "from callosum.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError" in done.stderr
    assert "Jane" not in done.stderr
