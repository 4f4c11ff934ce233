"""A report's accessors."""

from callosum.core.report import Report, Section, SectionKind, Sentence

TEXT = "INDICATION: Cough?\nFINDINGS: Lungs\n  clear. O\u0308dem.\nADDENDUM: Nodule."


def section(kind: SectionKind, heading: str, body: str) -> Section:
    start = TEXT.index(body)
    return Section(kind=kind, heading=heading, heading_start=TEXT.index(heading), start=start, end=start + len(body))


REPORT = Report(
    text=TEXT,
    sections=(
        section(SectionKind.INDICATION, "INDICATION", "Cough?"),
        section(SectionKind.FINDINGS, "FINDINGS", "Lungs\n  clear. O\u0308dem."),
        section(SectionKind.ADDENDUM, "ADDENDUM", "Nodule."),
    ),
    sentences=(
        Sentence(start=12, end=18, section=0),
        Sentence(start=29, end=43, section=1),
        Sentence(start=61, end=68, section=2),
    ),
    identifiers={"accession": "SECRET-1"},
)


def test_what_is_searched() -> None:
    assert REPORT.findings_text() == "Lungs clear. Ödem. Nodule."
    assert REPORT.section_text(SectionKind.INDICATION) == "Cough?"
    assert REPORT.section_text(SectionKind.IMPRESSION) == ""
    assert [s.section for s in REPORT.findings_sentences()] == [1, 2]
    assert REPORT.sentence_text(REPORT.sentences[1]) == "Lungs clear."


def test_text_and_identifiers_are_not_shown() -> None:
    assert "SECRET" not in repr(REPORT)
    assert "Lungs" not in repr(REPORT)
