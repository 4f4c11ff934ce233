"""What is searched, above all when no heading says where the findings are."""

import pytest

from callosum.core.report import SectionKind as Kind
from callosum.data.report import parse_report


def codes(text: str) -> list[str]:
    return [flag.code for flag in parse_report(text).flags]


@pytest.mark.parametrize(
    "text",
    [
        "INDICATION: Evaluate for pneumonia.\nFINDINGS: Clear.",
        "INDICATION: Evaluate for pneumonia.\n\nIs it pneumonia?",
        "INDICATION: Evaluate for pneumonia.",
        "History: Pneumonia in 2010.\n\nPatient with pneumonia, follow-up.\n\nImpression: Clear.",
        "REASON FOR EXAM: pneumonia IMPRESSION: Clear.",
        "Clinical information: Diagnosis: pneumonia. Impression: Clear.",
        "CLINICAL HISTORY:\nDIAGNOSIS: pneumonia\nIMPRESSION: Clear.",
        "COMPARISON: Pneumonia on 2 May.\nTECHNIQUE: Pneumonia protocol.\nFINDINGS: Clear.",
        "WET READ: pneumonia.\nFINDINGS: Clear.",
        "FINDINGS: Clear.\nRECOMMENDATION: Treat pneumonia.",
        "FINDINGS: Clear.\nNOTIFICATION: Dr. A was told by telephone that there is a question\nof pneumonia.",
        "Klinische Angaben: Pneumonia?\nBefund: Kein Erguss.",
        "Indicatons: pneumonia. Findngs: Clear.",
        "INDICATION: pneumonia\nLUNGS: Clear.\nHEART: Normal.",
    ],
)
def test_what_was_asked_is_never_searched(text: str) -> None:
    report = parse_report(text)
    assert "neumonia" not in report.findings_text()
    assert not any("neumonia" in report.sentence_text(s) for s in report.findings_sentences())


def test_paragraphs_below_a_comparison() -> None:
    text = "HISTORY: Fever.\n\nCOMPARISON: None.\n\nHeart is enlarged.\n\nNo effusion.\n\nIMPRESSION: Cardiomegaly."
    report = parse_report(text)
    assert report.findings_text() == "Heart is enlarged. No effusion. Cardiomegaly."
    assert codes(text) == ["FINDINGS_UNHEADED"]


def test_the_last_paragraph_below_a_technique() -> None:
    text = "TECHNIQUE: CT.\n\nAxial images were obtained.\n\nThe liver is normal.\n\nIMPRESSION: Normal."
    assert parse_report(text).findings_text() == "The liver is normal. Normal."
    assert codes("TECHNIQUE: CT.\n\nAxial images were obtained.\n\nIMPRESSION: Normal.") == []


def test_the_last_paragraph_of_a_history_when_there_is_nothing_else() -> None:
    text = "HISTORY: Cough.\n\nSmoker for years.\n\nThe lungs are clear without effusion."
    report = parse_report(text)
    assert report.findings_text() == "The lungs are clear without effusion."
    assert codes(text) == ["FINDINGS_UNHEADED"]


def test_labels_of_organs_begin_findings() -> None:
    text = "TECHNIQUE: PA.\nLUNGS: Clear.\nHEART: Enlarged.\nIMPRESSION: Cardiomegaly."
    report = parse_report(text)
    assert [s.kind for s in report.sections] == [Kind.TECHNIQUE, Kind.FINDINGS, Kind.IMPRESSION]
    assert report.findings_text() == "LUNGS: Clear. HEART: Enlarged. Cardiomegaly."
    assert codes(text) == ["FINDINGS_UNHEADED"]


def test_a_title_and_text_without_headings() -> None:
    text = "CHEST RADIOGRAPH, TWO VIEWS\n\nThe lungs are clear. No effusion."
    report = parse_report(text)
    assert [s.kind for s in report.sections] == [Kind.EXAM, Kind.FINDINGS]
    assert codes(text) == ["NO_HEADINGS"]
    assert parse_report("Normal chest").findings_text() == "Normal chest"


def test_text_above_an_impression() -> None:
    text = "CHEST, PA\n\nThe heart is enlarged. There is an effusion.\n\nIMPRESSION: Failure."
    assert parse_report(text).findings_text() == "The heart is enlarged. There is an effusion. Failure."


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("INDICATION: Cough.\nIMPRESSION:\n", "IMPRESSION_EMPTY"),
        ("FINDINGS: The lungs are clear.\nIMPRESSION: See above.", "IMPRESSION_EMPTY"),
        ("INDICATION: Cough.\nIMPRESSION:\n", "NO_FINDINGS"),
        ("", "NO_FINDINGS"),
        ("FINDINGS: The heart is ***. The lungs are clear.", "TEMPLATE"),
        ("FINDINGS: [ ] normal. Lorem ipsum dolor.", "TEMPLATE"),
        ("FINDINGS: XXXX XXXX. XXXX of XXXX.", "REDACTED"),
        ("Befund: Das Herz ist normal. Kein Nachweis von Stauung.", "LANGUAGE"),
        ("Résultats : Pas de pneumothorax. Le coeur est de taille normale.", "LANGUAGE"),
        ("Hallazgos: No se observa derrame en los pulmones. El corazón es normal.", "LANGUAGE"),
        ("所見：心臓の大きさは正常です。肺野に異常陰影はありません。胸水なし。", "LANGUAGE"),
        ("MRN: 1234\nMRN: 5678\nFINDINGS: Clear.", "IDENTIFIER_CONFLICT"),
    ],
)
def test_flags(text: str, code: str) -> None:
    assert code in codes(text)


def test_a_plain_report_has_no_flag() -> None:
    assert codes("INDICATION: Cough.\nFINDINGS: The lungs are clear.\nIMPRESSION: Normal chest, XXXX.") == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Il cuore è nei limiti della norma. Non si osserva versamento nel torace.", "it"),
        ("Não há derrame. O coração é de dimensões normais, sem alterações.", "pt"),
        ("Het hart is normaal van grootte. Geen aanwijzingen voor pneumothorax.", "nl"),
        ("The lungs are clear.", "en"),
        ("xq zzt", "unknown"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert parse_report(text).language == language


def test_identifiers_are_in_one_place() -> None:
    text = (
        "Patient Name: Jane Doe\nMRN: 123456  Accession Number: A-99\nStudy Instance UID: 1.2.840.1\nFINDINGS: Clear.\n"
        "Electronically signed by: B"
    )
    report = parse_report(text)
    assert report.identifiers == {"patient_id": "123456", "accession": "A-99", "study_uid": "1.2.840.1"}
    assert report.findings_text() == "Clear."
    assert not any(secret in repr(report) for secret in ("Jane", "123456", "A-99", "1.2.840"))
    assert parse_report("Accession: ___\nFINDINGS: Clear.").identifiers == {}


@pytest.mark.parametrize(
    "heading",
    "Clin hx|Clin. indication|CLINICAL SCENARIO|Clinical impression|CLINICAL FINDINGS|Relevant medical history|Hx|PMHx|"
    "Past med hx|Additional history|Exam indication|Current symptoms|ORDER COMMENTS|ED physician comments|Triage note|"
    "Suspected diagnosis|Technologist note|Referral reason|Medical necessity|Risk factors".split("|"),
)
@pytest.mark.parametrize(
    "form",
    [
        "{}: pneumonia is suspected.\n\nIMPRESSION: Normal.",
        "FINDINGS: Lungs are clear.\n{}: pneumonia is suspected.\nIMPRESSION: Normal.",
        "{}\npneumonia is suspected.\n\nIMPRESSION\nNormal.",
    ],
)
def test_what_was_asked_under_headings_that_are_not_listed(heading: str, form: str) -> None:
    found = parse_report(form.format(heading)).findings_text()
    assert "pneumonia" not in found
    assert found.endswith("Normal.")


@pytest.mark.parametrize(
    "label", ["Clinical correlation", "Differential diagnosis", "Clinical stage", "Suspected fracture", "Order"]
)
def test_labels_within_findings_ask_nothing(label: str) -> None:
    assert parse_report(f"FINDINGS: A mass.\n{label}: as above.\nIMPRESSION: Mass.").findings_text().count("as above")


def test_a_diagnosis_above_findings_is_the_requesters() -> None:
    text = "DIAGNOSIS: lung cancer\nINDICATION: staging\nFINDINGS: Clear.\nIMPRESSION: Normal."
    assert parse_report(text).findings_text() == "Clear. Normal."
    assert parse_report("DIAGNOSIS: lung cancer\nCLINICAL HISTORY: cough").findings_text() == "lung cancer"


def test_a_title_without_contrast_says_nothing() -> None:
    for title in ("CT HEAD WITHOUT CONTRAST", "CT ABDOMEN WITHOUT AND WITH IV CONTRAST"):
        text = f"{title}\n\nHISTORY: Fall.\n\nIMPRESSION: Normal CT."
        assert parse_report(text).findings_text() == "Normal CT."
