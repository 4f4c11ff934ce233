"""Reports made for measuring: sections of invented sentences, typeset in many styles, with the spans that are right.

The sentences hold what could be taken for a heading ("no acute findings: ...", "History of ...", "LUNGS: ...").
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SENTENCES = {
    "exam": ["CT of the chest", "Chest radiograph, two views", "MR brain without contrast", "US abdomen, complete."],
    "indication": [
        "Cough and fever for 3 days.",
        "Evaluate for pneumonia",
        "Fall at 7:15 p.m., rule out fracture.",
        "Abnormal findings at outside hospital.",
        "Male, 62 y.o., chest pain",
        "History of COPD; dyspnea.",
    ],
    "history": ["Lobectomy in 2011.", "History of melanoma", "Diabetes, hypertension.", "Smoker, 40 pack-years"],
    "comparison": ["None.", "CT of 3 March 2012 at 10:30.", "No prior", "Radiograph from outside", "Two days earlier."],
    "technique": [
        "Axial images were obtained.",
        "PA and lateral views.",
        "Contrast: 100 mL i.v., 2:1 ratio.",
        "Helical scan with 1.25 mm slices",
        "Dose reduction was used.",
    ],
    "findings": [
        "The lungs are clear.",
        "There is a 3.5 x 2 cm. mass in the right upper lobe, cf. series 3.",
        "No acute findings: the heart is of normal size.",
        "The findings are unchanged in comparison to the prior.",
        "Heart size is normal",
        "The history of surgery explains the clips.",
        "No pleural effusion or pneumothorax.",
        "There are findings suggestive of edema.",
        "Impression fracture of the humeral head.",
        "Technique limits evaluation of the bases.",
        "Comparison is difficult - the positions differ.",
        "Indication of prior granulomatous disease is seen.",
        "Nodule of 4.2 mm (image 3:17), previously 3.9 mm.",
    ],
    "impression": [
        "No acute disease.",
        "Findings consistent with pneumonia.",
        "Stable nodule, follow-up in 6 mos. is advised.",
        "1. Left effusion. 2. No pneumothorax.",
        "Normal chest",
        "Recommend comparison with prior studies.",
        "History of tuberculosis explains the scars.",
        "Findings were discussed with Dr. Smith at 4:30 p.m.",
    ],
    "recommendation": ["CT in 6 months.", "Clinical correlation", "Ultrasound is suggested."],
}
ORDER = ("exam", "indication", "history", "comparison", "technique", "findings", "impression", "recommendation")
SYNONYMS = {
    "exam": ("EXAMINATION", "STUDY", "PROCEDURE"),
    "indication": ("REASON FOR EXAM", "CLINICAL INFORMATION", "CLINICAL INDICATION", "CLINICAL HISTORY"),
    "history": ("PAST MEDICAL HISTORY", "MEDICAL HISTORY"),
    "comparison": ("COMPARISONS", "PRIOR STUDIES", "COMPARISON STUDY"),
    "technique": ("TECHNIQUES", "IMAGING TECHNIQUE"),
    "findings": ("FINDINGS", "CT FINDINGS", "FINDING"),
    "impression": ("CONCLUSION", "OPINION", "IMPRESSIONS", "INTERPRETATION"),
    "recommendation": ("RECOMMENDATIONS", "RECOMMENDATION(S)"),
}
MISSPELT = {
    "exam": ("EXAMINTION", "EXAMINATOIN"),
    "indication": ("INDICATON", "INDICATIONN", "INIDCATION"),
    "history": ("HISTROY", "HISTRY"),
    "comparison": ("COMPARISION", "COMPARSION", "COMPARSON"),
    "technique": ("TECHNIQE", "TECHNQUE", "TECNIQUE"),
    "findings": ("FINDNGS", "FINDIGNS", "FINDINSG", "FINDIINGS"),
    "impression": ("IMPRESSON", "IMPRESION", "IMPRESSSION", "MPRESSION", "IMPRSSION"),
    "recommendation": ("RECOMENDATION", "RECOMMENDATON", "RECOMMENDTION"),
}
GERMAN = {
    "exam": "Untersuchung", "indication": "Klinische Angaben", "history": "Anamnese", "comparison": "Voruntersuchung",
    "technique": "Technik", "findings": "Befund", "impression": "Beurteilung", "recommendation": "Empfehlung",
}  # fmt: skip
Parts = list[tuple[str, str]]
Span = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class Style:
    """How headings and bodies are set.

    Attributes:
        before: What stands before a heading; `{n}` is the number of the section.
        after: What stands between a heading and its text.
        close: What stands after the text.
        gap: What separates sections.
        name: From the name of a kind and a source of chance to the heading's words.
        flow: How the text is set: `plain`, `wrapped` to 60 columns, or `paragraphs`.
        banner: What the report begins with.
        stops: Every text ends with a full stop.
    """

    before: str = ""
    after: str = ": "
    close: str = ""
    gap: str = "\n\n"
    name: Callable[[str, random.Random], str] = lambda kind, chance: kind.upper()
    flow: str = "plain"
    banner: str = ""
    stops: bool = False


def _title(kind: str, chance: random.Random) -> str:
    return kind.title()


def _lower(kind: str, chance: random.Random) -> str:
    return kind


def _synonym(kind: str, chance: random.Random) -> str:
    return chance.choice(SYNONYMS[kind])


def _synonym_title(kind: str, chance: random.Random) -> str:
    return chance.choice(SYNONYMS[kind]).title()


def _misspelt(kind: str, chance: random.Random) -> str:
    return chance.choice(MISSPELT[kind])


def _misspelt_title(kind: str, chance: random.Random) -> str:
    return chance.choice(MISSPELT[kind]).title()


def _synonym_sentence(kind: str, chance: random.Random) -> str:
    return chance.choice(SYNONYMS[kind]).capitalize()


def _synonym_lower(kind: str, chance: random.Random) -> str:
    return chance.choice(SYNONYMS[kind]).lower()


def _misspelt_lower(kind: str, chance: random.Random) -> str:
    return chance.choice(MISSPELT[kind]).lower()


def _spaced(kind: str, chance: random.Random) -> str:
    return " ".join(kind.upper())


def _german(kind: str, chance: random.Random) -> str:
    return GERMAN[kind]


STYLES = {
    "capitals": Style(),
    "capitals, one line break": Style(gap="\n"),
    "capitals on a line": Style(after="\n"),
    "capitals, colon on a line": Style(after=":\n\n"),
    "capitals in one line": Style(gap=" "),
    "capitals in one line, space before colon": Style(gap=" ", after=" : "),
    "capitals and dash": Style(after=" - ", gap="\n"),
    "capitals and dash in one line": Style(after=" - ", gap=" ", stops=True),
    "capitals and nothing": Style(after=" ", gap="\n", name=lambda kind, _: kind.upper()),
    "capitals and tab": Style(after="\t", gap="\n"),
    "capitals, wrapped": Style(flow="wrapped"),
    "capitals, indented and wrapped": Style(before="   ", flow="wrapped", banner="   FINAL REPORT\n\n"),
    "capitals, CR LF": Style(gap="\r\n\r\n"),
    "capitals, CR": Style(gap="\r", after=":\r"),
    "capitals, paragraphs": Style(flow="paragraphs"),
    "title": Style(name=_title, gap="\n"),
    "title on a line": Style(name=_title, after="\n", gap="\n\n"),
    "title in one line": Style(name=_title, gap=" ", stops=True),
    "title in one line, no full stops": Style(name=_title, gap=" "),
    "title and long dash": Style(name=_title, after=" – ", gap="\n"),
    "title, wrapped": Style(name=_title, flow="wrapped", gap="\n"),
    "lower": Style(name=_lower, gap="\n"),
    "lower in one line": Style(name=_lower, gap=" ", stops=True),
    "lower and dash in one line": Style(name=_lower, after=" - ", gap=" ", stops=True),
    "lower, wrapped": Style(name=_lower, flow="wrapped", gap="\n"),
    "numbered": Style(name=_title, before="{n}. ", after="\n"),
    "numbered with colon": Style(before="{n}) ", after=": ", gap="\n"),
    "roman": Style(before="{r}. ", after=":\n"),
    "markdown": Style(name=_title, before="## ", after="\n\n"),
    "bold": Style(name=_title, before="**", after=":** "),
    "bold, colon outside": Style(name=_title, before="**", after="**: ", gap="\n"),
    "bold in one line": Style(before="**", after=":** ", gap=" "),
    "underlined": Style(name=_title, after="\n{rule}\n"),
    "drawn around": Style(before="--- ", after=" ---\n"),
    "starred": Style(before="*** ", after=" ***\n"),
    "brackets": Style(before="[", after="] ", gap="\n"),
    "bullets": Style(name=_title, before="- ", after=": ", gap="\n"),
    "table": Style(name=_title, before="| ", after=" | ", close=" |", gap="\n"),
    "equals": Style(name=_title, after=" = ", gap="\n"),
    "arrow": Style(after=" -> ", gap="\n"),
    "html": Style(name=_title, before="<b>", after=":</b> ", gap="<br>\n"),
    "html headings": Style(name=_title, before="<h2>", after="</h2>\n"),
    "tags": Style(name=_title, before="<", after=">", close="</x>", gap="\n"),
    "synonyms": Style(name=_synonym),
    "synonyms, title on a line": Style(name=_synonym_title, after="\n"),
    "synonyms in one line": Style(name=_synonym, gap=" ", banner="FINAL REPORT "),
    "misspelt": Style(name=_misspelt),
    "misspelt, on a line": Style(name=_misspelt, after="\n"),
    "misspelt, title": Style(name=_misspelt_title, gap="\n"),
    "misspelt in one line": Style(name=_misspelt, gap=" "),
    "synonyms, sentence case": Style(name=_synonym_sentence, gap="\n"),
    "synonyms, sentence case on a line": Style(name=_synonym_sentence, after="\n"),
    "synonyms, lower": Style(name=_synonym_lower, gap="\n"),
    "synonyms, lower and dash": Style(name=_synonym_lower, gap="\n", after=" - "),
    "colon without space": Style(after=":", gap="\n"),
    "colon without space, one line": Style(after=":", gap=" "),
    "colon dash": Style(after=":- ", gap="\n"),
    "double colon": Style(after=":: ", gap="\n"),
    "two spaces": Style(after="  ", gap="\n"),
    "synonyms in one line, wide gaps": Style(after=": ", gap="   ", name=_synonym),
    "html paragraphs": Style(name=_title, before="<p><strong>", after=":</strong> ", close="</p>", gap=""),
    "html paragraphs on lines": Style(
        name=_title, before="<p><strong>", after="</strong></p>\n<p>", close="</p>", gap="\n"
    ),
    "overlined": Style(name=_title, before="========\n", after="\n========\n"),
    "markdown, colon": Style(name=_title, before="### ", after=":\n"),
    "bold on a line": Style(name=_title, before="**", after="**\n"),
    "bold with colon on a line": Style(before="**", after=":**\n", gap="\n"),
    "italics": Style(name=_title, before="*", after=":* ", gap="\n"),
    "underscores": Style(name=_title, before="__", after=":__ ", gap="\n"),
    "letters": Style(name=_title, before="A. ", after=": ", gap="\n"),
    "numbered in one line": Style(name=_title, before="{n}. ", after=": ", gap=" ", stops=True),
    "numbered capitals in one line": Style(before="{n}. ", after=": ", gap=" ", stops=True),
    "quoted": Style(name=_title, before='"', after='": ', gap="\n"),
    "paren": Style(before="(", after=") ", gap="\n"),
    "angle": Style(before="<<", after=">>\n", gap="\n"),
    "capitals and aside": Style(after=" (FINAL): ", gap="\n"),
    "bars in one line": Style(gap=" | "),
    "title, bars in one line": Style(gap=" | ", name=_title),
    "drawn lines between": Style(gap="\n----------\n"),
    "title, starred lines between": Style(gap="\n**********\n", name=_title),
    "title tab": Style(name=_title, after="\t", gap="\n"),
    "capitals and full stop": Style(after=". ", gap="\n"),
    "title and full stop": Style(name=_title, after=". ", gap="\n"),
    "title and dash in one line": Style(name=_title, after=" - ", gap=" ", stops=True),
    "title and em dash": Style(name=_title, after="—", gap="\n"),
    "title in one line, wide gaps": Style(name=_title, gap="  "),
    "misspelt title in one line": Style(name=_misspelt_title, gap=" ", stops=True),
    "misspelt, lower": Style(name=_misspelt_lower, gap="\n"),
    "misspelt and dash": Style(name=_misspelt_title, gap="\n", after=" - "),
    "synonyms, title in one line": Style(name=_synonym_title, gap=" ", stops=True),
    "title and arrow": Style(name=_title, after=" => ", gap="\n"),
    "title and greater-than": Style(name=_title, after=" > ", gap="\n"),
    "quoted mail": Style(before="> ", gap="\n"),
    "bulleted": Style(name=_title, before="• ", gap="\n"),
    "starred bullets": Style(name=_title, before="* ", gap="\n"),
    "tabs": Style(name=_title, before="\t", after="\n\t\t", gap="\n"),
    "capitals and nothing in one line": Style(after=" ", gap=" ", stops=True),
    "no-break space": Style(after=":\xa0", gap="\n"),
    "bracket colon": Style(name=_title, before="[", after="]: ", gap="\n"),
    "spaced": Style(name=_spaced, after=":\n"),
    "german": Style(name=_german, gap="\n"),
    "german on a line": Style(name=_german, after="\n"),
}
ROMAN = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")


def make_parts(chance: random.Random) -> Parts:
    """Some sections, findings and impression nearly always among them, in the usual order."""
    usual = {"findings": 0.9, "impression": 0.95, "exam": 0.8, "indication": 0.9, "comparison": 0.7, "technique": 0.6}
    kinds = [kind for kind in ORDER if chance.random() < usual.get(kind, 0.25)] or ["findings"]
    return [(kind, _say(kind, chance)) for kind in kinds]


def _say(kind: str, chance: random.Random) -> str:
    most = {"findings": 6, "impression": 3}.get(kind, 1)
    said = chance.sample(SENTENCES[kind], chance.randint(1, most))
    if kind == "findings" and chance.random() < 0.2:
        labels = ["LUNGS: Clear.", "HEART: Of normal size."]
        said = [*labels, *said] if chance.random() < 0.5 else [*said, "Bones: Intact."]
    return " ".join(text if text.endswith(".") or text is said[-1] else f"{text}." for text in said)


def render(parts: Parts, style: Style, chance: random.Random) -> tuple[str, list[Span]]:
    """The report and the trimmed spans of its sections."""
    text, spans = style.banner, []
    for number, (kind, said) in enumerate(parts):
        if style.stops and not said.endswith("."):
            said += "."
        if style.flow == "paragraphs" and kind in ("findings", "impression"):
            said = said.replace(". ", ".\n\n")
        elif style.flow == "wrapped":
            said = textwrap.fill(said, 60)
        name = style.name(kind, chance)
        text += style.gap if number else ""
        text += style.before.replace("{n}", str(number + 1)).replace("{r}", ROMAN[number]) + name
        text += style.after.replace("{rule}", "-" * len(name))
        spans.append((kind, len(text), len(text) + len(said)))
        text += said + style.close
    return text, spans


def make_reports(style: Style, *, count: int, seed: int) -> Iterator[tuple[str, list[Span]]]:
    """Reports of one style."""
    chance = random.Random(seed)
    for _ in range(count):
        yield render(make_parts(chance), style, chance)
