"""What the starter may learn from: open rows, and none of an article, patient or group that is examined."""

import csv
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from callosum.train.packs import Row, read_text_only
from recipes.starter import LEFT_OUT, MIXED_LICENCE, MNIST_PER_CLASS, split_rows

ROW = Row(pack="roco_open", row_id="1", split="train", group="a", archive=Path("images.tar"), member="1.jpg")


def test_groups_twins_and_mixed_licences_are_left_out() -> None:
    twin_pack, twin_id = min(LEFT_OUT)
    rows = [
        ROW,
        replace(ROW, row_id="2", group="b"),
        replace(ROW, row_id="3", group="b", split="val"),
        replace(ROW, row_id="4", group="b", pack="cxr_nih14"),
        replace(ROW, row_id=twin_id, pack=twin_pack, group="c"),
        replace(ROW, row_id="6", pack="cxr_notes", group="d", source=MIXED_LICENCE),
        replace(ROW, row_id="7", pack="cxr_notes", group="e", source="hannover-mhh"),
    ]
    train, validation = split_rows(rows, seed=0)
    assert [(row.pack, row.row_id) for row in train] == [("roco_open", "1"), ("cxr_nih14", "4"), ("cxr_notes", "7")]
    assert [row.row_id for row in validation] == ["3"]


def test_medical_mnist_is_thinned_out() -> None:
    rows = [
        replace(ROW, pack="medical_mnist", row_id=str(n), group=str(n), label=random.Random(n).choice("ab"))
        for n in range(3 * MNIST_PER_CLASS)
    ]
    train, _ = split_rows(rows, seed=0)
    assert [sum(row.label == label for row in train) for label in "ab"] == [MNIST_PER_CLASS] * 2


def test_captions_of_examined_articles_and_closed_licences_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "roco_open"
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["pmcid", "split"])
        writer.writeheader()
        writer.writerows([{"pmcid": "1", "split": "train"}, {"pmcid": "2", "split": "val"}])
    columns = {
        "pmcid": ["1", "2", "3", "4"],
        "text": ["seen", "examined", "other", "closed"],
        "license": ["CC BY", "CC BY", "CC0", "CC BY-NC"],
    }
    parquet.write_table(pa.table(columns), folder / "captions_textonly.parquet")
    assert read_text_only(tmp_path) == ["seen", "other"]
