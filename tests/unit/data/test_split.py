"""Splits by patient: the same everywhere, written with digests, checked later."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callosum.core.errors import DigestMismatch, InputError, IntegrityError, UsageError
from callosum.core.finding import Presence
from callosum.data.datasets import Dataset, open_dataset
from callosum.data.datasets.census import Census
from callosum.data.datasets.write import write_manifest
from callosum.data.manifest import read_manifest
from callosum.data.split import GroupBy, SplitConfig, assign, group_of, verify_split, write_split
from tests.unit.data.datasets.layouts import picture, table


def make(root: Path, *, num_patients: int = 60) -> Dataset:
    """Three pictures of each patient; every third is positive once; one patient straddles what was published."""
    image = picture(root / "one.png")
    rows = []
    for patient in range(num_patients):
        for n in range(3):
            name = f"images/p{patient}_{n}.png"
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).hardlink_to(image)
            label = "positive" if patient % 3 == 0 and n == 1 else ("unmentioned", "negative", "uncertain")[n]
            published = "test" if (patient, n) == (5, 2) else "train"
            rows.append((name, f"P{patient}", f"S{patient}_{n}", published, label, 'a word, and "more"\nü'))
    table(root / "manifest.csv", ("path", "patient_id", "study_id", "split", "Edema", "text"), rows)
    return open_dataset("manifest", root)


def sides(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for source in read_manifest(folder / "manifest.csv"):
        found.setdefault(source.patient_id, set()).add(source.split)
    return found


def test_a_split_keeps_patients_together_and_is_the_same_again(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    header = write_split(dataset, tmp_path / "split")
    assert all(len(found) == 1 for found in sides(tmp_path / "split").values())
    assert sum(header["splits"].values()) == header["num_rows"] == 180
    assert header["published"] == {
        "splits": {"test": 1, "train": 179},
        "num_straddling_patients": 1,
        "num_straddling_studies": 0,
    }
    again = write_split(dataset, tmp_path / "again")
    assert again["manifest_digest"] == header["manifest_digest"]
    assert again["rows_digest"] == header["rows_digest"]
    other = write_split(dataset, tmp_path / "other", SplitConfig(seed=1))
    assert other["rows_digest"] != header["rows_digest"]
    first = next(iter(read_manifest(tmp_path / "split" / "manifest.csv")))
    assert first.attributes["published_split"] == "train"
    assert first.text == 'a word, and "more"\nü'
    assert first.location.is_file()
    assert json.loads((tmp_path / "split" / "split.json").read_text()) == json.loads(json.dumps(header))


def test_a_stratum_is_as_frequent_on_every_side(tmp_path: Path) -> None:
    config = SplitConfig(ratios=(0.5, 0.25, 0.25), stratify="Edema")
    write_split(make(tmp_path), tmp_path / "split", config)
    is_positive: dict[str, bool] = {}
    for source in read_manifest(tmp_path / "split" / "manifest.csv"):
        is_positive[source.patient_id] = is_positive.get(source.patient_id, False) | (
            source.attributes["Edema"] == "positive"
        )
    counts = Counter(next(iter(found)) for patient, found in sides(tmp_path / "split").items() if is_positive[patient])
    assert counts == {"train": 10, "validation": 5, "test": 5}


def test_verify_finds_what_was_changed(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    written = write_split(make(tmp_path), folder)
    assert verify_split(folder)["rows_digest"] == written["rows_digest"]
    manifest = folder / "manifest.csv"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace(",train,", ",test,", 1), encoding="utf-8")
    with pytest.raises(DigestMismatch):
        verify_split(folder)
    manifest.write_text(text.replace("a word", "another"), encoding="utf-8")
    with pytest.raises(DigestMismatch):
        verify_split(folder)


def test_verify_finds_a_group_on_two_sides_though_the_digests_are_right(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    write_split(make(tmp_path), folder, SplitConfig(by=GroupBy.RECORD))
    header = json.loads((folder / "split.json").read_text())
    verify_split(folder)
    header["config"]["by"] = "patient"
    (folder / "split.json").write_text(json.dumps(header))
    with pytest.raises(IntegrityError, match="another than the rest of its group"):
        verify_split(folder)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"schema": "callosum.split/1", "config": {"nonsense": 1}}'])
def test_no_split(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "split.json").write_text(text)
    with pytest.raises((InputError, UsageError)):
        verify_split(tmp_path)


def test_a_concept_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "COVID" / "images").mkdir(parents=True)
    dataset = open_dataset("covid-radiography", tmp_path)
    with pytest.raises(UsageError, match="no concept 'Edma'"):
        write_split(dataset, tmp_path / "split", SplitConfig(stratify="Edma"))
    with pytest.raises(InputError, match="no example"):
        write_split(dataset, tmp_path / "split")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ratios": (0.5, 0.5)},
        {"ratios": (0.5, 0.6, -0.1)},
        {"ratios": (0.5, 0.3, 0.1)},
        {"names": ("a", "a", "b")},
    ],
)
def test_ratios_that_are_none(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(UsageError):
        SplitConfig(**wrong)  # type: ignore[arg-type]


groups = st.dictionaries(st.text(min_size=1, max_size=8), st.integers(0, 4), max_size=40)


@given(groups, groups, st.integers(0, 3))
def test_without_a_stratum_a_group_stays_when_others_come(
    some: dict[str, int], more: dict[str, int], seed: int
) -> None:
    config = SplitConfig(seed=seed)
    before, after = assign(some, config), assign(some | more, config)
    assert all(after[group] == side for group, side in before.items())


@given(groups, st.integers(0, 3))
def test_every_stratum_is_dealt_out_to_within_one(strata: dict[str, int], seed: int) -> None:
    config = SplitConfig(seed=seed, stratify="x", ratios=(0.5, 0.25, 0.25))
    placed = assign(strata, config)
    assert set(placed) == set(strata)
    for stratum in set(strata.values()):
        members = [group for group, found in strata.items() if found == stratum]
        for name, ratio in zip(config.names, config.ratios, strict=True):
            num = sum(placed[group] == name for group in members)
            assert abs(num - ratio * len(members)) < 1 + 1e-9


def test_shares_come_out_as_asked() -> None:
    placed = Counter(assign({f"patient:{n}": 0 for n in range(20_000)}, SplitConfig()).values())
    for name, ratio in zip(SplitConfig().names, SplitConfig().ratios, strict=True):
        deviation = (20_000 * ratio * (1 - ratio)) ** 0.5
        assert abs(placed[name] - 20_000 * ratio) < 4 * deviation


def test_where_no_patient_is_known_a_study_or_the_record_takes_its_place(tmp_path: Path) -> None:
    dataset = make(tmp_path, num_patients=1)
    source = next(iter(dataset)).source
    assert [group_of(source, by) for by in GroupBy] == ["patient:P0", "study:S0_0", "record:images/p0_0.png"]
    spaced = replace(source, patient_id=" P0 ", study_id="S0_0 ")
    assert [group_of(spaced, by) for by in GroupBy] == [group_of(source, by) for by in GroupBy]
    assert group_of(replace(source, patient_id=" "), GroupBy.PATIENT) == "study:S0_0"


def test_parquet_keeps_types_and_csv_says_the_same(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    rows = [("a.png", 3, 1.5, "true", "x"), ("a.png", "", "", "", "")]
    table(tmp_path / "manifest.csv", ("path", "age", "dose", "is_urgent", "note"), rows)
    dataset = open_dataset("manifest", tmp_path)
    for name in ("out.csv", "out.parquet"):
        assert write_manifest(tmp_path / name, dataset).num_rows == 1
    one, two = (next(iter(read_manifest(tmp_path / name))) for name in ("out.csv", "out.parquet"))
    assert one.attributes == two.attributes == {"age": 3, "dose": 1.5, "is_urgent": True, "note": "x"}
    assert pq.read_schema(tmp_path / "out.parquet").field("age").type == "int64"


def test_a_manifest_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path / "manifest.csv", ("path", "id"), [("a.png", "1"), ("b.png", "1")])
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(InputError):
        write_manifest(tmp_path / "out.csv", open_dataset("manifest", tmp_path))
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "manifest.csv", "out.csv"]


def test_a_census_counts_every_value(tmp_path: Path) -> None:
    dataset = make(tmp_path)
    (tmp_path / "images" / "p7_0.png").unlink()
    census = Census()
    assert len(list(census.count(dataset.rows()))) == 179
    found = census.to_json()
    assert found["skipped"] == {"MISSING_IMAGE": 1}
    assert found["num_straddling_patients"] == 1
    assert (found["num_patients"], found["num_studies"], found["num_texts"]) == (60, 179, 179)
    assert found["labels"]["Edema"] == {"negative": 40, "positive": 20, "uncertain": 60, "unmentioned": 59}
    assert set(found["labels"]["Edema"]) == {presence.label for presence in Presence}
