"""Manifests in CSV and Parquet: what goes in comes out, and errors name the row."""

import csv
import datetime
import gc
import pickle
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callosum.core.errors import InputError, Refused
from callosum.data.manifest import count_rows, read_manifest

CELL = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
ROW = st.fixed_dictionaries({"path": CELL.filter(bool), "text": CELL, "patient_id": CELL, "note": CELL})


def write_csv(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_column(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path,
        "path,id,text,patient_id,study_id,modality,body_part,split,age,dose,is_new,site,day\n"
        'a/1.png,r1,"No effusion, ""clear""\nlungs",007,1.2.3,DX,chest,train,61,0.5,true,north,2020-01-31\n'
        "2.png,r2,,,,,,,,,,,\n",
    )
    first, second = read_manifest(path)
    assert (first.name, first.record_id, first.location) == ("a/1.png", "r1", tmp_path / "a/1.png")
    assert first.text == 'No effusion, "clear"\nlungs'
    assert (first.patient_id, first.study_id) == ("007", "1.2.3")
    assert (first.modality, first.body_part, first.split) == ("DX", "chest", "train")
    assert first.attributes == {"age": 61, "dose": 0.5, "is_new": True, "site": "north", "day": "2020-01-31"}
    assert (second.text, second.patient_id, second.attributes) == ("", "", {})
    assert "007" not in repr(first)


def test_types_are_settled_once_for_the_file(tmp_path: Path) -> None:
    rows = "".join(f"{n}.png,{n}\n" for n in range(30_000))
    sources = list(read_manifest(write_csv(tmp_path, f"path,value\n{rows}x.png,many\n")))
    assert len(sources) == 30_001
    assert sources[0].attributes["value"] == "0"
    assert sources[-1].attributes["value"] == "many"


def test_parquet(tmp_path: Path) -> None:
    table = pa.table(
        {
            "path": ["a.png", "b.png"],
            "id": [1, 2],
            "when": [datetime.datetime(2020, 1, 31, 12), None],
            "labels": [["x", "y"], []],
            "score": [float("nan"), 1.5],
        }
    )
    pq.write_table(table, tmp_path / "manifest.parquet")
    first, second = read_manifest(tmp_path / "manifest.parquet")
    assert (first.record_id, second.record_id) == ("1", "2")
    assert first.attributes == {"when": "2020-01-31 12:00:00", "labels": "['x', 'y']"}
    assert second.attributes == {"labels": "[]", "score": 1.5}


def test_members_of_archives(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"bytes of a picture")
    for name, mode in (("a.tar", "w:"), ("b.tar.gz", "w:gz"), ("c.tgz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as archive:
            archive.add(tmp_path / "picture.png", "folder/pic:ture.png")
    path = write_csv(
        tmp_path,
        "path\na.tar:folder/pic:ture.png\nb.tar.gz:folder/pic:ture.png\nc.tgz:folder/pic:ture.png\npicture.png\n",
    )
    for source in read_manifest(path):
        assert source.read_bytes() == b"bytes of a picture"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,id\na.png,1\n", "no column 'path'"),
        ("path,id\na.png,1\n,2\n", "Row 2 of the manifest has no path"),
        ("path,id\na.png,1\nb.png,2\nc.png,1\n", "Rows 1 and 3 of the manifest have the same id"),
        ("path,path\na.png,1\n", "names a column twice"),
        ("path,id\na.png,1\nSECRET,2,3\n", "at row 2: it has not as many cells"),
        ("", "cannot be parsed"),
    ],
)
def test_errors_name_the_row(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        list(read_manifest(write_csv(tmp_path, text)))
    assert "SECRET" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.hint


def test_other_bad_files(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("path,text\na.png,Röntgen\n".encode("latin-1"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing more")
    for name in ("latin.csv", "bad.parquet", "missing.csv"):
        with pytest.raises(InputError):
            list(read_manifest(tmp_path / name))


def test_empty_and_tabbed(tmp_path: Path) -> None:
    assert list(read_manifest(write_csv(tmp_path, "path,id\n"))) == []
    (source,) = read_manifest(write_csv(tmp_path, "path\ttext\na.png\tone, two\n", "m.tsv"))
    assert source.text == "one, two"
    (source,) = read_manifest(write_csv(tmp_path, "\ufeffpath,text\na.png,x\n", "bom.csv"))
    assert source.name == "a.png"


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=8), st.booleans())
def test_what_is_written_is_read(tmp_path: Path, rows: list[dict[str, str]], is_parquet: bool) -> None:
    path = tmp_path / ("m.parquet" if is_parquet else "m.csv")
    if is_parquet:
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
    sources = list(read_manifest(path))
    assert [s.name for s in sources] == [row["path"] for row in rows]
    assert [s.text for s in sources] == [row["text"] for row in rows]
    assert [s.patient_id for s in sources] == [row["patient_id"] for row in rows]
    if is_parquet:
        assert [s.attributes.get("note", "") for s in sources] == [row["note"] for row in rows]


def test_the_type_of_a_column_is_inferred_from_all_of_it(tmp_path: Path) -> None:
    rows = ["path,age,site,filler", *(f"{n}.png,{n % 90},{n},{'x' * 80}" for n in range(30_000)), "z.png,45.5,north,x"]
    (tmp_path / "m.csv").write_text("\n".join(rows))
    last = list(read_manifest(tmp_path / "m.csv"))[-1]
    assert last.attributes == {"age": 45.5, "site": "north", "filler": "x"}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["007", "12"], ["007", "12"]),
        (["NA", "61", "", "None"], [None, 61, None, None]),
        (["nan", "61.5", "+2", "1e3", "inf"], [None, 61.5, 2.0, 1000.0, None]),
        (["NA", "north", ""], ["NA", "north", None]),
        (["None", "", "NA"], ["None", None, "NA"]),
        (["", ""], [None, None]),
        (["true", "NA", "FALSE"], [True, None, False]),
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),
        ([" 61", "+7 ", "-0"], [61, 7, 0]),
        (["2020-01-02", "2020-02-03"], ["2020-01-02", "2020-02-03"]),
        (["1,5", "2"], ["1,5", "2"]),
    ],
)
def test_types_of_columns(tmp_path: Path, cells: list[str], expected: list[object]) -> None:
    rows = "".join(f'{n}.png,"{cell}"\n' for n, cell in enumerate(cells))
    values = [source.attributes.get("value") for source in read_manifest(write_csv(tmp_path, f"path,value\n{rows}"))]
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]


def test_headers_are_stripped_and_unnamed_columns_dropped(tmp_path: Path) -> None:
    path = write_csv(tmp_path, "\ufeff, path , age ,\n0,a.png,61,x\n")
    (source,) = read_manifest(path)
    assert (source.name, dict(source.attributes)) == ("a.png", {"age": 61})
    pq.write_table(
        pa.table({" path": ["a.png"], "__index_level_0__": [0], "n": pa.array([2**64 - 1], pa.uint64())}),
        tmp_path / "m.parquet",
    )
    (source,) = read_manifest(tmp_path / "m.parquet")
    assert (source.name, dict(source.attributes)) == ("a.png", {"n": str(2**64 - 1)})
    with pytest.raises(InputError, match="twice"):
        read_manifest(write_csv(tmp_path, "path, path\na,b\n"))


def packed(folder: Path, name: str) -> None:
    (folder / "one").write_bytes(name.encode())
    with tarfile.open(folder / name, "w:gz") as archive:
        archive.add(folder / "one", "one")
        archive.add(folder / "one", "two")


def test_an_archive_is_inflated_once_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for name in ("a.tar.gz", "b.tgz"):
        packed(tmp_path, name)
    path = write_csv(tmp_path, "path\na.tar.gz:one\nb.tgz:one\na.tar.gz:two\nb.tgz:two\na.tar.gz:one\n")
    assert count_rows(path) == 5
    rows = read_manifest(path)
    assert not list(temporary.iterdir())
    seen = set()
    for row in rows:
        seen |= set(temporary.iterdir())
        sent = pickle.loads(pickle.dumps(row))
        assert sent == row
        assert sent.read_bytes() == row.name.split(":")[0].encode()
        del sent
        gc.collect()
        assert row.inflated is not None and row.inflated.path is not None and row.inflated.path.exists()
    assert len(seen) == 2
    del row, rows
    gc.collect()
    assert not list(temporary.iterdir())


def test_an_archive_that_cannot_be_inflated_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed(tmp_path, "a.tar.gz")
    (tmp_path / "a.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:40])
    path = write_csv(tmp_path, "path\na.tar.gz:one\na.tar.gz:two\nmissing.tar.gz:one\n")
    for row in read_manifest(path):
        with pytest.raises(Refused, match="UNREADABLE"):
            row.read_bytes()
    packed(tmp_path, "a.tar.gz")
    monkeypatch.setattr("callosum.data.tar.MAX_UNPACKED_BYTES", -1)
    with pytest.raises(Refused, match="DECOMPRESSION_LIMIT"):
        next(read_manifest(write_csv(tmp_path, "path\na.tar.gz:one\n"))).read_bytes()


def test_rows_are_counted_as_they_are_read(tmp_path: Path) -> None:
    assert count_rows(write_csv(tmp_path, 'path,text\na.png,"x\ny"\n\nb.png,\n')) == 2
    pq.write_table(pa.table({"path": ["a", "b", "c"]}), tmp_path / "m.parquet")
    assert count_rows(tmp_path / "m.parquet") == 3
    with pytest.raises(InputError, match="no column 'path'"):
        count_rows(write_csv(tmp_path, "file\na.png\n"))
