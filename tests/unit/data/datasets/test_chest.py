"""CheXpert, MIMIC-CXR, RSNA, COVID and NIH: the published layouts in small, with their quirks."""

import json
import zipfile
from pathlib import Path

import pytest

from callosum.core.errors import InputError
from callosum.core.finding import Presence
from callosum.data.datasets import Example, Lack, Skipped, open_dataset
from callosum.data.datasets.chexpert_labels import OBSERVATIONS
from tests.unit.data.datasets.layouts import picture, table

CHEXPERT = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS)
METADATA = ("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows")
REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough, evaluate for pneumonia.

 FINDINGS: There is no focal consolidation.

 IMPRESSION: No acute process.
"""


def labels(**values: str) -> list[str]:
    return [values.get(name.replace(" ", "_"), "") for name in OBSERVATIONS]


def examples(dataset: object) -> list[Example]:
    return list(dataset)  # type: ignore[call-overload]


def lacks(name: str, root: Path) -> list[Lack]:
    return [row.lack for row in open_dataset(name, root).rows() if isinstance(row, Skipped)]


@pytest.fixture
def chexpert(tmp_path: Path) -> Path:
    root = tmp_path / "CheXpert-v1.0-small"
    small = "CheXpert-v1.0-small/train"
    first = f"{small}/patient00001/study1/view1_frontal.jpg"
    rows = [
        (first, "Female", 68, "Frontal", "AP", *labels(No_Finding="1.0", Pneumothorax="0.0", Edema="-1.0")),
        (f"{small}/patient00001/study2/view2_lateral.jpg", "Unknown", 0, "Lateral", "", *labels(Edema="1.0")),
        (f"{small}/patient00002/study1/view1_frontal.jpg", "Male", 40, "Frontal", "PA", *labels()),  # not on the disk
        (first, "Female", 68, "Frontal", "AP", *labels()),
        (f"{small}/patient00003/study1/view1_frontal.jpg", "Male", 40, "Frontal", "PA", *labels(Edema="2")),
        (f"{small}/../../secret/patient00004/study1/view1.jpg", "Male", 40, "Frontal", "PA", *labels()),
    ]
    table(root / "train.csv", CHEXPERT, rows)
    valid = "CheXpert-v1.0-small/valid/patient64541/study1/view1_frontal.jpg"
    table(root / "valid.csv", CHEXPERT, [(valid, "Male", 73, "Frontal", "AP", *(["0.0"] * 14))])
    for at, name in enumerate((rows[0][0], rows[1][0], valid)):
        picture(tmp_path / str(name), at)
    return root


@pytest.mark.parametrize("above", [False, True])
def test_chexpert(chexpert: Path, above: bool) -> None:
    found = examples(open_dataset("chexpert", chexpert.parent if above else chexpert))
    assert [each.source.name for each in found] == [
        "train/patient00001/study1/view1_frontal.jpg",
        "train/patient00001/study2/view2_lateral.jpg",
        "valid/patient64541/study1/view1_frontal.jpg",
    ]
    first, second, third = found
    assert (first.source.patient_id, first.source.study_id) == ("patient00001", "patient00001/study1")
    assert [each.source.split for each in found] == ["train", "train", "validation"]
    assert first.source.attributes == {"view": "frontal", "projection": "AP", "sex": "Female", "age": 68}
    assert second.source.attributes == {"view": "lateral", "sex": "Unknown", "age": 0}
    assert first.source.location.is_file()
    four = {name: first.labels[name] for name in ("No Finding", "Pneumothorax", "Edema", "Fracture")}
    assert list(four.values()) == [Presence.PRESENT, Presence.ABSENT, Presence.UNCERTAIN, Presence.UNMENTIONED]
    assert set(third.labels.values()) == {Presence.ABSENT}
    assert lacks("chexpert", chexpert) == [
        Lack.MISSING_IMAGE,
        Lack.DUPLICATE_ROW,
        Lack.ROW_INVALID,
        Lack.ROW_INVALID,
    ]


def test_chexpert_of_the_original_release_is_spread_over_batches(tmp_path: Path) -> None:
    name = "CheXpert-v1.0/train/patient00001/study1/view1_frontal.jpg"
    folder = tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)"
    table(folder / "train.csv", CHEXPERT, [(name, "Male", 1, "Frontal", "AP", *labels())])
    image = picture(tmp_path / "CheXpert-v1.0 batch 2 (train 1)" / "patient00001" / "study1" / "view1_frontal.jpg")
    assert [each.source.location for each in examples(open_dataset("chexpert", tmp_path))] == [image]


def mimic(root: Path, *, suffix: str) -> tuple[str, str]:
    """Two studies of one patient, one of another; the third study has neither labels nor report."""
    files = [("d1", "10000032", "50414267"), ("d2", "10000032", "50414267"), ("d3", "10000032", "53189527")]
    files.append(("d4", "11000011", "51029426"))
    for at, (dicom, subject, study) in enumerate(files[:3]):
        picture(root / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.png", at).rename(
            root / f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}{suffix}"
        )
    views = ("AP", "LATERAL", "", "PA")
    rows = [(*each, "CHEST", view, 3056) for each, view in zip(files, views, strict=True)]
    table(root / "mimic-cxr-2.0.0-metadata.csv.gz", METADATA, rows)
    split = [(dicom, study, subject, "validate" if dicom == "d3" else "train") for dicom, subject, study in files]
    table(root / "mimic-cxr-2.0.0-split.csv.gz", ("dicom_id", "study_id", "subject_id", "split"), reversed(split))
    found = [("10000032", "50414267", "1.0", "-1.0"), ("11000011", "51029426", "", "0.0")]
    table(root / "mimic-cxr-2.0.0-chexpert.csv.gz", ("subject_id", "study_id", "Edema", "Pneumonia"), found)
    return files[0][2], files[2][2]


@pytest.mark.parametrize("place", ["zip", "unpacked", "beside"])
def test_mimic_cxr_jpg(tmp_path: Path, place: str) -> None:
    mimic(tmp_path, suffix=".jpg")
    name = "files/p10/p10000032/s50414267.txt"
    if place == "zip":
        with zipfile.ZipFile(tmp_path / "mimic-cxr-reports.zip", "w") as packed:
            packed.writestr(name, REPORT)
    else:
        path = tmp_path / ("mimic-cxr-reports" if place == "unpacked" else "") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(REPORT)
    first, second, third = examples(open_dataset("mimic-cxr-jpg", tmp_path))
    assert (first.source.record_id, first.source.patient_id, first.source.study_id) == ("d1", "10000032", "50414267")
    assert [each.source.split for each in (first, second, third)] == ["train", "train", "validation"]
    assert [each.source.attributes.get("view") for each in (first, second, third)] == ["frontal", "lateral", None]
    assert first.labels == {"Edema": Presence.PRESENT, "Pneumonia": Presence.UNCERTAIN}
    assert third.labels == {}  # its study is not in the table of labels
    assert "consolidation" in first.source.text and "No acute process" in first.source.text
    assert "cough" not in first.source.text and "cough" in first.report
    assert first.source.text == second.source.text
    assert (third.source.text, third.report) == ("", "")
    assert lacks("mimic-cxr-jpg", tmp_path) == [Lack.MISSING_IMAGE]


def test_mimic_cxr_lists_records_and_uses_the_tables_beside(tmp_path: Path) -> None:
    mimic(tmp_path, suffix=".dcm")
    path = "files/p10/p10000032/s50414267/d1.dcm"
    rows = [("10000032", "50414267", "d1", path)]
    table(tmp_path / "cxr-record-list.csv.gz", ("subject_id", "study_id", "dicom_id", "path"), rows)
    (one,) = examples(open_dataset("mimic-cxr", tmp_path))
    assert (one.source.name, one.source.split, one.source.modality) == (path, "train", "")
    assert one.source.attributes["view"] == "frontal"
    assert one.labels["Edema"] is Presence.PRESENT


def test_mimic_reports_that_are_no_zip(tmp_path: Path) -> None:
    mimic(tmp_path, suffix=".jpg")
    (tmp_path / "mimic-cxr-reports.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"mimic-cxr-reports\.zip"):
        list(open_dataset("mimic-cxr-jpg", tmp_path))


def test_rsna(tmp_path: Path) -> None:
    header = ("patientId", "x", "y", "width", "height", "Target")
    rows = [
        ("aa", "264.0", "152.0", "213.0", "379.0", 1),
        ("bb", "", "", "", "", 0),
        ("aa", "562.0", "152.0", "256.0", "453.0", 1),  # the second box, not next to the first
        ("cc", "", "", "", "", 0),
        ("dd", "1.0", "", "", "", 1),
    ]
    table(tmp_path / "stage_2_train_labels.csv", header, rows)
    classes = [("aa", "Lung Opacity"), ("aa", "Lung Opacity"), ("bb", "Normal"), ("cc", "No Lung Opacity / Not Normal")]
    table(tmp_path / "stage_2_detailed_class_info.csv", ("patientId", "class"), classes)
    for name in ("aa", "bb", "cc"):
        picture(tmp_path / "stage_2_train_images" / f"{name}.png").rename(
            tmp_path / "stage_2_train_images" / f"{name}.dcm"
        )
    picture(tmp_path / "stage_2_test_images" / "tt.png").rename(tmp_path / "stage_2_test_images" / "tt.dcm")
    mapping = [
        {"subset_img_id": "aa", "img_id": "00014177_021.png"},
        {"subset_img_id": "bb", "img_id": "00000003_000.png"},
    ]
    (tmp_path / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(mapping))
    aa, bb, cc, test = examples(open_dataset("rsna-pneumonia", tmp_path))
    assert [(box.x_px, box.height_px) for box in aa.boxes] == [(264.0, 379.0), (562.0, 453.0)]
    positive, negative = Presence.PRESENT, Presence.ABSENT
    assert aa.labels == {"Lung Opacity": positive, "Normal": negative}
    assert bb.labels == {"Lung Opacity": negative, "Normal": positive}
    assert cc.labels == {"Lung Opacity": negative, "Normal": negative}
    assert (aa.source.patient_id, cc.source.patient_id) == ("00014177", "")
    assert (test.source.split, test.labels, aa.source.split) == ("test", {}, "train")
    assert lacks("rsna-pneumonia", tmp_path) == [Lack.ROW_INVALID]


def test_covid(tmp_path: Path) -> None:
    root = tmp_path / "COVID-19_Radiography_Dataset"
    for folder, name in (("COVID", "COVID-1"), ("Normal", "Normal-1"), ("Viral Pneumonia", "Viral Pneumonia-1")):
        picture(root / folder / "images" / f"{name}.png")
        picture(root / folder / "masks" / f"{name}.png")
    (root / "COVID" / "images" / "Thumbs.db").write_bytes(b"")
    covid, normal, viral = examples(open_dataset("covid-radiography", tmp_path))
    assert covid.labels == {
        "COVID-19": Presence.PRESENT,
        "Lung Opacity": Presence.UNMENTIONED,
        "Viral Pneumonia": Presence.UNMENTIONED,
        "Normal": Presence.ABSENT,
    }
    assert sorted(found.label for found in normal.labels.values()) == ["negative", "negative", "negative", "positive"]
    assert viral.source.attributes == {"mask": "Viral Pneumonia/masks/Viral Pneumonia-1.png"}


NIH = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
NIH_2017 = NIH + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],\n"  # commas in names, one more at the end
NIH_2020 = NIH.replace("Gender", "Sex") + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"


@pytest.mark.parametrize(("name", "header"), [("Data_Entry_2017", NIH_2017), ("Data_Entry_2017_v2020", NIH_2020)])
def test_nih(tmp_path: Path, name: str, header: str) -> None:
    rows = (
        "00000001_000.png,Cardiomegaly|Emphysema,0,1,058Y,M,PA,2682,2749,0.143,0.143,\n"
        "00000002_000.png,No Finding,0,2,81,M,PA,2500,2048,0.171,0.171,\n"
        "00000003_000.png,Hernia,0,3,81,F,PA,2582,2991,0.143,0.143,\n"  # not there
        "00000004_000.png,Flu,0,4,81,F,PA,2582,2991,0.143,0.143,\n"
    )
    (tmp_path / f"{name}.csv").write_text(header + rows)
    picture(tmp_path / "images_001" / "images" / "00000001_000.png")
    picture(tmp_path / "images_012" / "00000002_000.png")
    (tmp_path / "train_val_list.txt").write_text("00000001_000.png\r\n")
    (tmp_path / "test_list.txt").write_text("00000002_000.png\n")
    first, second = examples(open_dataset("nih-chestxray14", tmp_path))
    assert first.labels["Emphysema"] is Presence.PRESENT
    assert first.labels["Hernia"] is Presence.UNMENTIONED
    assert first.labels["No Finding"] is Presence.ABSENT
    assert second.labels["No Finding"] is Presence.PRESENT
    assert (first.source.split, second.source.split) == ("train", "test")
    assert first.source.attributes == {"view": "frontal", "projection": "PA", "sex": "M", "age": 58, "follow_up": 0}
    assert first.source.patient_id == "1"
    assert lacks("nih-chestxray14", tmp_path) == [Lack.MISSING_IMAGE, Lack.ROW_INVALID]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chexpert", "train.csv"),
        ("mimic-cxr-jpg", "mimic-cxr-2.0.0-metadata.csv.gz"),
        ("mimic-cxr", "cxr-record-list.csv.gz"),
        ("rsna-pneumonia", "stage_2_train_labels.csv"),
        ("covid-radiography", "COVID"),
        ("nih-chestxray14", "Data_Entry_2017"),
        ("iu-xray", "ecgen-radiology"),
        ("roco", "captions.txt"),
        ("roco-v2", "train_captions.csv"),
        ("medicat", "s2_full_figures"),
        ("pmc-jsonl", ".jsonl"),
        ("webdataset", ".tar"),
        ("csv-pairs", ".csv"),
        ("manifest", "manifest.csv"),
    ],
)
def test_a_wrong_layout_is_answered_with_the_file_that_was_expected(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        open_dataset(name, tmp_path)
    assert expected in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ROOT does not exist"):
        open_dataset("chexpert", tmp_path / "nowhere")


def test_a_damaged_table_names_the_file_and_quotes_nothing(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(b"Path,Sex\nJane Doe \xff,F\n")
    with pytest.raises(InputError, match=r"'train\.csv' cannot be read") as caught:
        list(open_dataset("chexpert", tmp_path))
    assert "Jane" not in str(caught.value)
    (tmp_path / "train.csv").write_text("Pfad,Sex\n")
    with pytest.raises(InputError, match="no column 'Path'"):
        list(open_dataset("chexpert", tmp_path))
