"""An archive of the format before studies and parts had columns is read and continued."""

import json
from dataclasses import replace
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from filelock import FileLock

from callosum.archive.archive import CARD, Archive
from callosum.archive.card import EARLIER_FORMATS, FORMAT
from callosum.archive.entry import Stored, entry_from_image
from callosum.archive.levels import Level
from callosum.archive.reports import ReportEntry
from callosum.archive.schema import FINDING_COLUMNS, NEW_COLUMNS
from callosum.archive.store import LOCK
from callosum.core.digest import digest_json
from callosum.core.embedding import Embedding
from callosum.core.record import Image, PixelUnit
from tests.fakes import DIM, FakeEncoder

TEXT = "record_id source source_digest space modality body_part text patient_id study_id split render_recipe".split()


def grey(level: int, **fields: object) -> Image:
    return Image(
        pixels=np.full((8, 8), level, np.uint8), unit=PixelUnit.DISPLAY, source_digest=f"file {level}", **fields
    )  # type: ignore[arg-type]


@pytest.fixture
def earlier(tmp_path: Path, encoder: FakeEncoder) -> Path:
    """What the version before wrote, with attributes that have the names of new columns."""
    path = tmp_path / "a"
    path.mkdir()
    card = {"format": EARLIER_FORMATS[0], "key": "00" * 32, "space": encoder.space.to_json()}
    (path / CARD).write_text(json.dumps(card))
    vector = pa.list_(pa.float32(), DIM)
    fields = [pa.field(name, pa.string()) for name in TEXT]
    fields += [pa.field("flags", pa.list_(pa.string())), pa.field("thumbnail", pa.binary())]
    fields += [pa.field("vector", vector), pa.field("text_vector", vector)]
    fields += [pa.field("frame", pa.float64()), pa.field("series_id", pa.float64()), pa.field("part", pa.string())]
    rows = [
        {
            **dict.fromkeys(TEXT),
            "record_id": digest_json([f"file {level}", frame])[:16],
            "source": f"{level}.dcm",
            "source_digest": f"file {level}",
            "render_recipe": "{}",
            "study_id": "1",
            "flags": [],
            "thumbnail": b"",
            "vector": encoder.encode_image([grey(level)]).matrix[0],
            "frame": frame,
            "series_id": 7.0,
            "part": "upper",
        }
        for level, frame in ((0, None), (255, 3))
    ]
    table = lancedb.connect(path).create_table("images", schema=pa.schema(fields))
    table.add(pa.Table.from_pylist(rows, schema=pa.schema(fields)))
    return path


def test_it_is_read_and_continued(earlier: Path, encoder: FakeEncoder) -> None:
    archive = Archive.open(earlier)
    assert json.loads((earlier / CARD).read_text())["format"] == FORMAT
    black = archive.search(encoder.encode_text(["black"]), k=1)[0]
    assert (black.source, black.part) == ("0.dcm", "")
    assert black.attributes == {"series_id": 7, "part": "upper"}, "attributes keep their names in answers"
    assert archive.count(where="attribute_series_id = 7") == 2
    again = [grey(0), grey(255, attributes={"frame": 3}), grey(9, identifiers={"series_uid": "x"})]
    entries = [entry_from_image(image, source="again", study_id="1") for image in again]
    stored = [added.stored for added in archive.add(entries, encoder.encode_image(again))]
    assert stored == [Stored.SAME, Stored.SAME, Stored.NEW]
    [report] = [ReportEntry(text="dark", searchable="dark", source_digest="r", study_id="1")]
    assert archive.attach([report], encoder.encode_text(["dark"])) == [Stored.NEW]
    assert archive.count(where="text = 'dark'") == 3
    archive.refresh_groups()
    assert archive.groups(Level.STUDY).count(["1"], where=None) == {"1": 3}
    assert Archive.open(earlier).count() == 3


@pytest.mark.parametrize("step", ["lancedb.table.LanceTable.add_columns", "callosum.archive.store.write_card"])
def test_an_interrupted_upgrade_is_taken_up(
    earlier: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Archive.open(earlier)
    assert json.loads((earlier / CARD).read_text())["format"] == EARLIER_FORMATS[0]
    archive = Archive.open(earlier)
    assert archive.search(encoder.encode_text(["black"]), k=1)[0].attributes == {"series_id": 7, "part": "upper"}
    assert set(NEW_COLUMNS) < set(archive._store.table("images").schema.names)  # type: ignore[union-attr]


def test_an_empty_one_too(tmp_path: Path) -> None:
    (tmp_path / CARD).write_text(json.dumps({"format": EARLIER_FORMATS[0], "key": "00" * 32}))
    assert Archive.open(tmp_path).count() == 0
    assert json.loads((tmp_path / CARD).read_text())["format"] == FORMAT


@pytest.fixture
def second(tmp_path: Path, encoder: FakeEncoder) -> Path:
    """What the version wrote that knew no findings, with an attribute of that name."""
    path = tmp_path / "b"
    archive = Archive.create(path, space=encoder.space)
    entry = replace(entry_from_image(grey(0), source="0.dcm", study_id="1"), attributes={"x": "none seen"})
    archive.add([entry], encoder.encode_image([grey(0)]))
    archive.attach([ReportEntry(text="d", searchable="d", source_digest="r", study_id="1")], dark(encoder))
    database = lancedb.connect(path)
    for name in ("images", "reports"):
        database.open_table(name).drop_columns(list(FINDING_COLUMNS))
    database.open_table("images").alter_columns({"path": "x", "rename": "findings"})
    card = json.loads((path / CARD).read_text())
    (path / CARD).write_text(json.dumps({**card, "format": EARLIER_FORMATS[1]}))
    return path


def dark(encoder: FakeEncoder) -> Embedding:
    return encoder.encode_text(["dark"])


def test_findings_come_to_the_second_format(second: Path, encoder: FakeEncoder) -> None:
    archive = Archive.open(second)
    [hit] = archive.search(encoder.encode_text(["black"]), k=1)
    assert (hit.findings, hit.attributes) == ((), {"findings": "none seen"})
    entry = replace(entry_from_image(grey(9), source="9.dcm", study_id="2"), findings=("pneumothorax",))
    archive.add([entry], encoder.encode_image([grey(9)]))
    assert archive.count(where="array_has(findings, 'pneumothorax')") == 1
    assert archive.count(where="findings IS NULL") == 1
    said = ReportEntry(text="wet", searchable="wet", source_digest="s", study_id="1", findings=("edema",))
    archive.attach([said], dark(encoder))
    assert archive.count(where="array_has(findings, 'edema')") == 1
    assert archive.reports(study_id="1")[-1]["findings"] == ["edema"]


def test_the_second_format_is_read_while_another_process_writes(second: Path, encoder: FakeEncoder) -> None:
    with FileLock(second / LOCK):
        archive = Archive.open(second)
        assert len(archive.search(encoder.encode_text(["black"]), k=5)) == 1
        assert json.loads((second / CARD).read_text())["format"] == EARLIER_FORMATS[1]
    entry = replace(entry_from_image(grey(9), source="9.dcm"), findings=("pneumothorax",))
    archive.add([entry], encoder.encode_image([grey(9)]))
    assert archive.count(where="array_has(findings, 'pneumothorax')") == 1, "who writes brings it to this format first"
