from dataclasses import asdict

import pytest

from callosum.core.errors import UsageError
from callosum.objectives.objective import Objective
from callosum.objectives.pairs import FalseNegatives
from callosum.objectives.registry import OBJECTIVES, ObjectiveName, build_objective
from callosum.objectives.soft_match import MedClip, TargetSimilarity


def test_every_name_builds_an_objective() -> None:
    assert set(OBJECTIVES) == set(ObjectiveName)
    for name in ObjectiveName:
        objective = build_objective(name)
        assert isinstance(objective, Objective)
        assert build_objective(name, asdict(objective)) == objective


def test_settings_come_as_text() -> None:
    made = build_objective("medclip", {"targets": "dot", "equal_patient": "mask", "target_temperature": 0.1})
    wanted = MedClip(targets=TargetSimilarity.DOT, equal_patient=FalseNegatives.MASK, target_temperature=0.1)
    assert made == wanted


def test_misspelt_names_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'medclip'\?"):
        build_objective("medclp")
    for value in ("abc", float("nan"), None, True):
        with pytest.raises(UsageError, match="finite number"):
            build_objective("medclip", {"target_temperature": value})
    with pytest.raises(UsageError, match="above zero"):
        MedClip(target_temperature=float("nan"))
    with pytest.raises(UsageError, match="'temperature'"):
        build_objective("convirt", {"temprature": 0.1})
    with pytest.raises(UsageError, match="keep, mask, positive"):
        build_objective("clip", {"equal_text": "drop"})
