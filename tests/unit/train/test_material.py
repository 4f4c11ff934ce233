import csv
import json
from pathlib import Path

import numpy as np
import pytest

from callosum.core.errors import InputError, IntegrityError, UsageError
from callosum.core.finding import Presence
from callosum.train.labels import LabelTable, merge, presence_of
from callosum.train.material import read_material
from callosum.train.supply import Kind, Side, Supply
from tests.unit.train.films import (
    CONCEPTS,
    image_manifest,
    labels,
    pair_manifest,
    same_columns,
    text_manifest,
    write_manifest,
)


def _supply(manifest: Path, kind: Kind, **settings: object) -> Supply:
    return Supply(manifest=manifest, kind=kind, **{"labels": same_columns(), **settings})  # type: ignore[arg-type]


def _texts(folder: Path, rows: list[dict[str, object]]) -> Supply:
    return Supply(manifest=write_manifest(folder / "t.csv", rows), kind=Kind.TEXTS)


def test_three_kinds_carry_labels_over_one_list(tmp_path: Path) -> None:
    material = read_material(
        [
            _supply(image_manifest(tmp_path, 4), Kind.IMAGES),
            _supply(text_manifest(tmp_path, 5), Kind.TEXTS, labels={"Effusion": "Effusion"}),
            _supply(pair_manifest(tmp_path, 3), Kind.PAIRS),
        ]
    )
    assert material.concepts == CONCEPTS
    assert [len(pool.image_rows) for pool in material.pools] == [4, 0, 3]
    assert [len(pool.text_rows) for pool in material.pools] == [0, 5, 3]
    assert [len(pool.pair_rows) for pool in material.pools] == [0, 0, 3]
    for image, text in material.pools[2].pair_rows:
        assert material.pictures[image].record_id == material.texts[text].record_id
    assert np.array_equal(material.image_labels_NK[3], list(labels(3).values()))
    assert np.isnan(material.text_labels_MK[:5, 1:]).all()
    assert material.texts[0].sentences[1] == "The heart is normal in size."
    assert json.loads(json.dumps(material.summary()))["num_pairs"] == 3


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        *((1, "positive"), ("1.0", "positive"), (True, "positive"), (0, "negative"), (-1, "uncertain")),
        *((-1.0, "uncertain"), ("Uncertain", "uncertain"), ("", "unmentioned"), (None, "unmentioned")),
        *((2, None), ("yes", None), (0.5, None)),
    ],
)
def test_cells(cell: object, expected: str | None) -> None:
    assert presence_of(cell) == (expected and Presence(expected))


def test_zero_may_mean_unmentioned() -> None:
    assert presence_of(0, zero=Presence.UNMENTIONED) is Presence.UNMENTIONED


def test_labels_out_of_range_name_row_and_column_but_not_the_cell(tmp_path: Path) -> None:
    rows = [{"path": f"{n}.png", "split": "train", "Effusion": value} for n, value in enumerate([1, 0, 17])]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    with pytest.raises(InputError, match=r"Row 3 .* column 'Effusion'") as caught:
        read_material([Supply(manifest=manifest, kind=Kind.IMAGES, labels={"Effusion": "Effusion"})])
    assert "17" not in str(caught.value)


def test_merging_sentences() -> None:
    labels_SK = np.array([[0, -1, 1, np.nan], [1, 0, 0, np.nan]], np.float32)
    assert np.array_equal(merge(labels_SK), [1, -1, 1, np.nan], equal_nan=True)
    assert merge(labels_SK, normal=2)[2] == 0  # another concept is positive
    assert merge(labels_SK[:1], normal=2)[2] == 1


def test_extractor_labels_sentence_by_sentence(tmp_path: Path) -> None:
    table = write_manifest(
        tmp_path / "table.csv",
        [
            {"sentence": "There is a pleural effusion on the left.", "a": "positive", "b": ""},
            {"sentence": "no edema  is seen.", "a": "", "b": 0},
        ],
    )
    extractor = LabelTable.from_table(table, text_column="sentence", labels={"Effusion": "a", "Edema": "b"})
    supply = Supply(manifest=pair_manifest(tmp_path, 2), kind=Kind.PAIRS)
    material = read_material([supply], concepts=CONCEPTS, extractor=extractor)
    expected = np.full((4, 3), np.nan)
    expected[0, 0], expected[2, 1] = 1, 0
    assert np.array_equal(material.texts[0].labels_SK, expected, equal_nan=True)
    assert np.array_equal(material.pictures[0].labels_K, [1, 0, np.nan], equal_nan=True)
    assert "No edema is SEEN." in extractor
    assert len(extractor) == 2


def test_splits_are_respected_and_test_rows_never_used(tmp_path: Path) -> None:
    sides = ["train", "val", "test", "heldout", "dev", "Training", ""]
    rows = [{"path": f"{n}.txt", "split": side, "text": f"Report number {n}."} for n, side in enumerate(sides)]
    supply = _texts(tmp_path, rows)
    used = {side: read_material([supply], side=side) for side in Side}
    assert [text.record_id for text in used[Side.TRAIN].texts] == ["1:1", "1:6"]
    assert [text.record_id for text in used[Side.VALIDATION].texts] == ["1:2", "1:5"]
    assert used[Side.TRAIN].counts[0]["sides"] == {"other": 3, "train": 2, "validation": 2}
    assert list(Side) == ["train", "validation"]
    assert used[Side.TRAIN].doubts == ("1 rows are not used: their column 'split' says neither train, val nor test.",)


def test_manifest_without_split(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "t.csv", [{"path": "a.txt", "text": "No edema."}])
    with pytest.raises(InputError, match="split"):
        read_material([Supply(manifest=manifest, kind=Kind.TEXTS)])
    everything = Supply(manifest=manifest, kind=Kind.TEXTS, has_split=False)
    assert len(read_material([everything]).texts) == 1
    with pytest.raises(UsageError, match="validate"):
        read_material([everything], side=Side.VALIDATION)


def test_equal_file_names_of_two_manifests_are_not_one_patient(tmp_path: Path) -> None:
    row = {"path": "1.png", "split": "train", "Edema": 1}
    ours, theirs = (
        write_manifest(tmp_path / "a.csv", [row]),
        write_manifest(tmp_path / "b.csv", [{**row, "path": "b/1.png", "split": "val"}]),
    )
    supplies = [Supply(manifest=path, kind=Kind.IMAGES, labels={"Edema": "Edema"}) for path in (ours, theirs)]
    assert len(read_material(supplies).pictures) == 1


def test_one_picture_in_two_manifests_is_on_one_side(tmp_path: Path) -> None:
    row = {"path": "1.png", "split": "train"}
    ours = write_manifest(tmp_path / "a.csv", [row])
    theirs = write_manifest(tmp_path / "b.csv", [{**row, "path": "../" + tmp_path.name + "/1.png", "split": "test"}])
    with pytest.raises(IntegrityError, match="1 pictures"):
        read_material([Supply(manifest=path, kind=Kind.IMAGES) for path in (ours, theirs)])
    texts = [Supply(manifest=ours, kind=Kind.IMAGES), _texts(tmp_path, [{**row, "split": "val", "text": "No edema."}])]
    assert len(read_material(texts).pictures) == 1, "paths of texts are not opened"


@pytest.mark.parametrize(
    "other",
    [
        {"patient_id": "p1 ", "study_id": ""},
        {"patient_id": "", "study_id": "s1"},
        {"patient_id": " ", "study_id": " s1"},
    ],
)
def test_spaces_and_missing_patients_hide_no_leak(other: dict[str, str], tmp_path: Path) -> None:
    first = {"path": "a", "patient_id": "p1", "study_id": "s1", "split": "train", "text": "No edema."}
    with pytest.raises(IntegrityError, match="1 patients"):
        read_material([_texts(tmp_path, [first, {**first, "split": "val", **other}])])
    same = read_material([_texts(tmp_path, [first, {**first, **other, "text": "No effusion."}])])
    assert len({text.patient for text in same.texts}) == 1


def test_labels_of_rows_that_are_not_used_are_not_read(tmp_path: Path) -> None:
    rows = [
        {"path": f"{n}.png", "split": side, "Edema": label}
        for n, (side, label) in enumerate([("train", 1), ("test", 9)])
    ]
    supply = Supply(manifest=write_manifest(tmp_path / "m.csv", rows), kind=Kind.IMAGES, labels={"Edema": "Edema"})
    assert len(read_material([supply]).pictures) == 1


def test_patients_on_two_sides_are_refused(tmp_path: Path) -> None:
    rows = [
        {"path": "a.txt", "patient_id": "p1", "split": "train", "text": "No edema."},
        {"path": "b.txt", "patient_id": "p1", "split": "test", "text": "No effusion."},
    ]
    with pytest.raises(IntegrityError, match="1 patients"):
        read_material([_texts(tmp_path, rows)])
    ours = write_manifest(tmp_path / "ours.csv", rows[:1])
    theirs = write_manifest(tmp_path / "theirs.csv", [rows[1], {**rows[0], "patient_id": "p2"}])
    with pytest.raises(IntegrityError, match="1 patients"):
        read_material([Supply(manifest=path, kind=Kind.TEXTS) for path in (ours, theirs)])
    apart = [Supply(manifest=path, kind=Kind.TEXTS, population=path.stem) for path in (ours, theirs)]
    assert len(read_material(apart).texts) == 2


def test_never_both_halves_of_a_patient(tmp_path: Path) -> None:
    pairs = _supply(pair_manifest(tmp_path, 40), Kind.PAIRS)
    images = _supply(image_manifest(tmp_path, 40), Kind.IMAGES)
    texts = _supply(text_manifest(tmp_path, 40, first_patient=20), Kind.TEXTS)
    material = read_material([pairs, images, texts], disjoint_patients=True)
    assert not {p.patient for p in material.pictures} & {t.patient for t in material.texts}
    assert all(len(pool.pair_rows) == 0 for pool in material.pools)
    assert 10 < len(material.pools[0].image_rows) < 30
    assert len(material.pools[0].image_rows) + len(material.pools[0].text_rows) == 40
    assert len(material.pools[1].image_rows) + len(material.pools[2].text_rows) == 60
    both = read_material([pairs, images, texts])
    assert {p.patient for p in both.pictures} & {t.patient for t in both.texts}


def test_halves_need_patients(tmp_path: Path) -> None:
    rows = [{"path": f"{n}.txt", "split": "train", "text": f"Report number {n}."} for n in range(3)]
    images = Supply(manifest=image_manifest(tmp_path, 3), kind=Kind.IMAGES)
    with pytest.raises(InputError, match="3 rows of manifest 2"):
        read_material([images, _texts(tmp_path, rows)], disjoint_patients=True)
    apart = Supply(manifest=tmp_path / "t.csv", kind=Kind.TEXTS, population="elsewhere")
    assert len(read_material([images, apart], disjoint_patients=True).texts) == 3


def test_smaller_shares_are_inside_larger_ones(tmp_path: Path) -> None:
    manifest = pair_manifest(tmp_path, 60)
    found = {}
    for share in (0.1, 0.3, 1.0):
        material = read_material([Supply(manifest=manifest, kind=Kind.PAIRS, share=share)])
        found[share] = {picture.record_id for picture in material.pictures}
    assert found[0.1] < found[0.3] < found[1.0]
    assert 1 <= len(found[0.1]) <= 15
    assert len(found[1.0]) == 60


def test_texts_are_counted_when_left_out_and_equal_ones_are_one(tmp_path: Path) -> None:
    rows = [
        {"path": f"{n}.txt", "patient_id": patient, "split": "train", "text": text}
        for n, (patient, text) in enumerate([("a", "No edema."), ("a", "no  edema."), ("b", "No edema."), ("c", " ")])
    ]
    material = read_material([_texts(tmp_path, rows)])
    assert len(material.texts) == 2
    assert material.counts[0]["num_equal_texts"] == 1
    assert material.counts[0]["num_without_text"] == 1


def test_text_columns_become_sections(tmp_path: Path) -> None:
    row = {"path": "a", "split": "train", "findings": "Clear lungs here.", "impression": "No edema at all.", "why": "?"}
    supply = _texts(tmp_path, [row])
    supply = Supply(manifest=supply.manifest, kind=Kind.TEXTS, text_columns=("findings", "impression"))
    assert read_material([supply]).texts[0].sentences == ("Clear lungs here.", "No edema at all.")


def test_doubts_name_classes_that_are_empty_or_alone(tmp_path: Path) -> None:
    material = read_material([_supply(image_manifest(tmp_path, 6, Effusion=1, Edema=0), Kind.IMAGES)])
    assert material.doubts == ("'Effusion' is positive in every picture.", "'Edema' is positive in no picture.")


def test_digest_changes_with_labels_and_choices(tmp_path: Path) -> None:
    manifest = pair_manifest(tmp_path, 4)
    first = read_material([_supply(manifest, Kind.PAIRS)]).digest
    assert read_material([_supply(manifest, Kind.PAIRS)]).digest == first
    assert read_material([_supply(manifest, Kind.PAIRS, weight=2.0)]).digest != first
    with manifest.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[0]["Effusion"] = "-1"
    write_manifest(manifest, rows)
    assert read_material([_supply(manifest, Kind.PAIRS)]).digest != first


def test_what_cannot_be_carried_out_is_refused(tmp_path: Path) -> None:
    manifest = image_manifest(tmp_path, 2)
    with pytest.raises(UsageError, match="no manifest"):
        read_material([])
    with pytest.raises(UsageError, match="'Effusion'"):
        read_material([_supply(manifest, Kind.IMAGES)], concepts=("Edema",))
    with pytest.raises(InputError, match="no column 'Oedema'"):
        read_material([Supply(manifest=manifest, kind=Kind.IMAGES, labels={"Edema": "Oedema"})])
    with pytest.raises(InputError, match="No row"):
        read_material([_supply(manifest, Kind.IMAGES)], side=Side.VALIDATION)
    with pytest.raises(UsageError, match="share"):
        Supply(manifest=manifest, kind=Kind.IMAGES, share=0.0)
