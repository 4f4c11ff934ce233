"""Objectives by name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any

from callosum.core.config import config_from
from callosum.core.errors import UsageError
from callosum.objectives.contrastive import Clip
from callosum.objectives.convirt import ConVirt
from callosum.objectives.local import Gloria
from callosum.objectives.objective import Need, Objective
from callosum.objectives.sigmoid import SigLip
from callosum.objectives.soft_match import MedClip


class ObjectiveName(StrEnum):
    """What a recipe may ask for."""

    CLIP = "clip"
    SIGLIP = "siglip"
    CONVIRT = "convirt"
    GLORIA = "gloria"
    MEDCLIP = "medclip"


OBJECTIVES: dict[ObjectiveName, type[Objective]] = {
    ObjectiveName.CLIP: Clip,
    ObjectiveName.SIGLIP: SigLip,
    ObjectiveName.CONVIRT: ConVirt,
    ObjectiveName.GLORIA: Gloria,
    ObjectiveName.MEDCLIP: MedClip,
}


def build_objective(name: str, settings: Mapping[str, Any] | None = None) -> Objective:
    """The objective of that name; settings that are not given keep their defaults.

    Raises:
        UsageError: no objective of that name, or a setting it does not have or allow.
    """
    kind = OBJECTIVES[_known(name)]
    settings = settings or {}
    defaults = {f.name: f.default for f in fields(kind)}  # type: ignore[arg-type]
    for key, value in settings.items():
        is_number = type(value) in (int, float) and math.isfinite(value)
        if isinstance(defaults.get(key), float) and not is_number:
            message = f"{name}: {key} is a finite number; found {value!r}."
            raise UsageError(message)
    return config_from(kind, settings)


def needs_findings(name: str) -> bool:
    """Whether the objective of that name compares findings.

    Raises:
        UsageError: there is none.
    """
    return Need.FINDINGS in OBJECTIVES[_known(name)].needs


def _known(name: str) -> ObjectiveName:
    if name not in list(ObjectiveName):
        near = difflib.get_close_matches(name, list(ObjectiveName), n=1)
        hint = f"Did you mean {str(near[0])!r}?" if near else f"There are {', '.join(ObjectiveName)}."
        message = f"There is no objective {name!r}."
        raise UsageError(message, hint=hint)
    return ObjectiveName(name)
