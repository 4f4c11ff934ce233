"""What is a heading, and what only looks like one."""

import pytest

from callosum.core.report import SectionKind as Kind
from callosum.data.report import parse_report
from callosum.data.report.spelling import correct, edits
from callosum.data.report.vocabulary import meaning_of

ASK, F, M = Kind.INDICATION, Kind.FINDINGS, Kind.IMPRESSION


def kinds(text: str) -> list[Kind]:
    return [section.kind for section in parse_report(text).sections]


def parts(text: str) -> list[tuple[Kind, str]]:
    report = parse_report(text)
    return [(s.kind, report.text[s.start : s.end]) for s in report.sections]


@pytest.mark.parametrize(
    "text",
    [
        "FINDINGS: There are no acute findings: the heart is normal.",
        "FINDINGS: The findings are unchanged. No other findings.",
        "FINDINGS: There is a history of surgery. History of asthma.",
        "FINDINGS: Comparison is made with 2012. In comparison to the prior, worse.",
        "FINDINGS: Indication of prior disease. Impression fracture of the humerus.",
        "FINDINGS: Technique limits the study. The impression of a mass: artefact.",
        "FINDINGS: The above findings: no change. These findings - as said - are old.",
        "FINDINGS: Physical exam: not known. Her social history: none.",
        "FINDINGS: Lungs clear.\nLUNGS: clear.\nHEART: normal.\nBONES AND SOFT TISSUES: intact.",
        "FINDINGS: Liver: normal. Spleen: normal. Size: 3 cm. Location: right. BI-RADS: 2.",
        "FINDINGS: A wrapped line that goes on about the lungs, with no acute\nfindings: the heart is normal.",
        "FINDINGS: A wrapped line that goes on about the lungs and about the\nimpression - not the final one - is old.",
        "FINDINGS: Seen at 10:30 and 3:17, ratio 2:1, image 4:12.",
        "FINDINGS: Left venous COMPRESSION: complete. ST DEPRESSION: none.",
        "FINDINGS:\nCompression: complete.\nAugmentation: normal.",
        "FINDINGS: NO ACUTE FINDINGS: HEART IS NORMAL.",
        "FINDINGS: FINDINGS COULD REPRESENT SARCOID.",
        "FINDINGS\nFINDINGS CONSISTENT WITH pneumonia are seen.",
        "FINDINGS: The CT findings: a mass.",
        "FINDINGS: Otherwise unremarkable. OTHER FINDINGS: none. Pulmonary findings: none.",
        "FINDINGS: Lesion 1.\nDate: before.\nName: unknown lesion.\nLocation: left.\nComment: small.",
        "FINDINGS: Plan: none is needed. Diagnosis: made before.",
    ],
)
def test_running_text_is_not_divided(text: str) -> None:
    assert kinds(text) == [F]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INDICATION: Cough FINDINGS: Clear IMPRESSION: Normal", [ASK, F, M]),
        ("Indication: Cough. Findings: Clear. Impression: Normal.", [ASK, F, M]),
        ("indication - cough\nfindings - clear\nimpression - normal", [ASK, F, M]),
        ("INDICATION: COUGH FINDINGS: CLEAR. IMPRESSION: NORMAL.", [ASK, F, M]),
        ("INDICATION: INDICATION: COUGH; FINDINGS: Clear", [ASK, F]),
        ("FINDINGS/IMPRESSION: Clear.", [F]),
        ("FINDINGS AND IMPRESSION: Clear.", [F]),
        ("IMPRESSION/RECOMMENDATION: Clear.", [M]),
        ("TECHNIQUE AND FINDINGS: Clear.", [F]),
        ("HISTORY AND FINDINGS: Cough, clear.", [Kind.HISTORY]),
        ("FINDINGS (LIMITED): Clear.", [F]),
        ("FINDINGS #1: Clear.", [F]),
        ("CT FINDINGS: Clear. FINAL IMPRESSION: Normal.", [F, M]),
        ("FINDINGS: Clear.\nADDENDUM by A on 3/4 at 10:30: A nodule.", [F, Kind.ADDENDUM]),
        ("FINDINGS: Clear.\nLATE ADDENDUM\nA nodule.", [F, Kind.ADDENDUM]),
        ("WET READ: A 7:15 PM\nClear.\n____________\nFINAL REPORT\nFINDINGS: Clear.", [Kind.WET_READ, F]),
        ("HISTORY: COPD.\nOPINION: Normal.", [Kind.HISTORY, M]),
        ("PROCEDURE: Chest.\nREASON FOR EXAM: Cough.\nDISCUSSION: Clear.\nCONCLUSION: Normal.", [Kind.EXAM, ASK, F, M]),
        ("Clinical history: cough. Diagnosis: cancer. Findings: Nodule.", [ASK, F]),
        ("CLINICAL INFORMATION:\nDIAGNOSIS: cancer\nFINDINGS: Nodule.", [ASK, F]),
        ("**Findings:** Clear.\n\n**Impression:** Normal.", [F, M]),
        ("1. Findings\nClear.\n2. Impression\nNormal.", [F, M]),
        ("F I N D I N G S:\nClear.", [F]),
        ("Befund: Klar.\nBeurteilung: Kein Erguss.", [F, M]),
        ("Résultats : Normal.\nConclusion : Pas d'épanchement.", [F, M]),
        ("Hallazgos: Normal.\nImpresión: Sin derrame.", [F, M]),
    ],
)
def test_headings(text: str, expected: list[Kind]) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("impresson", M),
        ("findngs", F),
        ("IMPRESSSION", M),
        ("Comparsion", Kind.COMPARISON),
        ("CLINCAL HISTROY", ASK),
        ("Techinque", Kind.TECHNIQUE),
        ("ADDENDM", Kind.ADDENDUM),
    ],
)
def test_misspelt(written: str, kind: Kind) -> None:
    meaning = meaning_of(written, mend=True)
    assert meaning is not None
    assert meaning.kind is kind
    assert meaning_of(written) is None


@pytest.mark.parametrize("word", ["compression", "depression", "confusion", "induction", "bindings", "lungs", "storey"])
def test_words_that_are_themselves(word: str) -> None:
    assert correct(word) == word
    assert meaning_of(word, mend=True) is None


def test_edits() -> None:
    assert edits("", "abc") == 3
    assert edits("findigns", "findings") == 1, "two neighbours swapped are one edit"
    assert edits("kitten", "sitting") == 3


def test_the_same_heading_twice_is_one() -> None:
    assert parts("INDICATION: INDICATION: COUGH; more") == [(ASK, "INDICATION: COUGH; more")]


def test_spans_and_headings_are_as_written() -> None:
    text = "  Clinical History:  cough \n\n FINDINGS :\tClear. \n"
    report = parse_report(text)
    assert [s.heading for s in report.sections] == ["Clinical History", "FINDINGS"]
    assert [text[s.heading_start :][: len(s.heading)] for s in report.sections] == ["Clinical History", "FINDINGS"]
    assert parts(text) == [(ASK, "cough"), (F, "Clear.")]
    assert report.text == text
