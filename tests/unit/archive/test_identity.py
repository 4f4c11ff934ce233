"""Failures 31 to 33: the same instance again, another picture under its UID, series and patients in two places."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callosum.archive.archive import Archive
from callosum.archive.entry import Entry, Stored, entry_from_image, part_of
from callosum.archive.identity import Known, sort_out
from callosum.core.digest import digest_json
from callosum.core.record import Image, PixelUnit
from tests.fakes import FakeEncoder

NEW, SAME, TAKEN = Stored.NEW, Stored.SAME, Stored.CONFLICT
UID, HIERARCHY = Stored.UID_CONFLICT, Stored.HIERARCHY_CONFLICT


def picture(file: str, *, level: int = 0, part: dict[str, object] | None = None, **ids: str) -> Image:
    return Image(
        pixels=np.full((8, 8), level, np.uint8),
        unit=PixelUnit.DISPLAY,
        attributes=part or {},  # type: ignore[arg-type]
        identifiers=ids,
        source_digest=file,
    )


def entry(file: str, *, record_id: str = "", is_first: bool = True, **fields: object) -> Entry:
    image = picture(file, **fields)  # type: ignore[arg-type]
    return entry_from_image(image, source=f"{file}.dcm", record_id=record_id, is_first=is_first)


def frames(file: str, numbers: list[int], **ids: str) -> list[Entry]:
    return [entry(file, part={"frame": n, "num_frames": 9}, level=n, **ids) for n in numbers]


CASES: list[tuple[str, list[Entry], list[Stored]]] = [
    ("the same file twice", [entry("a"), entry("a")], [NEW, SAME]),
    ("frames of one file", [*frames("a", [1, 5]), *frames("a", [5])], [NEW, NEW, SAME]),
    ("a lossless copy", [entry("a", instance_uid="1"), entry("b", instance_uid="1")], [NEW, SAME]),
    ("another picture", [entry("a", instance_uid="1"), entry("b", level=9, instance_uid="1")], [NEW, UID]),
    (
        "one frame contradicts: the file is refused whole",
        [*frames("a", [1], instance_uid="1"), *(replace(e, picture_digest="x") for e in frames("b", [1, 2]))],
        [NEW, NEW, NEW],
    ),
    (
        "one frame contradicts under the same UID",
        [
            *frames("a", [1], instance_uid="1"),
            *(replace(e, picture_digest="x") for e in frames("b", [1, 2], instance_uid="1")),
        ],
        [NEW, UID, UID],
    ),
    (
        "other frames of the same instance",
        [*frames("a", [1], instance_uid="1"), *frames("b", [2], instance_uid="1")],
        [NEW, NEW],
    ),
    (
        "a series in two studies",
        [entry("a", series_uid="s", study_uid="1"), entry("b", series_uid="s", study_uid="2")],
        [NEW, HIERARCHY],
    ),
    (
        "two patients in a study",
        [entry("a", study_uid="1", patient_id="p"), entry("b", study_uid="1", patient_id="q")],
        [NEW, HIERARCHY],
    ),
    (
        "a patient that is not told",
        [
            entry("a", study_uid="1", patient_id="p"),
            entry("b", study_uid="1"),
            entry("c", study_uid="1", series_uid="s"),
        ],
        [NEW, NEW, NEW],
    ),
    (
        "what is refused teaches nothing",
        [
            entry("a", study_uid="1", patient_id="p"),
            entry("b", study_uid="1", patient_id="q", series_uid="s"),
            entry("c", study_uid="2", patient_id="q", series_uid="s"),
        ],
        [NEW, HIERARCHY, NEW],
    ),
    ("a taken id", [entry("a", record_id="x"), entry("b", record_id="x")], [NEW, TAKEN]),
    ("the same content under another id", [entry("a", record_id="x"), entry("a", record_id="y")], [NEW, SAME]),
    (
        "an id for each part",
        [
            entry("a", record_id="x", part={"slice": 1, "plane": "axial"}),
            entry("a", record_id="x", is_first=False, part={"slice": 2, "plane": "axial"}),
        ],
        [NEW, NEW],
    ),
]


@pytest.mark.parametrize(("entries", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_within_a_batch(entries: list[Entry], expected: list[Stored]) -> None:
    assert sort_out(None, entries) == expected


@pytest.mark.parametrize(("entries", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_against_the_archive(
    entries: list[Entry], expected: list[Stored], tmp_path: Path, encoder: FakeEncoder
) -> None:
    """The first file is in the archive, with hashed ids; the others come one batch later."""
    archive = Archive.create(tmp_path / "a")
    hashed = [each.pseudonymous(archive.key) for each in entries]
    num_first = sum(1 for each in entries if each.source_digest == entries[0].source_digest)
    num_first = num_first if len({e.source_digest for e in entries}) > 1 else 1
    rows = encoder.encode_image([np.zeros((8, 8), np.uint8)] * len(entries))
    for some, wanted in ((slice(0, num_first), expected[:num_first]), (slice(num_first, None), expected[num_first:])):
        vectors = replace(rows, matrix=rows.matrix[some], ids=())
        assert [added.stored for added in archive.add(hashed[some], vectors)] == wanted
    assert archive.count() == expected.count(NEW)


def test_the_whole_file_answer_does_not_depend_on_the_order_of_its_parts() -> None:
    first = entry("a", part={"frame": 2}, level=2, instance_uid="1")
    later = frames("b", [1, 3], instance_uid="1")
    later.insert(1, replace(entry("b", part={"frame": 2}, instance_uid="1"), picture_digest="x"))
    assert sort_out(None, [first, *later]) == [NEW, UID, UID, UID]
    assert sort_out(None, [first, *reversed(later)]) == [NEW, UID, UID, UID]


def test_a_run_that_writes_nothing_remembers_its_batches() -> None:
    known = Known()
    assert sort_out(None, [entry("a", study_uid="1", patient_id="p")], beside=known) == [NEW]
    assert sort_out(None, [entry("a"), entry("b", study_uid="1", patient_id="q")], beside=known) == [SAME, HIERARCHY]


def test_parts_and_their_ids() -> None:
    assert part_of({"rows": 3}) == ""
    assert part_of({"num_frames": 9, "frame": 3}) == "frame=3"
    assert part_of({"plane": "axial", "slice": 12, "num_slices": 40}) == "slice=12,plane=axial"
    assert part_of({"tile_um": 128.0, "tile_x": 0, "tile_y": 512}) == "tile_x=0,tile_y=512,tile_um=128.0"
    assert part_of({"frame": 0, "num_frames": 1}) == ""
    of_earlier = {"frame": 3, "num_frames": 9}, {"frame": 0, "num_frames": 1}, {}
    for attributes, number in zip(of_earlier, (3, 0, None), strict=True):
        assert entry("d", part=attributes).record_id == digest_json(["d", number])[:16], "as in earlier archives"
    parts = [{"slice": 3}, {"slice": 3, "plane": "axial"}, {"slice": 3, "volume": 1}, {"tile_x": 3, "tile_y": 0}]
    assert len({entry("d", part=part).record_id for part in (*of_earlier, *parts)}) == 7
    assert entry("a", record_id="x", part={"frame": 3}).record_id == "x"
    assert entry("a", record_id="x", is_first=False, part={"frame": 3}).record_id == "x#frame=3"


def test_ids_are_hashed_and_only_instances_have_a_picture_digest(tmp_path: Path) -> None:
    uids = {name: f"{name} of Jane" for name in ("patient_id", "study_uid", "series_uid", "instance_uid", "accession")}
    plain = entry("a", **uids)  # type: ignore[arg-type]
    assert plain.picture_digest is not None
    assert entry("a").picture_digest is None
    assert "Jane" not in repr(plain.pseudonymous(b"key"))
    assert plain.pseudonymous(b"key").accession_id == plain.pseudonymous(b"key").accession_id != plain.accession_id
