"""Manifests in CSV and Parquet: what goes in comes out, and errors name the row."""

import csv
import datetime
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callosum.core.errors import InputError
from callosum.data.manifest import read_manifest

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
