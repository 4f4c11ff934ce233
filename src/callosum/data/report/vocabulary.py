"""What a heading says: phrases to kinds, in seven languages, with spelling mistakes and compound headings.

The English list follows the headings counted in MIMIC-CXR (MIT-LCP/mimic-cxr, `txt/section_parser.py`, MIT) and the
parts of a report that the ACR practice parameter for communication of diagnostic imaging findings names. Strength
says how much else must speak for a phrase before it is a heading (`headings`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from callosum.core.report import SectionKind as Kind
from callosum.data.report.spelling import correct

MAX_PHRASE = 60
"""Characters; a longer phrase is no heading."""


class Strength(IntEnum):
    """How sure a phrase is a heading when it stands where headings stand."""

    WEAK = 0
    """Only above the findings: further down it is a label within them ("Date:", "Location:")."""
    LINE = 1
    """Only at the beginning of a line: within one it is said of something else ("Diagnosis:", "Plan:")."""
    QUALIFIED = 2
    """Within findings it is a part of them ("Cardiac findings:")."""
    STRONG = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What a phrase says: a kind of section; None for a title such as "FINAL REPORT", which ends what went before."""

    kind: Kind | None
    strength: Strength = Strength.STRONG


_STRONG: dict[Kind | None, str] = {
    Kind.EXAM: (
        "exam, exams, examination, examinations, examination performed, exam performed, exam type, exam description, "
        "exam name, type of exam, type of examination, study, study performed, study type, study description, "
        "procedure, procedures, procedure performed, procedures performed, radiographic examination, exam title, "
        "untersuchung, art der untersuchung, examen, examen realise, estudio, estudio realizado, exploracion, "
        "esame, esame eseguito, exame, exame realizado, onderzoek, type onderzoek"
    ),
    Kind.INDICATION: (
        "indication, indications, clinical indication, clinical indications, indication for study, "
        "indication for exam, indication for examination, indication for procedure, study indication, "
        "reason for exam, reason for examination, reason for this exam, reason for this examination, "
        "reason for study, reason for the study, reason for the exam, reason for the examination, reason for test, "
        "reason for procedure, reason for request, reason for order, reason for visit, reason for referral, "
        "reason for consultation, reason for imaging, exam reason, clinical history, clinical information, "
        "clinical info, clinical data, clinical details, clinical context, clinical summary, clinical background, "
        "clinical question, clinical statement, clinical note, clinical notes, clinical problem, clinical concern, "
        "clinical history and indication, brief clinical history, brief history, patient history, "
        "relevant clinical information, relevant clinical history, relevant history, pertinent history, "
        "admitting diagnosis, clinical diagnosis, preoperative diagnosis, pre operative diagnosis, preop diagnosis, "
        "referring diagnosis, provisional diagnosis, working diagnosis, ordering diagnosis, "
        "diagnosis for exam, clinical impression, clinical findings, "
        "underlying medical condition, question to be answered, "
        "klinische angaben, klinische angabe, klinische fragestellung, fragestellung, rechtfertigende indikation, "
        "indikation, klinische information, klinische informationen, "
        "renseignements cliniques, motif de l examen, contexte clinique, donnees cliniques, "
        "indicacion, indicaciones, indicacion clinica, datos clinicos, informacion clinica, "
        "motivo de consulta, motivo del estudio, motivo de la exploracion, juicio clinico, "
        "indicazione, indicazioni, indicazione clinica, quesito clinico, quesito diagnostico, notizie cliniche, "
        "dati clinici, indicacao, indicacao clinica, dados clinicos, informacao clinica, informacoes clinicas, "
        "indicatie, klinische gegevens, klinische vraagstelling, vraagstelling"
    ),
    Kind.HISTORY: (
        "history, medical history, past medical history, pmh, past history, surgical history, past surgical history, "
        "family history, social history, oncologic history, oncology history, cancer history, smoking history, "
        "history of present illness, hpi, history of present condition, previous history, "
        "anamnese, vorgeschichte, antecedents, histoire, antecedentes, historia clinica, historia, "
        "anamnesi, storia clinica, historico, historia clinica e antecedentes, voorgeschiedenis"
    ),
    Kind.COMPARISON: (
        "comparison, comparisons, comparison study, comparison studies, comparison exam, comparison exams, "
        "comparison examination, comparison examinations, comparison film, comparison films, comparison date, "
        "comparison dates, comparison made, compared to, compared with, prior study, prior studies, "
        "prior exam, prior exams, prior examination, prior examinations, prior imaging, prior films, "
        "previous study, previous studies, previous exam, previous exams, previous examination, "
        "previous examinations, previous imaging, previous films, comparative study, comparative studies, "
        "relevant prior studies, prior relevant studies, relevant prior imaging, studies for comparison, "
        "available for comparison, old films, "
        "vergleich, voruntersuchung, voruntersuchungen, voraufnahmen, vergleichsuntersuchung, "
        "comparaison, examens anterieurs, examen anterieur, examens precedents, comparacion, estudios previos, "
        "estudio previo, estudio comparativo, confronto, esami precedenti, precedenti, comparacao, "
        "exames anteriores, exame anterior, estudo comparativo, vergelijking, eerder onderzoek, eerdere onderzoeken"
    ),
    Kind.TECHNIQUE: (
        "technique, techniques, technical factors, technical details, technical information, technical parameters, "
        "technical data, technique and contrast, technique details, imaging technique, scanning technique, "
        "scan technique, exam technique, examination technique, imaging protocol, protocol, "
        "scan protocol, contrast media, contrast agent, "
        "contrast material, intravenous contrast, iv contrast, oral contrast, radiation dose, "
        "fluoroscopy time, fluoro time, procedure details, procedure description, description of procedure, "
        "procedure in detail, procedure technique, "
        "radiopharmaceutical, radiopharmaceuticals, radiotracer, "
        "technik, untersuchungstechnik, methode, methodik, aufnahmetechnik, protocole, technique d examen, "
        "tecnica, tecnica de estudio, tecnica de exploracion, protocolo, tecnica di esame, tecnica d esame, "
        "metodologia, metodica, techniek, onderzoekstechniek"
    ),
    Kind.FINDINGS: (
        "findings, finding, technique and findings, procedure and findings, exam and findings, "
        "examination and findings, comparison and findings, report findings, findings section, body of report, "
        "narrative, microscopic description, gross description, macroscopic description, "
        "microscopic examination, gross examination, "
        "befund, befunde, befundung, resultats, resultat, constatations, description de l examen, hallazgos, "
        "hallazgo, reperti, reperto, referto, achados, achado, relatorio, bevindingen, bevinding, verslag"
    ),
    Kind.IMPRESSION: (
        "impression, impressions, conclusion, conclusions, opinion, interpretation, "
        "final diagnosis, pathologic diagnosis, pathological diagnosis, diagnostic impression, "
        "radiologic diagnosis, radiological diagnosis, radiology diagnosis, imaging diagnosis, "
        "radiologic impression, radiological impression, radiographic impression, radiology impression, "
        "interpretation and conclusion, impression and plan, impression and recommendations, "
        "impression and recommendation, "
        "overall impression, final impression, summary and conclusion, summary and recommendation, "
        "summary and recommendations, bottom line, "
        "beurteilung, zusammenfassung, zusammenfassende beurteilung, synthese, "
        "au total, impresion, impresion diagnostica, conclusiones, juicio diagnostico, conclusioni, "
        "conclusione, impressao, impressao diagnostica, conclusao, conclusoes, conclusie, impressie, "
        "beoordeling, samenvatting"
    ),
    Kind.RECOMMENDATION: (
        "recommendation, recommendations, recommended follow up, follow up recommendation, "
        "follow up recommendations, management recommendation, "
        "empfehlung, empfehlungen, recommandation, recommandations, recomendacion, recomendaciones, "
        "raccomandazioni, recomendacao, recomendacoes, aanbeveling, aanbevelingen, advies"
    ),
    Kind.ADDENDUM: (
        "addendum, addenda, addendums, addendum report, addended report, addendum impression, addendum findings, "
        "late addendum, amendment, amended report, supplemental report, supplementary report, nachtrag, ergaenzung, "
        "erganzung, zusatzbefund, additif, complement, adenda, aneks"
    ),
    Kind.WET_READ: (
        "wet read, wet reading, wet read version, preliminary read, preliminary reading, preliminary findings, "
        "preliminary impression, preliminary interpretation, preliminary result, preliminary results, prelim read, "
        "prelim, resident read, overnight read, initial read, pfi, provisional findings impression, "
        "provisional findings, vorlaufiger befund, vorbefundung"
    ),
    Kind.OTHER: (
        "accession, accession number, accession no, accession num, acc, acc number, acc no, mrn, "
        "medical record number, patient id, patient identifier, patient number, study instance uid, study uid, "
        "study id, patient name, dob, date of birth, birth date, ordering physician, ordering provider, "
        "referring physician, referring provider, requesting physician, attending physician, attending radiologist, "
        "radiologist, reading radiologist, interpreting radiologist, attending, resident, dictated by, dictated, "
        "dictated date, dictation date, transcribed by, transcribed date, transcriptionist, signed by, signed, "
        "signed date, e signed by, "
        "electronically signed by, electronically signed, signature, approved by, verified by, reported by, "
        "read by, interpreted by, reviewed by, finalized by, report status, notification, notifications, "
        "communication, communications, critical result, critical results, critical value, result communication, "
        "communication of results, result notification, patient accession number, order number, cpt code, "
        "cpt codes, icd code, icd codes, icd 10, icd 9, billing code, end of impression, end of report, "
        "end of addendum, end impression, end of diagnostic report, end of findings, end of wet read, "
        "disclaimer, attestation, teaching physician statement, patientenname, geburtsdatum"
    ),
    None: (
        "final report, radiology report, final radiology report, report of examination, diagnostic imaging report, "
        "imaging report, radiological report, x ray report, ct report, mri report, ultrasound report, "
        "diagnostic report, preliminary report, final, radiology consultation, final result, "
        "final exam report"
    ),
}
_LINE: dict[Kind | None, str] = {
    Kind.IMPRESSION: (
        "diagnosis, diagnoses, assessment, summary, final assessment, overall assessment, diagnose, ergebnis, "
        "diagnostico"
    ),
    Kind.RECOMMENDATION: "follow up, plan, suggestion, suggestions, advice, procedere",
    Kind.INDICATION: (
        "reason, chief complaint, presenting complaint, complaint, question, request, medical condition, klinik, "
        "motif, motivo, indic, ind, rfe, dx, risk factors, problem list, symptoms, signs and symptoms, "
        "diagnosis code, diagnosis codes"
    ),
    Kind.HISTORY: "hx, pmhx, psh, fh, sh, allergies",
    Kind.TECHNIQUE: "method, methods of examination, dlp, ctdivol",
}
_WEAK: dict[Kind | None, str] = {
    Kind.FINDINGS: (
        "report, discussion, result, results, observation, observations, description, comment, comments, report text, "
        "interpretive report, microscopy, macroscopy, gross, microscopic, beschreibung, descripcion, descrizione, "
        "descricao, compte rendu, informe, rapport"
    ),
    Kind.EXAM: "title, test, test name, modality, body part, exam date, date of exam, date of examination, study date",
    Kind.OTHER: (
        "date, date of service, service date, time, name, patient, patient information, age, sex, gender, status, "
        "location, department, facility, hospital, institution, physician, provider, cc, to, from, page, phone, fax, "
        "address, room, ward, unit, order, order date, report date, date of report, exam time, specimen, "
        "hospital number, account, account number, visit number, encounter, nombre, paciente, fecha, edad, sexo, "
        "nom, prenom, age du patient, datum, patientin, alter, geschlecht, paziente, data, nome, idade"
    ),
    Kind.INDICATION: "background, concern, concerns, problem, problems",
    Kind.COMPARISON: "compare, prior, priors",
    Kind.TECHNIQUE: (
        "acquisition, sequences, pulse sequences, contrast, dose, sedation, anesthesia, anaesthesia, medications, "
        "tracer, views, number of views, quality"
    ),
}
_FINDING_WORDS = {"findings": Kind.FINDINGS, "finding": Kind.FINDINGS} | dict.fromkeys(
    ("impression", "impressions", "conclusion", "conclusions"), Kind.IMPRESSION
)
_QUALIFIERS = frozenset(
    "ct cta cect mri mr mra mrv pet spect us ultrasound sonographic sonography xray x ray cxr radiograph radiographic "
    "radiological radiologic radiology imaging doppler duplex echo mammographic mammography fluoroscopic angiographic "
    "scintigraphic dexa chest thorax thoracic head brain neck spine cervical lumbar abdomen abdominal pelvis pelvic "
    "cardiac heart pulmonary lung lungs vascular osseous musculoskeletal breast renal hepatobiliary extremity knee "
    "shoulder hip ankle wrist right left bilateral additional other incidental associated ancillary key main major "
    "significant relevant principal primary general detailed positive negative final overall diagnostic clinical study "
    "exam examination report non extra and of the image".split()
)
_HISTORIES = frozenset("history hx hist".split())
_ASKINGS = frozenset("indication indications symptoms complaint complaints necessity".split())
_OF_PATIENTS = frozenset(
    "additional brief clin clinical current ed er exam family interval known main med medical obstetric other past "
    "patient patients pertinent presenting previous prior rad recent referring relevant reported social study "
    "oncologic surg surgical tech technologist treatment".split()
)
_CLINICAL = frozenset("clinical clin".split())
_CLINICAL_ADVICE = frozenset("correlation correlate stage staging significance relevance follow up".split())
_REQUESTERS = frozenset(
    "order ordering provider physician clinician ed er triage nurse nursing tech technologist referring referral "
    "referrer requesting request known suspected working presumptive".split()
)
_REQUESTS = frozenset("note notes comment comments question questions concern reason diagnosis diagnoses dx".split())
_WORD = re.compile(r"[^\W_]+")
_ASIDE = re.compile(r"\([^()]*(?:\)|$)|\[[^\[\]]*(?:\]|$)")
_JOINT = re.compile(r"\s*(?:/|&|\+|,|;|\band\b|\bund\b|\bet\b|\by\b|\be\b|\ben\b)\s*")


def _table() -> dict[str, Meaning]:
    table: dict[str, Meaning] = {}
    for phrases, strength in ((_WEAK, Strength.WEAK), (_LINE, Strength.LINE), (_STRONG, Strength.STRONG)):
        for kind, listed in phrases.items():
            for phrase in listed.split(", "):
                table[phrase] = Meaning(kind=kind, strength=strength)
    return table


_MEANINGS = _table()
_ALL_WORDS = frozenset(word for phrase in _MEANINGS for word in phrase.split()) | _QUALIFIERS | _REQUESTERS | _CLINICAL
LAST_WORDS = frozenset(phrase.split()[-1] for phrase in _MEANINGS)
"""The last words of all headings: most colons in a text can be passed over by the word before them."""


_FIRST_WORDS = frozenset(phrase.split()[0] for phrase in _MEANINGS) | _QUALIFIERS | _REQUESTERS | _CLINICAL


def may_begin(word: str) -> bool:
    """Whether a word in small letters may be the first of a heading."""
    return word in _FIRST_WORDS or not word.isascii() or correct(word) != word


@lru_cache(maxsize=8192)
def meaning_of(phrase: str, *, mend: bool = False) -> Meaning | None:
    """What a heading says; None for a phrase that is no heading.

    Args:
        phrase: As written; case, accents, punctuation, numbers and what is in brackets do not matter.
        mend: Also take words that are one or two letters away from those of headings.
    """
    if len(phrase) > MAX_PHRASE:
        return None
    plain = _plain(phrase)
    found = _meaning(_words(plain)) or _compound(plain)
    if found is None and mend:
        mended = " ".join(word if word in _ALL_WORDS else correct(word) for word in plain.split())
        found = _meaning(_words(mended)) or _compound(mended) if mended != plain else None
    if found and found.kind is None and _ASIDE.search(phrase):
        return None  # a title has no text; what is in its brackets is somebody's
    return found


def _plain(phrase: str) -> str:
    """Lower case without accents and asides."""
    if not phrase.isascii():
        phrase = "".join(c for c in unicodedata.normalize("NFKD", phrase) if not unicodedata.combining(c))
    return _ASIDE.sub(" ", phrase).casefold()


def _words(plain: str) -> list[str]:
    words = _WORD.findall(plain)
    if len(words) > 3 and all(len(word) == 1 for word in words):
        return ["".join(words)]
    while len(words) > 1 and (words[-1].isdigit() or words[-1] == "s"):
        words.pop()
    return words


def _meaning(words: list[str]) -> Meaning | None:
    """The phrase as a whole, or words that narrow findings or impression down."""
    if found := _MEANINGS.get(" ".join(words)):
        return found
    kind = _FINDING_WORDS.get(words[-1]) if words else None
    if kind and len(words) <= 5 and _QUALIFIERS.issuperset(words[:-1]):
        return Meaning(kind=kind, strength=Strength.QUALIFIED)
    asked = _asked(words) if 0 < len(words) <= 4 else None
    return Meaning(kind=asked, strength=Strength.LINE) if asked else None


def _asked(words: list[str]) -> Kind | None:
    """What a requester wrote, in words that no list has whole: "Relevant medical history", "Clin hx", "Triage note"."""
    if words[-1] in _HISTORIES | _ASKINGS and _OF_PATIENTS.issuperset(words[:-1]):
        return Kind.HISTORY if words[-1] in _HISTORIES else Kind.INDICATION
    is_clinical = len(words) <= 2 and words[0] in _CLINICAL and not _CLINICAL_ADVICE.intersection(words)
    is_request = words[0] in _REQUESTERS and words[-1] in _REQUESTS
    return Kind.INDICATION if is_clinical or is_request else None


def _compound(plain: str) -> Meaning | None:
    """Several headings in one, "Findings/Impression": the first, unless a part of it shows what the pictures show.

    "Technique/Findings" is findings: the text has both, and the second is what it is for.
    """
    parts = [_meaning(_WORD.findall(part)) for part in _JOINT.split(plain) if part.strip()]
    if len(parts) < 2 or any(part is None for part in parts):
        return None
    kinds = [part.kind for part in parts if part]
    asked = {Kind.INDICATION, Kind.HISTORY}
    shown = [kind for kind in kinds if kind in (Kind.FINDINGS, Kind.IMPRESSION)]
    return Meaning(kind=shown[0] if shown and not asked.intersection(kinds) else kinds[0])
