"""Findings of sentences and reports: concepts, places, sections, conflicts, and what is no report."""

import re
import time

import pytest

from callosum.core.errors import InputError, UsageError
from callosum.core.finding import Change, Finding, Laterality, Presence, Temporality
from callosum.core.report import Report, Section, SectionKind, Sentence
from callosum.data.report import parse_report
from callosum.knowledge.extract import Extractor, extract_report, extract_sentence
from callosum.knowledge.foreign import other_language, without_markup
from callosum.knowledge.labels import label
from callosum.knowledge.matcher import Mention

P, A, U = Presence.PRESENT, Presence.ABSENT, Presence.UNCERTAIN


def report(language: str = "en", **texts: str) -> Report:
    """A report of one-sentence sections by kind."""
    text, sections, sentences = "", [], []
    for kind, words in texts.items():
        start = len(text) + len(kind) + 2
        sections.append(
            Section(kind=SectionKind(kind), heading=kind, heading_start=len(text), start=start, end=start + len(words))
        )
        text += f"{kind}: {words}\n"
        sentences.append(Sentence(start=start, end=start + len(words), section=len(sections) - 1))
    return Report(text=text, sections=tuple(sections), sentences=tuple(sentences), language=language)


def named(findings: list[Finding], concept: str) -> Finding:
    (finding,) = [f for f in findings if f.concept == concept]
    return finding


@pytest.mark.parametrize(
    ("sentence", "concept", "site", "side"),
    [
        ("Consolidation in the right lower lobe.", "consolidation", "right lower lobe", Laterality.RIGHT),
        ("RUL consolidation.", "consolidation", "right upper lobe", Laterality.RIGHT),
        ("Bibasilar atelectasis.", "atelectasis", "both lung bases", Laterality.BILATERAL),
        ("Left pleural effusion.", "pleural effusion", "", Laterality.LEFT),
        ("Pleural effusions, right greater than left.", "pleural effusion", "", Laterality.BILATERAL),
        ("Consolidation at the left lung base with pleural effusion.", "pleural effusion", "", Laterality.UNSTATED),
        ("Cardiomegaly with left effusion.", "cardiomegaly", "", Laterality.UNSTATED),
        ("Pneumothorax on the right; left chest tube.", "pneumothorax", "", Laterality.RIGHT),
        ("Pneumothorax, left lower lobe atelectasis.", "pneumothorax", "", Laterality.UNSTATED),
        ("In the left upper lobe there is a mass.", "lung mass", "left upper lobe", Laterality.LEFT),
        ("Pneumothorax.", "pneumothorax", "", Laterality.UNSTATED),
    ],
)
def test_places(sentence: str, concept: str, site: str, side: Laterality) -> None:
    found = [f for f in extract_sentence(sentence) if f.concept in (concept, "mass")]
    assert [(f.site, f.laterality) for f in found] == [(site, side)]


def test_each_side_has_its_own_presence() -> None:
    findings = extract_sentence("Small pneumothorax on the left, none on the right. No effusion on the left.")
    pneumothorax, effusion = (named(findings, c) for c in ("pneumothorax", "pleural effusion"))
    assert (pneumothorax.presence, pneumothorax.laterality) == (P, Laterality.LEFT)
    assert (effusion.presence, effusion.laterality) == (A, Laterality.LEFT)


def test_spans_count_characters_of_the_text() -> None:
    text = "  Heart normal.\n\n<b>No</b> definite&nbsp;pleural effusion.  Possible pneumonia."
    findings = extract_sentence(text)
    effusion = named(findings, "pleural effusion")
    assert text[slice(*effusion.span)] == "pleural effusion"
    assert [text[slice(*cue)] for cue in effusion.cues] == ["No</b> definite"]
    pneumonia = named(findings, "pneumonia")
    assert text[slice(*pneumonia.sentence)] == "Possible pneumonia."
    assert text[slice(*pneumonia.cues[0])] == "Possible"


def test_sections_are_kept_apart() -> None:
    findings = extract_report(
        report(
            indication="Pneumonia, no fever, evaluate for effusion.",
            history="Emphysema.",
            comparison="Pneumothorax in the earlier film.",
            findings="No pneumonia. Small effusion.",
            impression="Stable cardiomegaly.",
        )
    )
    said = {(str(f.section), f.concept): (f.presence, f.temporality) for f in findings}
    assert said["indication", "pneumonia"] == (U, Temporality.HYPOTHETICAL)
    assert said["indication", "pleural effusion"] == (U, Temporality.HYPOTHETICAL)
    assert said["history", "emphysema"] == (P, Temporality.HISTORICAL)
    assert said["comparison", "pneumothorax"] == (P, Temporality.HISTORICAL)
    assert said["findings", "pneumonia"] == (A, Temporality.RECENT)
    assert said["findings", "pleural effusion"] == (P, Temporality.RECENT)
    labels = label(findings, scheme="chexpert14")
    assert labels["Pneumonia"] is A
    assert labels["Pleural Effusion"] is P
    assert labels["Pneumothorax"] is Presence.UNMENTIONED


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ("No pleural effusion.", "Left pleural effusion.", True),
        ("No left pleural effusion.", "Right pleural effusion.", False),
        ("Pleural effusion.", "Possible pleural effusion.", False),
        ("No pleural effusion.", "History of pleural effusion.", False),
        ("No pneumothorax.", "Pleural effusion.", False),
        ("Consolidation in the right lower lobe.", "No consolidation in the right upper lobe.", False),
        ("Pleural effusion.", "Pleural effusion.", False),
    ],
)
def test_contradictions_are_kept_and_flagged(first: str, second: str, conflict: bool) -> None:
    findings = extract_report(report(findings=first, impression=second))
    assert {f.section for f in findings} == {SectionKind.FINDINGS, SectionKind.IMPRESSION}
    assert [f.is_conflicting for f in findings] == [conflict] * len(findings)


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ("Moderate cardiomegaly.", "Heart size is normal.", True),
        ("The lungs are clear.", "Left upper lobe consolidation.", True),
        ("The bones are intact.", "Rib fracture.", True),
        ("The left lung is clear.", "Right upper lobe opacity.", False),
        ("The lungs are clear.", "No consolidation.", False),
        ("Heart size is normal.", "Possible cardiomegaly.", False),
        ("The lungs are clear.", "Rib fracture.", False),
    ],
)
def test_what_a_normal_statement_denies_may_contradict(first: str, second: str, conflict: bool) -> None:
    for one, other in ((first, second), (second, first)):
        findings = extract_report(report(findings=one, impression=other))
        assert [f.is_conflicting for f in findings] == [conflict] * 2


def test_concepts_of_another_finder_contradict_each_other_alone() -> None:
    class Codes:
        def mentions(self, text: str) -> list[Mention]:
            return [Mention(m.start(), m.end(), "C01", m.start()) for m in re.finditer("phlogiston", text)]

    findings = Extractor(finder=Codes()).report(report(findings="No phlogiston.", impression="New phlogiston."))
    assert [(f.concept, f.presence, f.is_conflicting) for f in findings] == [("C01", A, True), ("C01", P, True)]


def test_one_section_does_not_contradict_itself_nor_does_the_indication() -> None:
    assert not any(f.is_conflicting for f in extract_sentence("No effusion. Small effusion."))
    findings = extract_report(report(indication="No pneumonia.", findings="Pneumonia.", technique="Pneumonia."))
    assert not any(f.is_conflicting for f in findings)


def test_a_normal_statement_is_a_finding_that_denies_others() -> None:
    findings = extract_sentence("The heart is normal in size.")
    assert [f.presence for f in findings if f.concept == "normal heart size"] == [P]
    assert label(findings)["Cardiomegaly"] is A


@pytest.mark.parametrize(
    ("text", "presences"),
    [
        ("? pneumonia.", [U]),
        ("Consolidation, ? mass.", [P, U]),
        ("Pneumothorax? No. Effusion? Yes, large. Mass?", [A, P, U]),
        ("Is this pneumonia? No effusion.", [U, A]),
    ],
)
def test_a_question_mark_and_its_answer(text: str, presences: list[Presence]) -> None:
    assert [finding.presence for finding in extract_sentence(text)] == presences
    assert [finding.presence for finding in extract_report(parse_report(f"FINDINGS: {text}"))] == presences


def test_a_word_that_the_end_of_a_line_parts() -> None:
    text = "No pleural effu-\n  sion, right-\nsided pneumothorax."
    effusion, pneumothorax = extract_sentence(text)
    assert (effusion.concept, effusion.presence) == ("pleural effusion", A)
    assert text[slice(*effusion.span)] == "pleural effu-\n  sion"
    assert text[slice(*pneumothorax.span)] == "pneumothorax"
    assert pneumothorax.laterality is Laterality.RIGHT


def test_placeholders_inside_mentions() -> None:
    assert named(extract_sentence("No pleural XXXX effusion."), "pleural effusion").presence is A
    assert named(extract_sentence("There is no XXXX of pleural ___ effusion."), "pleural effusion").presence is A


def test_change() -> None:
    assert named(extract_sentence("Worsening pulmonary edema."), "pulmonary edema").change is Change.WORSENED
    resolved = named(extract_sentence("Interval resolution of the right pneumothorax."), "pneumothorax")
    assert (resolved.change, resolved.presence) == (Change.RESOLVED, A)


def test_what_has_no_findings() -> None:
    for text in (
        "",
        "   ",
        "\n\n\n",
        "FINDINGS:\nIMPRESSION:\n",
        "Comparison is made to the last film.",
        "...",
        "XXXX XXXX",
    ):
        assert extract_sentence(text) == []
    assert extract_report(report(findings="")) == []


@pytest.mark.parametrize("text", ["\0\1\2effusion\0", "\ufffd\ufffd\ufffd\ufffd\ufffd"])
def test_binary_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="should be text"):
        extract_sentence(text)


def test_bytes_are_refused() -> None:
    with pytest.raises(UsageError, match="got bytes"):
        extract_sentence(b"No effusion.")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Kein Nachweis eines Pneumothorax.", "de"),
        ("Herz normal, kein Pleuraerguss.", "de"),
        ("Pas de pneumothorax.", "fr"),
        ("Sin derrame pleural.", "es"),
        ("Nessun versamento pleurico.", "it"),
        ("Sem pneumothorax.", "pt"),
        ("Geen pneumothorax.", "nl"),
        ("Плеврального выпота нет", "und"),
        ("胸水なし", "und"),
    ],
)
def test_another_language_is_refused_not_guessed_at(text: str, language: str) -> None:
    assert other_language(text) == language
    with pytest.raises(InputError, match=rf"another language \({language}\)"):
        extract_sentence(text)
    with pytest.raises(InputError, match="Findings are read from English"):
        extract_report(report("unknown", findings=text))


def test_a_report_that_says_its_language_is_believed() -> None:
    with pytest.raises(InputError, match=r"\(fr\)"):
        extract_report(report("fr", findings="pneumothorax"))
    assert extract_report(report("en", findings="Pneumothorax at the Hôpital de la Croix."))


def test_english_is_not_taken_for_another_language() -> None:
    for text in (
        "No de novo lesion.",
        "Pneumothorax.",
        "RLL PNA",
        "Post-CABG, los 3 days",
        "S. aureus pneumonia, no pus",
    ):
        assert other_language(text) == ""


def test_markup_is_passed_over_where_it_stands() -> None:
    text = "<p>No pneumothorax</p><p>Effusion, nodule &lt; 5 mm and x<5 cm or y>3 cm</p>"
    assert len(without_markup(text)) == len(text)
    assert "x<5 cm or y>3 cm" in without_markup(text)
    findings = extract_sentence(text)
    assert named(findings, "pneumothorax").presence is A
    assert named(findings, "pleural effusion").presence is P


def test_what_no_reader_of_a_page_sees_says_nothing() -> None:
    text = "<style>.pneumonia {}</style>No edema<SCRIPT type='x'>nodule = 1 < 2</script ><!-- mass --> or effusion"
    assert len(without_markup(text)) == len(text)
    assert [(f.concept, f.presence) for f in extract_sentence(text)] == [("edema", A), ("pleural effusion", P)]
    assert [f.concept for f in extract_sentence("Effusion <script>pneumonia")] == ["pleural effusion"]


@pytest.mark.parametrize(
    "unit", ["<script ", "<!--", "No effusion. Small nodule in the lung. ", "no effusion and nodule ", "<", "\n", "no "]
)
def test_time_is_linear_in_the_text(unit: str) -> None:
    extract_sentence("No effusion.")
    took = []
    for length in (15_000, 60_000):
        text = unit * (length // len(unit))
        start = time.process_time()
        extract_sentence(text)
        took.append(time.process_time() - start)
    assert took[1] < 10 * took[0] + 0.1
