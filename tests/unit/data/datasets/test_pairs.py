"""IU, ROCO, MedICaT, PMC, WebDataset, CSV and folders: images with words."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callosum.core.errors import InputError
from callosum.core.finding import Presence
from callosum.data.datasets import Example, Lack, Skipped, open_dataset
from callosum.data.datasets.dataset import inside
from callosum.data.readers import read_bytes
from tests.unit.data.datasets.layouts import picture, table

CAPTION = "Röntgenthorax: Pleuraerguß rechts, 肺炎 μ→∞"


def examples(name: str, root: Path) -> list[Example]:
    return list(open_dataset(name, root))


def lacks(name: str, root: Path) -> list[Lack]:
    return [row.lack for row in open_dataset(name, root).rows() if isinstance(row, Skipped)]


def ecgen(uid: str, *, findings: str, terms: list[str], images: list[str]) -> str:
    mesh = "".join(f"<major>{term}</major>" for term in terms)
    shown = "".join(f'<parentImage id="{name}"><caption>PA and Lateral</caption></parentImage>' for name in images)
    return (
        f'<?xml version="1.0" encoding="utf-8"?><eCitation><uId id="{uid}"/><MedlineCitation><Article><Abstract>'
        '<AbstractText Label="COMPARISON">None.</AbstractText>'
        '<AbstractText Label="INDICATION">Evaluate for pneumonia</AbstractText>'
        f'<AbstractText Label="FINDINGS">{findings}</AbstractText>'
        '<AbstractText Label="IMPRESSION">No acute disease.</AbstractText>'
        f"</Abstract></Article></MedlineCitation><MeSH>{mesh}</MeSH>{shown}</eCitation>"
    )


def test_iu_as_xml(tmp_path: Path) -> None:
    folder = tmp_path / "ecgen-radiology"
    folder.mkdir()
    two = ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"]
    (folder / "1.xml").write_text(
        ecgen("CXR1", findings="Heart is big.", terms=["Cardiomegaly/borderline"], images=two)
    )
    (folder / "2.xml").write_text(ecgen("CXR2", findings="", terms=["normal"], images=["CXR2_IM-0652-1001"]))
    (folder / "10.xml").write_text(ecgen("CXR10", findings="x", terms=["No Indexing"], images=[]))
    (folder / "3.xml").write_text("<eCitation>")
    (folder / "4.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><eCitation>&b;</eCitation>')
    for at, name in enumerate((*two, "CXR2_IM-0652-1001")):
        picture(tmp_path / "NLMCXR_png" / f"{name}.png", at)
    first, second, third = examples("iu-xray", tmp_path)
    assert first.source.text == "Heart is big.\nNo acute disease."
    assert "INDICATION: Evaluate for pneumonia" in first.report
    assert first.labels == {"Cardiomegaly": Presence.PRESENT}
    assert first.source.study_id == second.source.study_id == "CXR1"
    assert third.labels == {"normal": Presence.PRESENT}
    assert third.source.text == "No acute disease."
    assert lacks("iu-xray", tmp_path) == [Lack.ROW_INVALID, Lack.ROW_INVALID]


def test_iu_as_tables(tmp_path: Path) -> None:
    header = ("uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression")
    rows = [
        (1, "normal", "normal", "Xray", "TB test", "None.", "Clear\nlungs.", "Normal chest x-XXXX."),
        (2, "Cardiomegaly/borderline;Pulmonary Artery/enlarged", "", "", "", "", "", "No acute findings."),
    ]
    table(tmp_path / "indiana_reports.csv", header, rows)
    images = [(1, "1_IM-0001-4001.dcm.png", "Frontal"), (1, "1_IM-0001-3001.dcm.png", "Lateral")]
    images += [(2, "2_IM-0652-1001.dcm.png", "Frontal"), (9, "9_IM-0001-1001.dcm.png", "Frontal")]
    table(tmp_path / "indiana_projections.csv", ("uid", "filename", "projection"), images)
    for at, (_, name, _) in enumerate(images):
        picture(tmp_path / "images" / "images_normalized" / str(name), at)
    first, _, third, orphan = examples("iu-xray", tmp_path)
    assert first.source.text == "Clear lungs.\nNormal chest x-XXXX."
    assert first.source.attributes == {"view": "frontal", "mesh": "normal"}
    assert third.labels == {"Cardiomegaly": Presence.PRESENT, "Pulmonary Artery": Presence.PRESENT}
    assert (orphan.source.text, orphan.labels, orphan.source.patient_id) == ("", {}, "CXR9")


@pytest.mark.parametrize("named", ["as packed", "as fetched"])
def test_roco(tmp_path: Path, named: str) -> None:
    folder = tmp_path / "data" / "train" / "radiology"
    folder.mkdir(parents=True)
    (folder / "captions.txt").write_text(
        f"ROCO_00002\t {CAPTION} \nROCO_00003\tgone\nno tab here\n\n", encoding="utf-8"
    )
    (folder / "cuis.txt").write_text("ROCO_00002\tC0032326\tC0817096\n")
    licences = [("ROCO_00002", "PMC4083729_AMHSR-4-14-g002.jpg", "CC BY-NC-SA")]
    table(folder / "licences.txt", ("ROCO_ID", "PMC_ID", "CC"), licences)
    image = "ROCO_00002.jpg" if named == "as packed" else "PMC4083729_AMHSR-4-14-g002.jpg"
    picture(folder / "images" / image)
    (one,) = examples("roco", tmp_path)
    assert one.source.text == CAPTION
    assert (one.source.study_id, one.source.split, one.source.record_id) == ("PMC4083729", "train", "ROCO_00002")
    assert one.source.attributes == {"cuis": "C0032326|C0817096", "licence": "CC BY-NC-SA"}
    assert one.labels == {"C0032326": Presence.PRESENT, "C0817096": Presence.PRESENT}
    assert lacks("roco", tmp_path) == [Lack.MISSING_IMAGE, Lack.ROW_INVALID]


def test_roco_finds_the_article_in_the_links_when_there_are_no_licences(tmp_path: Path) -> None:
    folder = tmp_path / "all_data" / "test" / "radiology"
    picture(folder / "images" / "PMC99_fig1.jpg")
    (folder / "captions_tp_test_revised.txt").write_text("ROCO_00009\tx\n")
    link = "ROCO_00009\twget -r ftp://ftp.ncbi.nlm.nih.gov/pub/pmc/oa_package/b2/0d/PMC99.tar.gz\tfig1.jpg\n"
    (folder / "dlinks_tp_test_revised.txt").write_text(link)
    (one,) = examples("roco", tmp_path)
    assert (one.source.study_id, one.source.split, one.source.location.name) == ("PMC99", "test", "PMC99_fig1.jpg")


@pytest.mark.parametrize("images", ["train_images", "train_images/train", "train", "images"])
def test_roco_v2(tmp_path: Path, images: str) -> None:
    name = "ROCOv2_2023_train_000001"
    table(tmp_path / "train_captions.csv", (" ID", "Caption "), [(name, "Head CT,\nno bleeding"), ("gone", "x")])
    table(tmp_path / "train_concepts.csv", ("ID", "CUIs"), [(name, "C0040405;C0018670")])
    table(
        tmp_path / "license_information.csv", ("ID", "PMCID", "Attribution"), [(name, "PMC12", "CC BY [Muacevic 2021]")]
    )
    picture(tmp_path / images / f"{name}.jpg")
    (one,) = examples("roco-v2", tmp_path)
    assert one.source.text == "Head CT,\nno bleeding"
    assert (one.source.study_id, one.source.split) == ("PMC12", "train")
    assert set(one.labels) == {"C0040405", "C0018670"}
    assert lacks("roco-v2", tmp_path) == [Lack.MISSING_IMAGE]


def test_medicat(tmp_path: Path) -> None:
    line = {"pdf_hash": "57c9", "fig_uri": "1-Figure1-1.png", "s2_caption": "Figure 1. MRI.", "radiology": True}
    lines = [
        json.dumps(line | {"oa_info": [{"license": "cc-by", "doi": "10.1/x"}]}),
        "{not json",
        json.dumps({"pdf_hash": "57c9"}),
        json.dumps(line | {"fig_uri": "../../x.png"}),
        json.dumps(line | {"fig_uri": "2-Figure2-1.png", "s2_caption": "", "s2orc_caption": "From the other parser."}),
    ]
    release = tmp_path / "release"
    picture(release / "figures" / "57c9_1-Figure1-1.png")
    picture(release / "figures" / "57c9_2-Figure2-1.png")
    (release / "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl").write_text("\n".join(lines))
    first, second = examples("medicat", tmp_path)
    assert (first.source.text, first.source.study_id) == ("Figure 1. MRI.", "57c9")
    assert first.source.attributes == {"licence": "cc-by", "radiology": True}
    assert second.source.text == "From the other parser."
    assert lacks("medicat", tmp_path) == [Lack.ROW_INVALID] * 3


@pytest.mark.parametrize(
    "line",
    [
        {"image": "PMC212319_Fig3_4.jpg", "caption": CAPTION},
        {"PMC_ID": "PMC212319", "media_name": "PMC212319_Fig3_4.jpg", "caption": CAPTION},
        {"pmcid": 212319, "figures": [{"graphic_ref": "PMC212319_Fig3_4.jpg", "fig_caption": CAPTION}]},
    ],
)
def test_pmc(tmp_path: Path, line: dict[str, object]) -> None:
    (tmp_path / "valid.jsonl").write_text(json.dumps(line, ensure_ascii=False) + "\n[1]\n", encoding="utf-8")
    picture(tmp_path / "images" / "PMC212319_Fig3_4.jpg")
    (one,) = examples("pmc-jsonl", tmp_path)
    assert (one.source.text, one.source.study_id, one.source.split) == (CAPTION, "PMC212319", "validation")
    assert lacks("pmc-jsonl", tmp_path) == [Lack.ROW_INVALID]


def shard(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize("name", ["train-00000.tar", "train-00000.tar.gz"])
def test_webdataset(tmp_path: Path, name: str) -> None:
    png = picture(tmp_path / "x.png").read_bytes()
    known = {
        "caption": "from the JSON",
        "pmcid": "PMC7",
        "width": 16,
        "split": "",
        "nested": {"a": 1},
        "long": "x" * 2000,
    }
    members = {
        "a/0001.seg.png": png,  # the key ends at the first dot, so this is "seg.png", no image of its own
        "a/0001.jpg": png,
        "a/0001.txt": CAPTION.encode(),
        "a/0001.cls": b"3",
        "a/0002.png": png,
        "a/0002.json": json.dumps(known).encode(),
        "a/0003.txt": b"no image",
        "../../0004.png": png,
        "../../0004.json": b"{broken",
    }
    shard(tmp_path / "shards" / name, members)
    (tmp_path / "x.png").unlink()
    (tmp_path / "shards" / "broken.tar").write_bytes(b"no tar at all" * 100)
    first, second, third = examples("webdataset", tmp_path / "shards")
    assert (first.source.text, first.source.split, first.source.attributes) == (CAPTION, "train", {"cls": 3})
    assert first.source.member == "a/0001.jpg"
    assert (second.source.text, second.source.study_id) == ("from the JSON", "PMC7")
    assert second.source.attributes == {"pmcid": "PMC7", "width": 16}
    assert read_bytes(second.source.read_bytes()).pixels.shape == (16, 16)
    assert third.source.member == "../../0004.png"  # read by position: the name leads nowhere
    assert lacks("webdataset", tmp_path / "shards") == [Lack.ROW_INVALID, Lack.MISSING_IMAGE]


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_csv_pairs(tmp_path: Path, delimiter: str) -> None:
    lines = [("filepath", "title", "subject_id", "age"), ("i/a.png", CAPTION, "p1", "7"), ("i/b.png", "gone", "p2", "")]
    lines += [("i/a.png", "again", "p1", ""), ("", "no image", "", "")]
    text = "\n".join(delimiter.join(f'"{cell}"' for cell in line) for line in lines)
    (tmp_path / "pairs.csv").write_text("\ufeff" + text, encoding="utf-8")
    picture(tmp_path / "i" / "a.png")
    for root in (tmp_path, tmp_path / "pairs.csv"):
        (one,) = examples("csv-pairs", root)
        assert (one.source.text, one.source.patient_id, one.source.attributes) == (CAPTION, "p1", {"age": "7"})
    assert lacks("csv-pairs", tmp_path) == [Lack.MISSING_IMAGE, Lack.DUPLICATE_ROW, Lack.ROW_INVALID]


def test_csv_pairs_without_the_columns(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("path,words\n")
    with pytest.raises(InputError, match="no column for the text"):
        open_dataset("csv-pairs", tmp_path)
    (tmp_path / "more.csv").write_text("")
    with pytest.raises(InputError, match="found 2"):
        open_dataset("csv-pairs", tmp_path)


def test_folder_pairs(tmp_path: Path) -> None:
    picture(tmp_path / "val" / "a.PNG")
    (tmp_path / "val" / "a.txt").write_text(CAPTION + "\n", encoding="utf-8")
    picture(tmp_path / "b.v2.png")
    (tmp_path / "b.v2.txt").write_bytes(b"caf\xe9")
    picture(tmp_path / "c.png")
    found = {each.source.name: each.source for each in examples("folder-pairs", tmp_path)}
    assert {name: source.text for name, source in found.items()} == {
        "val/a.PNG": CAPTION,
        "b.v2.png": "caf\ufffd",
        "c.png": "",
    }
    assert found["val/a.PNG"].split == "validation"


def test_a_manifest_is_a_dataset_and_its_presences_are_labels(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    rows = [("a.png", "uncertain", "negative result", 3)]
    table(tmp_path / "manifest.csv", ("path", "Edema", "note", "age"), rows)
    (one,) = examples("manifest", tmp_path)
    assert one.labels == {"Edema": Presence.UNCERTAIN}
    assert one.source.attributes["age"] == 3


@given(st.text(max_size=40))
def test_no_name_in_a_table_leads_out_of_its_folder(relative: str) -> None:
    folder = Path("top")
    found = inside(folder, relative)
    assert found is None or (found.parts[0] == "top" and ".." not in found.parts and len(found.parts) > 1)


TABLES = {
    "chexpert": "train.csv",
    "csv-pairs": "pairs.csv",
    "iu-xray": "ecgen-radiology/1.xml",
    "medicat": "s2_full_figures_oa_nonroco_combined_medical_top4_public.jsonl",
    "mimic-cxr": "cxr-record-list.csv.gz",
    "mimic-cxr-jpg": "mimic-cxr-2.0.0-metadata.csv",
    "nih-chestxray14": "Data_Entry_2017.csv",
    "pmc-jsonl": "train.jsonl",
    "roco": "data/train/radiology/captions.txt",
    "roco-v2": "train_captions.csv",
    "rsna-pneumonia": "stage_2_train_labels.csv",
    "webdataset": "0.tar",
}
HEADS = (b"", b"Path,Frontal/Lateral\n", b"path,text\n", b"ID,Caption\n", b"patientId,Target\n", b'{"figures": [1, {')


@pytest.mark.parametrize("name", TABLES)
@settings(max_examples=40)
@given(head=st.sampled_from(HEADS), noise=st.binary(max_size=200))
def test_whatever_a_table_holds_it_is_examples_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, head: bytes, noise: bytes
) -> None:
    root = tmp_path_factory.getbasetemp() / f"noise-{name}"
    (root / TABLES[name]).parent.mkdir(parents=True, exist_ok=True)
    (root / TABLES[name]).write_bytes(head + noise)
    try:
        rows = list(open_dataset(name, root).rows())
    except InputError:
        return
    assert all(isinstance(row, (Example, Skipped)) for row in rows)
