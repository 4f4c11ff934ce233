"""A decoder that crashes, hangs, panics, eats memory or turns against its caller costs one question."""

import contextlib
import dataclasses
import datetime
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import callosum
from callosum.core.errors import CallosumError, MissingDependency, Refused, UsageError
from callosum.data.channel import Channel
from callosum.data.jail import Jail, JailConfig, confinement
from callosum.data.plain import NotData
from callosum.data.poison import PoisonList
from callosum.data.read import JailedReader
from callosum.data.read import read as read_jailed
from callosum.data.readers import read as read_here
from callosum.data.readers.refusal import Reason, quarantine

TRAPS = "tests.unit.data.traps:answer_traps"
CONFIG = JailConfig(timeout_s=5, cpu_s=5, memory_bytes=512 << 20, written_bytes=1 << 20)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


@pytest.fixture(scope="module")
def warm() -> Iterator[Jail]:
    """One process for the questions that do not end it."""
    jail = Jail(TRAPS, {"given": 1}, config=CONFIG)
    yield jail
    jail.stop()


@pytest.fixture
def jail() -> Iterator[Jail]:
    jail = Jail(TRAPS, config=CONFIG)
    yield jail
    jail.stop()


def answer(jail: Jail, *question: object) -> Refused:
    with pytest.raises(Refused) as caught:
        jail.call(question)
    return caught.value


def test_values_come_back_as_they_went(warm: Jail) -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4)
    values = (1, "two", None, {"three": [4.0, b"5"]}, Path("six"), np.float32(7), frozenset({8}), when, when.date())
    values = (*values, Reason.TIMEOUT, CONFIG, True)
    assert warm.call(("echo", values)) == values
    for array in (
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.ones((2, 3)).T,
        np.array(["a", "bc"]),
        np.array(5),
        np.zeros((0, 3), np.int16),
        np.ones(3 << 20, np.uint8),
    ):
        back = warm.call(("echo", array))
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)
        back[...] = 0  # it is the caller's own
    assert warm.call(("argument", None)) == {"given": 1}


def test_errors_come_back_as_errors(warm: Jail) -> None:
    with pytest.raises(UsageError, match="no such frame"):
        warm.call(("usage", "no such frame"))
    refused = answer(warm, "panic", "Jane Doe")
    assert (refused.answer, refused.reason) == ("QUARANTINE", "UNEXPECTED_ERROR")
    assert "Jane" not in str(refused)
    assert warm.is_alive


def test_memory_is_bounded(warm: Jail) -> None:
    assert warm.call(("eat", 100 << 20)) == 100 << 20
    refused = answer(warm, "eat", 600 << 20)
    assert (refused.answer, refused.reason) == ("REJECT", "OUT_OF_MEMORY")
    assert warm.call(("echo", 1)) == 1


@LINUX
def test_there_is_no_network(warm: Jail) -> None:
    measures = {measure.name: measure for measure in warm.measures}
    if not measures["network"].is_applied:
        pytest.skip(measures["network"].detail)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert warm.call(("network", server.getsockname()[1])) is False


def test_it_writes_no_core_and_no_large_file(warm: Jail, tmp_path: Path) -> None:
    assert warm.call(("core", None)) == (0, 0)
    assert warm.call(("write", str(tmp_path / "large"))) <= CONFIG.written_bytes


def test_an_interrupt_is_for_the_caller(warm: Jail) -> None:
    assert warm.call(("interrupted", None)) == "still here"


@pytest.mark.parametrize("question", [("crash", signal.SIGSEGV), ("crash", signal.SIGKILL), ("abort", None)])
def test_a_crash_is_an_answer(jail: Jail, question: tuple[str, object]) -> None:
    refused = answer(jail, *question)
    assert (refused.answer, refused.reason) == ("QUARANTINE", "DECODER_CRASHED")
    assert not jail.is_alive
    assert jail.was_killed == (question[1] == signal.SIGKILL)


def test_a_hang_is_stopped() -> None:
    jail = Jail(TRAPS, config=dataclasses.replace(CONFIG, timeout_s=0.5))
    began = time.monotonic()
    refused = answer(jail, "hang", None)
    assert time.monotonic() - began < 3
    assert (refused.answer, refused.reason) == ("QUARANTINE", "TIMEOUT")
    assert not jail.is_alive
    assert not jail.was_killed
    jail.stop()


@LINUX
def test_a_process_that_spins_ends_itself() -> None:
    jail = Jail(TRAPS, config=dataclasses.replace(CONFIG, timeout_s=60, cpu_s=0.5))
    assert answer(jail, "spin", None).reason == "TIMEOUT"
    jail.stop()


def test_what_comes_back_is_data(jail: Jail) -> None:
    assert answer(jail, "evil", None).reason == "DECODER_CRASHED"
    assert not jail.is_alive, "a process that sends a program is not asked again"


def test_a_call_that_is_interrupted_leaves_no_answer_behind(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jail, "receive", lambda: interrupted(None))
    with pytest.raises(KeyboardInterrupt):
        jail.call(("echo", 1))
    assert not jail.is_alive


@pytest.mark.parametrize("entry", ["tests.unit.data.traps:nothing", "no.such.module:at_all"])
def test_a_jail_that_cannot_start_is_an_error_not_an_answer(entry: str) -> None:
    with pytest.raises(MissingDependency, match="could not start"):
        Jail(entry)


def test_confinement_says_what_was_applied() -> None:
    measures = {measure.name: measure for measure in confinement(CONFIG)}
    assert {"memory", "core dumps", "files written", "open files", "time", "network"} <= set(measures)
    assert measures["core dumps"].is_applied
    assert "512 MiB" in measures["memory"].detail


def test_a_poison_list_is_seen_by_all_that_share_it() -> None:
    poison = PoisonList()
    jails = [Jail(TRAPS, config=CONFIG, poison=poison) for _ in range(2)]
    lost = quarantine(Reason.TIMEOUT, "Reading took longer than 5 seconds and was stopped.")
    for jail in jails:
        assert jail.call(("poisoned", "aa")) is None
    poison.add("aa", lost)
    poison.add("bb", lost)
    for jail in jails:
        refused = answer(jail, "poisoned", "aa")
        assert (refused.answer, refused.reason, refused.sentence) == (lost.answer, lost.reason, lost.sentence)
        assert jail.call(("poisoned", "cc")) is None
        jail.stop()


def pair(*, max_bytes: int = 1 << 20) -> tuple[Channel, Channel, socket.socket]:
    here, there = socket.socketpair()
    return (
        Channel(here, max_bytes=max_bytes, is_trusted=False),
        Channel(there, max_bytes=max_bytes, is_trusted=True),
        there,
    )


@pytest.mark.parametrize(
    "value", [os.system, print, subprocess.Popen, Jail, CallosumError.__init__, read_here, np.load], ids=repr
)
def test_only_values_are_built(value: object) -> None:
    here, there, end = pair()
    with pytest.raises(NotData):
        there.send(value)
    end.sendall(framed(pickle.dumps(value)))
    with pytest.raises(NotData):
        here.receive(1)
    here.close()
    there.close()


def framed(message: bytes, *arrays: bytes) -> bytes:
    parts = (message, *arrays)
    return struct.pack(f"={len(parts) + 1}Q", len(parts), *map(len, parts)) + b"".join(parts)


@pytest.mark.parametrize(
    "tree",
    [
        ["array", False, "|O", [1], "C", 0],
        ["array", False, "V8", [1], "C", 0],
        ["array", False, "<f8", [2], "C", 0],
        ["array", False, "<f8", [1], "C", 1],
        ["data", "subprocess", "Popen"],
        ["data", "callosum.data.jail", "Jail"],
        ["data", "callosum.data.jail", "JailConfig", "timeout_s", 0.0],
        ["data", "callosum.data.jail", "JailConfig.__init__"],
        ["choice", "callosum.core.record", "Image", 1],
        ["error", "callosum.core.record", "Image", "", ""],
        ["no such kind"],
        [],
        {},
    ],
    ids=str,
)
def test_a_tree_that_describes_no_value_is_refused(tree: object) -> None:
    here, there, end = pair()
    end.sendall(framed(pickle.dumps(tree), bytes(8)))
    with pytest.raises(NotData):
        here.receive(1)
    here.close()
    there.close()


def test_a_message_changes_no_class() -> None:
    """A pickle that names a class can set what that class has: its attributes, its methods."""
    names = [name.encode() for name in ("callosum.data.jail", "JailConfig", "timeout_s", "owned")]
    module, name, attribute, value = (b"\x8c" + bytes([len(each)]) + each for each in names)
    here, there, end = pair()
    end.sendall(framed(b"\x80\x05" + module + name + b"\x93N}" + attribute + value + b"s\x86b."))
    with pytest.raises(NotData):
        here.receive(1)
    assert JailConfig.timeout_s == 60.0
    here.close()
    there.close()


def test_modules_are_not_taken_from_the_current_folder(
    tmp_path: Path, pydicom_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ctypes.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    with contextlib.closing(JailedReader(CONFIG)) as reader:
        assert reader.read(pydicom_files / "CT_small.dcm").pixels.shape == (128, 128)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "raw", [bytes(8), b"\xff" * 8, b"\1" + bytes(7) + b"\xff" * 8, b"\1" + bytes(7) + b"\2" + bytes(7) + b"xx"]
)
def test_a_message_that_is_none_is_refused(raw: bytes) -> None:
    here, there, end = pair()
    end.sendall(raw)
    with pytest.raises(NotData):
        here.receive(1)
    here.close()
    there.close()


def test_a_silent_end_and_a_closed_one() -> None:
    here, there, end = pair()
    with pytest.raises(TimeoutError):
        here.receive(0.05)
    end.sendall(b"\1" + bytes(7))
    there.close()
    with pytest.raises(EOFError):
        here.receive(1)
    here.close()


def test_reading_in_a_jail_is_reading(pydicom_files: Path) -> None:
    for name in ("CT_small.dcm", "examples_rgb_color.dcm"):
        jailed, here = callosum.read(pydicom_files / name), read_here(pydicom_files / name)
        assert np.array_equal(jailed.pixels, here.pixels)
        for field in ("unit", "window", "inverted", "attributes", "identifiers", "flags", "source_digest", "decoder"):
            assert getattr(jailed, field) == getattr(here, field), field
        assert np.array_equal(jailed.display(), here.display())
        assert np.array_equal(read_jailed(pydicom_files / name, jail=False).pixels, here.pixels)


def test_a_reader_survives_what_it_reads(pydicom_files: Path, tmp_path: Path) -> None:
    (tmp_path / "page.dcm").write_text("<html>")
    reader = JailedReader(CONFIG)
    with pytest.raises(Refused, match="NOT_AN_IMAGE"):
        reader.read(tmp_path / "page.dcm")
    with pytest.raises(UsageError, match="Frame 9"):
        reader.read(pydicom_files / "CT_small.dcm", frame=9)
    with pytest.raises(Refused, match="UNREADABLE"):
        reader.read("zero\0byte")
    first = reader._jail
    assert first is not None
    first.kill()
    reader.read(pydicom_files / "CT_small.dcm")
    assert reader._jail is not first
    reader.close()


def test_a_content_on_which_a_process_was_lost_is_tried_once(pydicom_files: Path, tmp_path: Path) -> None:
    path = pydicom_files / "CT_small.dcm"
    (tmp_path / "copy").write_bytes(path.read_bytes())
    reader = JailedReader(dataclasses.replace(CONFIG, timeout_s=30))
    reader.read(pydicom_files / "MR_small.dcm")
    assert reader._jail is not None
    pid = reader._jail._process.pid
    reader._jail.config = dataclasses.replace(CONFIG, timeout_s=0.0)
    with pytest.raises(Refused, match="TIMEOUT"):
        reader.read(path)
    with pytest.raises(Refused, match="TIMEOUT"):  # at once, by a new process
        reader.read(tmp_path / "copy")
    assert reader._jail._process.pid != pid
    assert reader._jail.is_alive
    reader.close()


def test_a_reader_is_shared_by_threads_and_not_by_forks(pydicom_files: Path) -> None:
    means: list[float] = []
    path = pydicom_files / "MR_small.dcm"
    readers = [threading.Thread(target=lambda: means.append(callosum.read(path).pixels.mean())) for _ in range(4)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert len(set(means)) == 1
    assert len(means) == 4
    code = (
        "import os, callosum\n"
        f"path = {str(path)!r}\n"
        "mean = callosum.read(path).pixels.mean()\n"
        "child = os.fork()\n"
        "assert callosum.read(path).pixels.mean() == mean\n"
        "if child:\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    assert callosum.read(path).pixels.mean() == mean\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
