"""What runs in a reading process: a `Source` comes in, pictures ready for the encoder or an answer go out.

The process is a `Jail`: a program of its own, so that a decoder that crashes or hangs takes nothing else with it, and
so that it never sees the caller's main module, the model's weights or torch.
"""

from __future__ import annotations

from collections.abc import Callable

from callosum.data.poison import PoisonList
from callosum.data.sources import Source
from callosum.service.outcome import Job, Outcome
from callosum.service.prepare import prepare

ENTRY = "callosum.service.worker:answer_sources"


def answer_sources(job: Job, poison: PoisonList) -> Callable[[Source], Outcome]:
    """What a `Jail` asks for each source."""
    return lambda source: prepare(source, job, poison)
