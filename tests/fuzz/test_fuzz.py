"""Thousands of damaged files, read in a jail: each ends in an answer that was foreseen, soon, in bounded memory.

A few hundred are tried with every run of the tests; `make fuzz MINUTES=10` tries as many as there is time for, keeps
those that ended badly in `build/fuzz`, and prints how the others ended.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from callosum.core.errors import Refused
from callosum.data.jail import Jail, JailConfig
from tests.fuzz.mutations import Damaged, damaged

MINUTES = float(os.environ.get("CALLOSUM_FUZZ_MINUTES", "0"))
FOLDER = Path(__file__).parents[2] / "build" / "fuzz"
CONFIG = JailConfig(timeout_s=20, memory_bytes=4 << 30)
MAX_RSS_KIB = 3 << 20
QUIETLY = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
LOST = ("DECODER_CRASHED", "TIMEOUT")


class Fuzz:
    """One jail at a time, and how every file ended."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()
        self.slowest = 0.0
        self.most_kib = 0
        self._jail: Jail | None = None

    def try_one(self, name: str, data: bytes) -> None:
        """Fail on an ending that was not foreseen; a lost process is an answer, and is counted."""
        if self._jail is None or not self._jail.is_alive:
            self.close()
            self._jail = Jail("tests.fuzz.reading:answer_bytes", config=CONFIG)
        began = time.monotonic()
        try:
            ending, _, kib = self._jail.call(data)
        except Refused as refused:
            ending, kib = f"{refused.answer} {refused.reason}", 0
            if refused.reason not in LOST and "OUT_OF_MEMORY" not in refused.reason:
                self.keep(name, data, refused.sentence)
                raise AssertionError(f"{name}: {refused.sentence}") from refused
            self.keep(name, data, refused.sentence)
        took = time.monotonic() - began
        self.endings[ending] += 1
        self.slowest = max(self.slowest, took)
        self.most_kib = max(self.most_kib, kib)
        assert took < CONFIG.timeout_s + 5
        assert kib < MAX_RSS_KIB

    def keep(self, name: str, data: bytes, why: str) -> None:
        """Keep a file that ended badly, when there is somebody to look at it."""
        if MINUTES:
            FOLDER.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(data).hexdigest()[:16]
            (FOLDER / digest).write_bytes(data)
            with (FOLDER / "endings.txt").open("a") as stream:
                stream.write(f"{digest} {name}: {why}\n")

    def close(self) -> None:
        if self._jail is not None:
            self._jail.stop()


@pytest.fixture(scope="module")
def fuzz() -> Iterator[Fuzz]:
    fuzz = Fuzz()
    yield fuzz
    fuzz.close()


@settings(max_examples=250, **QUIETLY)
@given(file=damaged())
def test_damaged_files_end_in_an_answer(fuzz: Fuzz, file: Damaged) -> None:
    fuzz.try_one(file.name, file.data)


@pytest.mark.skipif(not MINUTES, reason="long: run make fuzz")
def test_as_many_as_there_is_time_for(fuzz: Fuzz) -> None:
    end = time.monotonic() + 60 * MINUTES
    number = int(os.environ.get("CALLOSUM_FUZZ_SEED", "0"))
    while time.monotonic() < end:

        @seed(number)
        @settings(max_examples=500, phases=[Phase.generate], **QUIETLY)
        @given(file=damaged())
        def some(file: Damaged) -> None:
            fuzz.try_one(file.name, file.data)

        some()
        number += 1
    print(f"\n{sum(fuzz.endings.values())} files, the slowest {fuzz.slowest:.1f} s, at most {fuzz.most_kib >> 10} MiB")
    for ending, count in fuzz.endings.most_common():
        print(f"{count:7} {ending}")
