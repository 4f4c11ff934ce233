"""The forms in which reports come, and texts that are none."""

import io

import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from callosum.core.digest import digest_bytes
from callosum.core.errors import Refused
from callosum.core.report import SectionKind as Kind
from callosum.data.report import looks_like_report, read_report, unlinked

BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"
OPEN_I = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR9"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="INDICATION">Pneumonia &amp; fever?</AbstractText>
<AbstractText Label="FINDINGS"/>
<AbstractText Label="IMPRESSION">Größe normal. No effusion.</AbstractText>
</Abstract></Article></MedlineCitation></eCitation>"""


def reason(data: bytes) -> str:
    with pytest.raises(Refused) as raised:
        read_report(data)
    return raised.value.reason


def test_open_i() -> None:
    data = OPEN_I.encode()
    report = read_report(data)
    assert [(s.kind, report.text[s.start : s.end]) for s in report.sections] == [
        (Kind.COMPARISON, "None."),
        (Kind.INDICATION, "Pneumonia & fever?"),
        (Kind.IMPRESSION, "Größe normal. No effusion."),
    ]
    assert report.text.startswith("COMPARISON: None.\n\nINDICATION: ")
    assert report.findings_text() == "Größe normal. No effusion."
    assert report.identifiers == {"accession": "CXR9"}
    assert report.source_digest == digest_bytes(data)
    assert "CXR9" not in repr(report)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (
            OPEN_I.replace("<eCitation>", "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><eCitation>"),
            "XML_UNSAFE",
        ),
        (
            "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]><eCitation>&c;</eCitation>",
            "XML_UNSAFE",
        ),
        (OPEN_I[:-40], "CORRUPT"),
        ("<?xml version='1.0'?><eCitation>&b;</eCitation>", "CORRUPT"),
        ("<?xml version='1.0'?>" + "<a>" * 100 + "</a>" * 100, "NESTING_LIMIT"),
        ("<?xml version='1.0'?><svg><text>FINDINGS: Clear.</text></svg>", "NOT_A_REPORT"),
        ("<eCitation><AbstractText Label='FINDINGS'/></eCitation>", "NO_REPORT_TEXT"),
    ],
)
def test_unsafe_or_empty_xml(data: str, code: str) -> None:
    assert reason(data.encode()) == code


def item(value_type: str, name: tuple[str, str, str], *children: Dataset, **values: object) -> Dataset:
    dataset = Dataset()
    dataset.RelationshipType = "CONTAINS"
    dataset.ValueType = value_type
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = name
    dataset.ConceptNameCodeSequence = [code]
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if children:
        dataset.ContentSequence = list(children)
    return dataset


def text(name: tuple[str, str, str], value: str, *children: Dataset) -> Dataset:
    return item("TEXT", name, *children, TextValue=value)


def written(*children: Dataset, sop_class: str = BASIC_TEXT_SR) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, sop_class
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    root = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    root.SpecificCharacterSet = "ISO_IR 192"
    root.SOPClassUID, root.SOPInstanceUID, root.Modality = sop_class, "1.2.3.4", "SR"
    root.StudyInstanceUID, root.AccessionNumber, root.PatientID = "1.2.3", "ACC7", "PID8"
    root.ValueType = "CONTAINER"
    root.ConceptNameCodeSequence = item("CONTAINER", ("11528-7", "LN", "Radiology Report")).ConceptNameCodeSequence
    root.ContentSequence = list(children)
    stream = io.BytesIO()
    root.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_a_structured_report_with_coded_headings() -> None:
    size = item("NUM", ("410668003", "SCT", "Length"))
    value, unit = Dataset(), Dataset()
    value.NumericValue = "12"
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "mm", "UCUM", "millimeter"
    value.MeasurementUnitsCodeSequence, size.MeasuredValueSequence = [unit], [value]
    report = read_report(
        written(
            item("PNAME", ("121008", "DCM", "Person Observer Name"), PersonName="Doe^Jane"),
            item("CONTAINER", ("121109", "DCM", "Any words"), text(("121110", "DCM", "x"), "Pneumonia?")),
            item(
                "CONTAINER",
                ("121070", "DCM", "Findings"),
                text(("121071", "DCM", "Finding"), "Große nodule.", size),
                item("CONTAINER", ("1", "99X", "Heart"), text(("2", "99X", "Note"), "Normal.")),
            ),
            item("CONTAINER", ("121072", "DCM", "Impressions"), text(("121073", "DCM", "Impression"), "No effusion.")),
        )
    )
    assert [s.kind for s in report.sections] == [Kind.HISTORY, Kind.FINDINGS, Kind.IMPRESSION]
    assert report.findings_text() == "Große nodule. Length: 12 mm Note: Normal. No effusion."
    assert report.identifiers == {"study_uid": "1.2.3", "accession": "ACC7", "patient_id": "PID8"}
    assert "Doe" not in report.text


def test_a_structured_report_that_is_one_text() -> None:
    whole = "INDICATION: Pneumonia?\r\nFINDINGS: Clear.\r\nIMPRESSION: Normal."
    report = read_report(written(text(("1", "99X", "Text Block"), whole)))
    assert [s.kind for s in report.sections] == [Kind.INDICATION, Kind.FINDINGS, Kind.IMPRESSION]
    assert report.findings_text() == "Clear. Normal."
    assert report.identifiers["accession"] == "ACC7"


def test_structured_reports_without_text() -> None:
    with pytest.raises(Refused) as raised:
        read_report(written(item("CONTAINER", ("121070", "DCM", "Findings"))))
    assert (raised.value.answer, raised.value.reason) == ("METADATA_ONLY", "NO_REPORT_TEXT")
    assert raised.value.identifiers["study_uid"] == "1.2.3"
    assert reason(written(text(("1", "99X", "Note"), "x"), sop_class=BASIC_TEXT_SR[:-2] + "59")) == "NO_REPORT_TEXT"
    assert reason(written(sop_class="1.2.840.10008.5.1.4.1.1.104.1")) == "NOT_A_REPORT"


def test_a_deep_tree_is_refused() -> None:
    deep = text(("1", "99X", "Note"), "x")
    for _ in range(80):
        deep = item("CONTAINER", ("1", "99X", "Part"), deep)
    assert reason(written(deep)) == "NESTING_LIMIT"


def test_plain_text_in_another_encoding() -> None:
    report = read_report("INDICATION: Fièvre\nFINDINGS: The lungs are clear – normal.".encode("cp1252"))
    assert [flag.code for flag in report.flags] == ["ENCODING_GUESSED"]
    assert report.findings_text() == "The lungs are clear – normal."


def test_text_for_a_search_is_composed_and_spans_are_not() -> None:
    decomposed = "FINDINGS: Gro\u0308ße normal."
    report = read_report(decomposed.encode())
    assert report.findings_text() == "Größe normal."
    assert report.text == decomposed
    assert report.sections[0].end == len(decomposed)


@pytest.mark.parametrize(
    "prose",
    [
        "Buy milk, eggs and bread.",
        "The findings of the committee were published. History of the town.",
        "# Title\n\nAbstract: We study lungs.\n\nFindings: They are lungs.\n\nReferences: none",
        "Introduction\n\nText.\n\nMethods\n\nText.\n\nConclusion\n\nText.",
        "History: the town was built in 1200.\nPlan: to visit it.\nSummary: a nice town.",
        "<!DOCTYPE html><html><body><h1>Findings</h1>Impression: nice</body></html>",
        "import os\n\nFINDINGS = 3\nIMPRESSION = 4\n",
        "def main():\n    '''Findings: none.\n\n    Impression: none.\n    '''\n",
        "name,findings,impression\n1,clear,normal\n",
        "Conclusion: we should leave.",
        "Diagnosis: a book by an author. Interpretation: hard.",
    ],
)
def test_texts_that_are_no_reports(prose: str) -> None:
    assert not looks_like_report(prose)
    assert reason(prose.encode()) == "NOT_A_REPORT"


@pytest.mark.parametrize(
    "report",
    [
        "FINDINGS: The lungs are clear.",
        "Impression: Normal.",
        "findings - clear\nimpression - normal",
        "FINAL REPORT\n\nThe lungs are clear.",
        "HISTORY: Cough.\nCONCLUSION: Normal.",
        "Accession Number: A77\nOpinion: Normal.",
        "Fragestellung: Pneumonie?\nBeurteilung: Kein Erguss.",
    ],
)
def test_texts_that_are_reports(report: str) -> None:
    assert looks_like_report(report)


def test_a_report_without_a_study() -> None:
    refused = unlinked()
    assert (refused.answer, refused.reason) == ("METADATA_ONLY", "REPORT_UNLINKED")
