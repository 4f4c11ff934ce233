"""What can be found in a medical text or picture: concepts, the words for them, and what one says about another.

Everything is in tables that can be edited (`tables/`): `concepts.csv`, `masks.csv` (words that name nothing, though a
part of them would) and `implications.csv` (to say that the lungs are clear is to deny an opacity). Parents form a
directed graph without circles: a lung nodule is a nodule and a lung lesion. The words of a concept are phrases in the
small language of `phrases`. SNOMED CT codes are those of the DICOM subset only; see `tables/NOTICE.txt`.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType

from callosum.core.errors import InputError, NotFound
from callosum.core.finding import Laterality, Presence

TABLES = Path(__file__).parent / "tables"
PRIVATE_SCHEME = "99CALLOSUM"
_BETWEEN = ";"


class Kind(StrEnum):
    """What sort of thing a concept is.

    NORMAL is a statement that something is as it should be; QUALITY is about the picture, not the patient; GENERAL
    names no particular thing ("acute disease"), so that only its denial says something.
    """

    FINDING = "finding"
    DEVICE = "device"
    PROCEDURE = "procedure"
    NORMAL = "normal"
    GENERAL = "general"
    QUALITY = "quality"
    SITE = "site"
    MODALITY = "modality"


class Side(StrEnum):
    """Which sides a concept may be on: none (it is in the middle, or one), any, or the one that its name says."""

    NONE = "none"
    ANY = "any"
    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    """One thing that can be said.

    Attributes:
        name: In lower case, as the field says it; unique.
        kind: What sort of thing.
        parents: Names of what it is a kind of.
        site: Where it is when the sentence does not say; a concept of kind SITE, or empty.
        side: Which sides it may be on.
        groups: Where it is seen: chest, breast, retina, skin, histology, blood, ultrasound, neuro, ...
        codes: `scheme:code`; a private code when no public one is known.
        phrases: Its words, in the language of `phrases`; the name is one of them unless the table says otherwise.
    """

    name: str
    kind: Kind = Kind.FINDING
    parents: tuple[str, ...] = ()
    site: str = ""
    side: Side = Side.NONE
    groups: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()

    def may_be(self, laterality: Laterality) -> bool:
        """Whether it can be on that side."""
        return laterality is Laterality.UNSTATED or self.side in (Side.ANY, str(laterality))

    @property
    def laterality(self) -> Laterality:
        """The side that its name says; unstated when it says none."""
        return Laterality.UNSTATED if self.side in (Side.NONE, Side.ANY) else Laterality(str(self.side))


@dataclass(frozen=True, kw_only=True, slots=True)
class Implication:
    """That `concept` is `presence` says that `other` is `becomes`."""

    concept: str
    presence: Presence
    other: str
    becomes: Presence


class Ontology:
    """Concepts by name, what is a kind of what, and what implies what.

    Args:
        concepts: In the order in which ties between equal phrases are decided.
        masks: Phrases that name nothing.
        implications: What one concept says about another.

    Raises:
        InputError: Two concepts of one name, a parent or site that is no concept, or a circle of parents.
    """

    def __init__(
        self, concepts: Iterable[Concept], *, masks: Iterable[str] = (), implications: Iterable[Implication] = ()
    ) -> None:
        listed = tuple(concepts)
        self._concepts: Mapping[str, Concept] = MappingProxyType({c.name: c for c in listed})
        self.masks = tuple(masks)
        self.implications = tuple(implications)
        if len(self._concepts) < len(listed):
            twice = sorted({c.name for c in listed if sum(d.name == c.name for d in listed) > 1})
            message = f"Each concept should be there once; found again: {', '.join(twice[:3])}."
            raise InputError(message, hint="Put all phrases of a concept into one row.")
        self._refuse_strangers()
        self._ancestors: dict[str, frozenset[str]] = {}
        for name in self._concepts:
            self._climb(name, ())

    def _refuse_strangers(self) -> None:
        named = {p for c in self._concepts.values() for p in (*c.parents, c.site) if p}
        named |= {name for rule in self.implications for name in (rule.concept, rule.other)}
        strangers = sorted(named - set(self._concepts))
        if strangers:
            message = f"Parents, sites and implications should be concepts; found {', '.join(strangers[:3])}."
            raise InputError(message, hint="Add a row for it, or correct the name.")

    def _climb(self, name: str, below: tuple[str, ...]) -> frozenset[str]:
        if name in below:
            message = f"Parents should not lead back; found {' > '.join((*below, name))}."
            raise InputError(message, hint="Remove one of these parents.")
        if name not in self._ancestors:
            parents = self._concepts[name].parents
            above = (self._climb(parent, (*below, name)) for parent in parents)
            self._ancestors[name] = frozenset(parents).union(*above)
        return self._ancestors[name]

    def __contains__(self, name: object) -> bool:
        return name in self._concepts

    def __iter__(self) -> Iterator[Concept]:
        return iter(self._concepts.values())

    def __len__(self) -> int:
        return len(self._concepts)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in the order of the table."""
        return tuple(self._concepts)

    def concept(self, name: str) -> Concept:
        """The concept of that name.

        Raises:
            NotFound: There is none.
        """
        try:
            return self._concepts[name]
        except KeyError:
            near = get_close_matches(name, self._concepts, n=1)
            message = "The ontology has no concept of that name."
            raise NotFound(message, hint=f"Did you mean {near[0]!r}?" if near else "See `Ontology.names`.") from None

    def ancestors(self, name: str) -> frozenset[str]:
        """What it is a kind of, at any distance; not itself."""
        return self._ancestors[self.concept(name).name]

    def is_a(self, name: str, other: str) -> bool:
        """Whether it is the other, or a kind of it."""
        return name == other or other in self.ancestors(name)

    def descendants(self, name: str) -> frozenset[str]:
        """What is a kind of it, at any distance; not itself."""
        return frozenset(other for other in self._concepts if self.concept(name).name in self._ancestors[other])

    def of_kind(self, *kinds: Kind) -> tuple[str, ...]:
        """The names of all concepts of these kinds."""
        return tuple(c.name for c in self if c.kind in kinds)


def read_ontology(path: Path | None = None) -> Ontology:
    """The ontology of a folder of tables, or the one that comes with this package.

    A table that the folder does not hold is the one that comes with this package, so that a folder with only a
    `masks.csv` changes only the masks.

    Raises:
        InputError: A table lacks a column, or what it says cannot be (see `Ontology`).
    """
    return _shipped() if path is None else _read(path)


@cache
def _shipped() -> Ontology:
    return _read(TABLES)


def _read(folder: Path) -> Ontology:
    return Ontology(
        (_concept(row) for row in read_table("concepts.csv", folder=folder, columns=("name", "kind"))),
        masks=(row["phrase"] for row in read_table("masks.csv", folder=folder, columns=("phrase",))),
        implications=(
            Implication(
                concept=row["concept"],
                presence=Presence(row["presence"]),
                other=row["other"],
                becomes=Presence(row["becomes"]),
            )
            for row in read_table(
                "implications.csv", folder=folder, columns=("concept", "presence", "other", "becomes")
            )
        ),
    )


def read_table(name: str, *, folder: Path | None = None, columns: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """The rows of a table of the folder, or of the one of that name that comes with this package.

    Raises:
        InputError: It lacks a column, or is no table.
    """
    own = None if folder is None else folder / name
    path = own if own is not None and own.is_file() else TABLES / name
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            lacking = sorted(set(columns) - set(reader.fieldnames or ()))
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    except (UnicodeDecodeError, csv.Error):
        message = f"{name} should be a table: UTF-8, comma-separated, one header line."
        raise InputError(message, hint="Save it again as CSV in UTF-8.") from None
    if lacking:
        message = f"{name} should have the columns {', '.join(columns)}; it lacks {', '.join(lacking)}."
        raise InputError(message, hint="Add the column to its first line.")
    return rows


def split_cell(cell: str) -> tuple[str, ...]:
    """The parts of a cell that holds several things."""
    return tuple(part.strip() for part in cell.split(_BETWEEN) if part.strip())


def private_code(name: str) -> str:
    """A code for a concept that has no public one: stable, and short enough for DICOM's 16 characters."""
    return f"{PRIVATE_SCHEME}:{hashlib.sha256(name.encode()).hexdigest()[:12].upper()}"


def _concept(row: Mapping[str, str]) -> Concept:
    name, phrases = row["name"], split_cell(row.get("phrases", ""))
    try:
        kind, side = Kind(row["kind"]), Side(row.get("side", "") or Side.NONE)
    except ValueError:
        message = f"The row of {name!r} should have a kind ({', '.join(Kind)}) and a side ({', '.join(Side)})."
        raise InputError(message, hint="Correct the row.") from None
    silent = phrases[:1] == ("-",)
    return Concept(
        name=name,
        kind=kind,
        parents=split_cell(row.get("parents", "")),
        site=row.get("site", ""),
        side=side,
        groups=split_cell(row.get("groups", "")),
        codes=split_cell(row.get("codes", "")) or (private_code(name),),
        phrases=phrases[1:] if silent else (name, *phrases),
    )
