"""Every file of the zoos gets an answer from the reading processes, and none is lost on the way."""

import tarfile
from collections import Counter
from pathlib import Path

import pytest

from callosum.core.record import Answer
from callosum.data.sources import iter_sources
from callosum.service.ingest import inspect

ZOOS = {"dicom_zoo": "dicom.tar.gz", "image_zoo": "files.tar.gz"}


@pytest.mark.parametrize("zoo", ZOOS)
def test_every_file_has_an_answer(zoo: str, data_root: Path, tmp_path: Path) -> None:
    with tarfile.open(data_root / zoo / ZOOS[zoo]) as tar:
        tar.extractall(tmp_path, filter="data")
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    report = inspect(iter_sources([tmp_path]))
    assert report.num_files == len(files)
    assert report.accepted + report.flagged >= 34
    answers = Counter(problem.answer for problem in report.problems)
    assert answers[Answer.REJECT] == report.rejected
    assert answers[Answer.METADATA_ONLY] == report.metadata_only
    assert not {"DECODER_CRASHED", "TIMEOUT", "UNEXPECTED_ERROR"} & {problem.code for problem in report.problems}
    for problem in report.problems:
        assert problem.code and problem.sentence.endswith(".")
        assert Path(problem.source).name not in problem.sentence
