"""Label schemes: classes by their published names, and the concepts that each is about (`tables/schemes.csv`).

A concept counts for the classes nearest above it. An atelectasis is an opacity, but where Atelectasis is a class of
its own it is not counted as Lung Opacity too; a hydropneumothorax is both Pneumothorax and Pleural Effusion. A concept
written with a minus belongs to no class, nor does what is a kind of it, but for what is named itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from callosum.core.errors import InputError, NotFound
from callosum.knowledge.ontology import Ontology, read_ontology, read_table, split_cell

_NONE = ""


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
        roots: Concept to the class that it is about; empty for concepts of no class.
    """

    name: str
    classes: tuple[str, ...]
    roles: Mapping[str, Role]
    roots: Mapping[str, str] = field(repr=False)

    def classes_of(self, concept: str, ontology: Ontology) -> frozenset[str]:
        """The classes that a concept counts for: those nearest above it; none when it has none, or is shut out."""
        nearest = self._climb(concept, ontology)
        return frozenset() if _NONE in nearest else nearest

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
        InputError: A class has no role, or names what is no concept.
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
    for row in read_table("schemes.csv", folder=folder, columns=("scheme", "class", "role", "concepts")):
        scheme, name = row["scheme"], row["class"]
        if row["role"] not in set(Role):
            message = f"The class {name!r} should have a role ({', '.join(Role)})."
            raise InputError(message, hint="Correct the row.")
        roles.setdefault(scheme, {})[name] = Role(row["role"])
        for concept in split_cell(row["concepts"]):
            about = concept.removeprefix("-")
            if about not in ontology:
                message = f"The class {name!r} should be about concepts; {about!r} is none."
                raise InputError(message, hint="Add a row to concepts.csv, or correct the name.")
            roots.setdefault(scheme, {})[about] = _NONE if about != concept else name
    return {
        scheme: Scheme(name=scheme, classes=tuple(listed), roles=listed, roots=roots[scheme])
        for scheme, listed in roles.items()
    }
