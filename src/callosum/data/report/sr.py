"""DICOM Structured Reports: the tree of content items flattened to headings and text (PS3.3 C.17.3, PS3.16 TID 2000).

Containers are headings; text, codes, numbers and dates below them are lines. What a heading means is taken from its
code where the code is one of the standard's (CID 7001 and 7002), else from its words. Names of persons, references and
coordinates are left out. A document whose headings say nothing is read as the plain text that its items make.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from callosum.core.report import Report
from callosum.core.report import SectionKind as Kind
from callosum.data.readers.dicom_header import as_text, identifiers_of, items, quiet
from callosum.data.readers.prescan import lay_out
from callosum.data.readers.refusal import Reason, guard, quarantine, reject
from callosum.data.report.decode import MAX_REPORT_BYTES
from callosum.data.report.parse import Block, compose_report, no_text, parse_report
from callosum.data.report.vocabulary import meaning_of

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_STRUCTURED_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
_NO_TEXT = frozenset({"40", "59"})
"""Mammography CAD documents have marks, key object selections have references: no report text."""
_MAX_DEPTH = 64
_MAX_ITEMS = 20_000
_CODES = {
    Kind.EXAM: "121064 121065 55111-9",
    Kind.INDICATION: "121109 121062 18785-6 55115-0 59768-2",
    Kind.HISTORY: "121060 11329-0 121110",
    Kind.COMPARISON: "121066 121068 121069 18834-2 55114-3",
    Kind.FINDINGS: "121070 121071 18782-3 59776-5",
    Kind.IMPRESSION: "121072 121073 121076 121077 121111 19005-8 55110-1 55112-7",
    Kind.RECOMMENDATION: "121074 121075 18783-1 18783-0",
    Kind.ADDENDUM: "121078 55107-7",
    Kind.TECHNIQUE: "55113-5",
}
_KINDS = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
_IDENTIFIERS = ("study_uid", "accession", "patient_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """A content item: what it is called, what it says, and the heading that it stands under."""

    kind: Kind | None
    name: str
    value: str
    heading: str


def read_report(data: bytes) -> Report:
    """Read a Structured Report.

    Raises:
        Refused: `NOT_A_REPORT` for any other DICOM object, `NO_REPORT_TEXT` for a tree without text, `FILE_TOO_LARGE`,
            or what the header deserves.
    """
    from pydicom import dcmread

    with quiet(), guard(quarantine(Reason.HEADER_INVALID, "Its header cannot be read.")):
        layout = lay_out(data)
        dataset = dcmread(io.BytesIO(layout.data), force=not layout.has_meta, stop_before_pixels=True)
        sop_class = as_text(dataset, "SOPClassUID")
        if not sop_class.startswith(_STRUCTURED_REPORTS):
            raise reject(Reason.NOT_A_REPORT, "The DICOM object is not a structured report.")
        identifiers = {name: text for name, text in identifiers_of(dataset).items() if name in _IDENTIFIERS}
        found = [] if sop_class.removeprefix(_STRUCTURED_REPORTS) in _NO_TEXT else list(_walk(dataset))
    if not any(item.value for item in found):
        raise no_text(identifiers)
    if sum(len(item.value) + len(item.heading) for item in found) > MAX_REPORT_BYTES:
        raise reject(Reason.FILE_TOO_LARGE, f"The text is larger than {MAX_REPORT_BYTES >> 20} MiB.")
    if any(item.kind for item in found):
        return compose_report(_blocks(found), identifiers=identifiers)
    plain = parse_report("\n".join(item.value for item in found if item.value))
    return replace(plain, identifiers=MappingProxyType({**plain.identifiers, **identifiers}))


def _walk(dataset: Dataset) -> Iterator[_Item]:
    """Content items in document order, by a stack of iterators."""
    title = _name(dataset)
    stack: list[tuple[Iterator[Dataset], Kind | None, str]] = [
        (iter(items(dataset, "ContentSequence")), _kind(dataset, title), title)
    ]
    num_items = 0
    while stack:
        children, kind, heading = stack[-1]
        item = next(children, None)
        if item is None:
            stack.pop()
            continue
        num_items += 1
        if num_items > _MAX_ITEMS or len(stack) > _MAX_DEPTH:
            raise reject(Reason.NESTING_LIMIT, "Its content tree is larger or deeper than any real report's.")
        if as_text(item, "RelationshipType") not in ("CONTAINS", "HAS PROPERTIES", "INFERRED FROM", ""):
            continue
        name = _name(item)
        own = _kind(item, name)
        is_container = as_text(item, "ValueType") == "CONTAINER"
        below = (own or kind, name if own or (is_container and not kind) else heading)
        yield _Item(kind=below[0], name=name, value=_value(item), heading=below[1])
        stack.append((iter(items(item, "ContentSequence")), *below))


def _name(item: Dataset) -> str:
    """What a content item is called."""
    named = items(item, "ConceptNameCodeSequence")
    return as_text(named[0], "CodeMeaning") if named else ""


def _kind(item: Dataset, name: str) -> Kind | None:
    """What a heading means, by its code, else by its words; a document's title means nothing."""
    named = items(item, "ConceptNameCodeSequence")
    code = as_text(named[0], "CodeValue") if named else ""
    if code in _KINDS:
        return _KINDS[code]
    meaning = meaning_of(name)
    return meaning.kind if meaning and as_text(item, "RelationshipType") else None


def _value(item: Dataset) -> str:
    """What a content item says, in words; empty for names, references and coordinates."""
    match as_text(item, "ValueType"):
        case "TEXT":
            return as_text(item, "TextValue")
        case "CODE":
            coded = items(item, "ConceptCodeSequence")
            return as_text(coded[0], "CodeMeaning") if coded else ""
        case "NUM":
            return _measured(item)
        case _:
            return ""


def _measured(item: Dataset) -> str:
    """A number with its unit."""
    measured = items(item, "MeasuredValueSequence")
    if not measured:
        return ""
    units = items(measured[0], "MeasurementUnitsCodeSequence")
    unit = as_text(units[0], "CodeValue") if units else ""
    return f"{as_text(measured[0], 'NumericValue')} {'' if unit == '1' else unit}".strip()


def _blocks(found: list[_Item]) -> Iterator[Block]:
    """Items under one heading, one line each; the name of an item is told unless it repeats the heading's."""
    block: Block | None = None
    for item in found:
        if not item.value:
            continue
        kind = item.kind or Kind.OTHER
        known = item.name == item.heading or not item.name or (meaning_of(item.name) is not None)
        line = item.value if known else f"{item.name}: {item.value}"
        if block and block.kind is kind and (block.heading == item.heading or _is_same(block.heading, item.heading)):
            block = replace(block, text=f"{block.text}\n{line}")
            continue
        if block:
            yield block
        block = Block(kind=kind, heading=item.heading, text=line)
    if block:
        yield block


def _is_same(one: str, other: str) -> bool:
    """True for "Findings" and "Finding"."""
    return one.casefold().rstrip("s") == other.casefold().rstrip("s")
