"""The bars of extraction on the data packs, where they are; see `benchmarks/extract.py` for all figures."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.extract import measure_probes, ratios
from benchmarks.extract_gold import Placed, read_context, read_negex, read_probes
from callosum.core.finding import Presence, Temporality
from callosum.knowledge import assess

DATA = Path(os.environ.get("CALLOSUM_DATA", ""))
pytestmark = pytest.mark.skipif(
    not (DATA / "negation_findings").is_dir(), reason="CALLOSUM_DATA names no folder with the pack negation_findings"
)


def f1(rows: list[Placed], gold: str, said: list[bool]) -> float:
    return ratios(np.array([row.gold == gold for row in rows]), np.array(said))[2]


def test_probes() -> None:
    figures, phenomena = measure_probes(read_probes(DATA))
    assert len(phenomena) >= 10
    assert [figure.name for figure in figures if figure.met is False] == []


@pytest.mark.parametrize("split", ["train", "val"])
def test_denials_in_clinical_prose(split: str) -> None:
    rows = [row for row in read_negex(DATA) if row.split == split]
    said = [assess(row.sentence, row.start, row.end).presence is Presence.ABSENT for row in rows]
    assert f1(rows, "Negated", said) >= 0.95


@pytest.mark.parametrize("split", ["train", "val"])
def test_history_in_clinical_prose(split: str) -> None:
    rows = [row for row in read_context(DATA) if row.split == split]
    said = [assess(row.sentence, row.start, row.end).temporality is Temporality.HISTORICAL for row in rows]
    assert f1(rows, "Historical", said) >= 0.70
