"""Open-i XML: the sections that its `AbstractText` elements label, and the number of the study.

Any document type declaration is refused before it is read, so there are no entities to expand or to fetch.
"""

from __future__ import annotations

from xml.parsers import expat

from callosum.core.report import Report, SectionKind
from callosum.data.readers.refusal import Reason, guard, quarantine, reject
from callosum.data.report.parse import Block, compose_report, no_text
from callosum.data.report.vocabulary import meaning_of

_MAX_DEPTH = 64


class _Listener:
    """Collects labelled text from the events of the parser."""

    def __init__(self) -> None:
        self.labelled: list[tuple[str, list[str]]] = []
        self.study = ""
        self._depth = 0
        self._is_inside = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise reject(Reason.NESTING_LIMIT, "Its elements are nested deeper than any real file's.")
        if name == "AbstractText":
            self._is_inside = True
            self.labelled.append((attributes.get("Label", ""), []))
        elif name == "uId":
            self.study = attributes.get("id", "")[:64]

    def end(self, name: str) -> None:
        self._depth -= 1
        self._is_inside = self._is_inside and name != "AbstractText"

    def text(self, characters: str) -> None:
        if self._is_inside:
            self.labelled[-1][1].append(characters)

    def doctype(self, *_: object) -> None:
        raise reject(Reason.XML_UNSAFE, "It declares a document type; entities are not read.")


def read_report(data: bytes) -> Report:
    """Read one report in the form in which Open-i gives the Indiana University collection.

    The number of the study (`uId`) is its accession.

    Raises:
        Refused: `XML_UNSAFE`, `CORRUPT`, `NESTING_LIMIT`, `NO_REPORT_TEXT` when all sections are
            empty, or `NOT_A_REPORT` for another kind of document.
    """
    listener = _Listener()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = listener.start
    parser.EndElementHandler = listener.end
    parser.CharacterDataHandler = listener.text
    parser.StartDoctypeDeclHandler = listener.doctype
    with guard(quarantine(Reason.CORRUPT, "It is not well-formed XML.")):
        parser.Parse(data, True)  # noqa: FBT003 (the library takes no keyword)
    if not listener.labelled:
        raise reject(Reason.NOT_A_REPORT, "The document has no labelled sections of a report.")
    identifiers = {"accession": listener.study} if listener.study else {}
    blocks = [block for label, parts in listener.labelled if (block := _block(label, "".join(parts))).text]
    if not blocks:
        raise no_text(identifiers)
    return compose_report(blocks, identifiers=identifiers)


def _block(label: str, text: str) -> Block:
    meaning = meaning_of(label)
    kind = meaning.kind if meaning and meaning.kind else SectionKind.OTHER
    return Block(kind=kind, heading=label, text=text.strip())
