"""Label schemes: classes by their published names, and the concepts that each is about (`tables/schemes.csv`).

A concept counts for the classes nearest above it. An atelectasis is an opacity, but where Atelectasis is a class of
its own it is not counted as Lung Opacity too; a hydropneumothorax is both Pneumothorax and Pleural Effusion. A concept
written with a minus does not belong to that class, nor does what is a kind of it, but for what is named itself.

The column `leaning` says what a class makes of a doubt that leans towards presence ("probable", "versus",
"borderline"): `present` in schemes whose labels have no word for doubt, empty where it stays uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from callosum.core.errors import InputError, NotFound
from callosum.core.finding import Presence
from callosum.knowledge.ontology import Ontology, read_ontology, read_table, split_cell


class Role(StrEnum):
    """What a class is: a finding, a device (which a normal picture may show), or that nothing was found."""

    FINDING = "finding"
    DEVICE = "device"
    NORMAL = "normal"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """The classes of a dataset or a labeller.

    Attributes:
        name: Its name here, such as "chexpert14".
        classes: The published names of its classes, in the published order.
        roles: What each class is.
        roots: Concept to the class that it is about.
        excluded: Class to concepts that it is not about, nor what is a kind of them.
        leaning: The classes that are present where a text leans towards them.
    """

    name: str
    classes: tuple[str, ...]
    roles: Mapping[str, Role]
    roots: Mapping[str, str] = field(repr=False)
    excluded: Mapping[str, frozenset[str]] = field(repr=False, default_factory=dict)
    leaning: frozenset[str] = frozenset()

    def classes_of(self, concept: str, ontology: Ontology) -> frozenset[str]:
        """The classes that a concept counts for: those nearest above it that do not exclude it."""
        if concept in self.roots:
            return frozenset({self.roots[concept]})
        kinds = {concept, *ontology.ancestors(concept)}
        nearest = self._climb(concept, ontology)
        return frozenset(name for name in nearest if not kinds & self.excluded.get(name, frozenset()))

    def _climb(self, concept: str, ontology: Ontology) -> frozenset[str]:
        if concept in self.roots:
            return frozenset({self.roots[concept]})
        return frozenset().union(*(self._climb(parent, ontology) for parent in ontology.concept(concept).parents))

    @property
    def normal(self) -> str:
        """The class that says that nothing was found; empty when there is none."""
        return next((name for name, role in self.roles.items() if role is Role.NORMAL), "")


def read_schemes(path: Path | None = None) -> dict[str, Scheme]:
    """Every scheme by its name: those of a folder of tables, or those that come with this package.

    Raises:
        InputError: A class has no role, names what is no concept, or makes of a leaning doubt neither.
    """
    return dict(_shipped()) if path is None else _read(path, read_ontology(path))


def scheme_of(name: str) -> Scheme:
    """A scheme that comes with this package.

    Raises:
        NotFound: There is none of that name.
    """
    try:
        return _shipped()[name]
    except KeyError:
        message = "There is no label scheme of that name."
        raise NotFound(message, hint=f"There are {', '.join(_shipped())}.") from None


@cache
def _shipped() -> dict[str, Scheme]:
    return _read(None, read_ontology())


def _read(folder: Path | None, ontology: Ontology) -> dict[str, Scheme]:
    roles: dict[str, dict[str, Role]] = {}
    roots: dict[str, dict[str, str]] = {}
    excluded: dict[str, dict[str, set[str]]] = {}
    leaning: dict[str, set[str]] = {}
    for row in read_table("schemes.csv", folder=folder, columns=("scheme", "class", "role", "concepts")):
        scheme, name = row["scheme"], row["class"]
        if row["role"] not in set(Role):
            message = f"The class {name!r} should have a role ({', '.join(Role)})."
            raise InputError(message, hint="Correct the row.")
        roles.setdefault(scheme, {})[name] = Role(row["role"])
        if _is_leaning(row.get("leaning", ""), name):
            leaning.setdefault(scheme, set()).add(name)
        for concept in split_cell(row["concepts"]):
            about = concept.removeprefix("-")
            if about not in ontology:
                message = f"The class {name!r} should be about concepts; {about!r} is none."
                raise InputError(message, hint="Add a row to concepts.csv, or correct the name.")
            if about == concept:
                roots.setdefault(scheme, {})[about] = name
            else:
                excluded.setdefault(scheme, {}).setdefault(name, set()).add(about)
    return {
        scheme: Scheme(
            name=scheme,
            classes=tuple(listed),
            roles=listed,
            roots=roots.get(scheme, {}),
            excluded={name: frozenset(concepts) for name, concepts in excluded.get(scheme, {}).items()},
            leaning=frozenset(leaning.get(scheme, ())),
        )
        for scheme, listed in roles.items()
    }


def _is_leaning(cell: str, name: str) -> bool:
    if cell not in ("", Presence.PRESENT, Presence.UNCERTAIN):
        message = f"The class {name!r} should make of a leaning doubt {Presence.PRESENT} or {Presence.UNCERTAIN}."
        raise InputError(message, hint="Correct the column leaning, or leave it empty.")
    return cell == Presence.PRESENT
