"""A content on which a reading process was lost is tried once in a run, whatever it is called."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from callosum.core.record import Answer
from callosum.data.sources import Source
from callosum.service.outcome import Job, Readied, Unreadable
from callosum.service.workers import Workers, WorkersConfig
from tests.fakes import Killer

JOB = Job(preprocess=None, known=np.empty(0, dtype="S32"), key=b"")


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_killer_is_tried_once(tmp_path: Path, num_workers: int) -> None:
    tries, good = tmp_path / "tries", tmp_path / "good.png"
    Pil.new("L", (8, 8), 9).save(good)
    killers = [Killer(name=f"{n}.png", shade=n % 2, tries=tries) for n in range(10)]
    sources = [*killers, *(Source(name=f"good {n}", location=good) for n in range(3))]
    with Workers(JOB, WorkersConfig(num_workers=num_workers)) as workers:
        outcomes = list(workers.results(sources))  # type: ignore[arg-type]
    lost = [outcome for outcome in outcomes if isinstance(outcome, Unreadable)]
    assert len(lost) == 10
    assert {(each.answer, each.code) for each in lost} == {(Answer.QUARANTINE, "DECODER_CRASHED")}
    assert len({each.source_digest for each in lost}) == 2
    assert sum(isinstance(outcome, Readied) for outcome in outcomes) == 3
    tried = tries.read_text().split()
    assert set(tried) == {"0", "1"}
    assert len(tried) <= 2 * num_workers, "two processes may be at the same content at once; nobody comes back to it"
