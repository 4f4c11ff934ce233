"""Identifiers that a report states in its header lines: "Accession Number: ...", "MRN: ...", a study's UID."""

from __future__ import annotations

import re

from callosum.core.record import Flag
from callosum.core.report import Section
from callosum.core.report import SectionKind as Kind

CONFLICT = Flag(code="IDENTIFIER_CONFLICT", sentence="It names two accession numbers, studies or patients.")

_NAMES = {
    "accession": "accession",
    "accession number": "accession",
    "accession no": "accession",
    "accession num": "accession",
    "acc": "accession",
    "acc number": "accession",
    "acc no": "accession",
    "study uid": "study_uid",
    "study instance uid": "study_uid",
    "patient id": "patient_id",
    "patient identifier": "patient_id",
    "patient number": "patient_id",
    "mrn": "patient_id",
    "medical record number": "patient_id",
}
_WORD = re.compile(r"[^\W_]+")
_VALUES = {
    "accession": re.compile(r"[A-Za-z0-9][\w.\-/]{0,63}"),
    "study_uid": re.compile(r"[0-2](?:\.(?:0|[1-9]\d*)){2,}"),
    "patient_id": re.compile(r"[A-Za-z0-9][\w.\-/]{0,63}"),
}


def find_identifiers(text: str, sections: tuple[Section, ...]) -> tuple[dict[str, str], tuple[Flag, ...]]:
    """study_uid, accession and patient_id from header lines; one that is stated twice differently is left out."""
    found: dict[str, set[str]] = {}
    for section in sections:
        if section.kind is not Kind.OTHER or not section.heading:
            continue
        name = _NAMES.get(" ".join(_WORD.findall(section.heading.casefold())))
        value = _VALUES[name].match(text, section.start, section.end) if name else None
        if name and value and len(value.group()) <= 64 and any(c.isdigit() for c in value.group()):
            found.setdefault(name, set()).add(value.group().rstrip("./-"))
    certain = {name: values.pop() for name, values in found.items() if len(values) == 1}
    return certain, () if len(certain) == len(found) else (CONFLICT,)
