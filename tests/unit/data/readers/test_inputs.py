"""The page of inputs is the one that the tables make, and the tables say what the code does."""

import ast
from pathlib import Path

import pytest

from callosum.core.record import Answer
from callosum.data.readers.codes import DOUBTS, REASONS
from callosum.data.readers.failures import FAILURES, Failure
from callosum.data.readers.inputs import page
from callosum.data.readers.refusal import Reason

ROOT = Path(__file__).parents[4]
CALLS = {"reject": "REJECT", "quarantine": "QUARANTINE", "metadata_only": "METADATA_ONLY"}
OF_THE_ARCHIVE = {"HIERARCHY_CONFLICT", "ID_CONFLICT", "UID_CONFLICT"}
"""Answers that need to know what is there already; readers have no `Reason` for them."""


def answers_in_the_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "callosum").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS and node.args:
                reason = node.args[0]
                if isinstance(reason, ast.Attribute):
                    found.setdefault(reason.attr, set()).add(CALLS[node.func.id])
    return found


def flags_in_the_code() -> set[str]:
    found = set()
    for path in (ROOT / "src" / "callosum").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Flag":
                found |= {
                    keyword.value.value
                    for keyword in node.keywords
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
                }
    return found


def test_the_page_is_up_to_date() -> None:
    written = (ROOT / "docs" / "reference" / "inputs.md").read_text()
    assert written == page(), "run: python -m callosum.data.readers.inputs > docs/reference/inputs.md"


def test_every_reason_has_the_answers_of_the_code() -> None:
    stated = {code: set(answers.split(", ")) for code, (answers, _) in REASONS.items()}
    assert {code: answers for code, answers in stated.items() if code not in OF_THE_ARCHIVE} == answers_in_the_code()
    assert set(stated) == {str(reason) for reason in Reason} | OF_THE_ARCHIVE
    assert list(REASONS) == sorted(REASONS)


def test_every_doubt_is_described() -> None:
    assert flags_in_the_code() - OF_THE_ARCHIVE <= set(DOUBTS)
    assert list(DOUBTS) == sorted(DOUBTS)


def test_the_catalogue_is_complete() -> None:
    assert [failure.number for failure in FAILURES] == list(range(1, 56))


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: str(failure.number))
def test_a_row_of_the_catalogue_has_known_codes(failure: Failure) -> None:
    refusals = {code for code in failure.codes if code in REASONS}
    assert set(failure.codes) <= set(REASONS) | set(DOUBTS)
    possible = {answer for code in refusals for answer in REASONS[code][0].split(", ")}
    possible |= {Answer.FLAG} if set(failure.codes) & set(DOUBTS) else set()
    assert set(failure.answers) <= {*possible, Answer.ACCEPT}
    assert failure.done
