"""The page of answers says what the code does, code by code."""

import ast
import re
from pathlib import Path

from callosum.data.readers.refusal import Reason

ROOT = Path(__file__).parents[3]
CALLS = {"reject": "REJECT", "quarantine": "QUARANTINE", "metadata_only": "METADATA_ONLY"}
ELSEWHERE = {"DECODER_CRASHED", "ID_CONFLICT", "TIMEOUT", "UNEXPECTED_ERROR"}
"""Answers of the reading processes and the archive, which know no `Reason`."""


def answers_in_the_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in (ROOT / "src" / "callosum" / "data").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
                reason = node.args[0]
                if isinstance(reason, ast.Attribute):
                    found.setdefault(reason.attr, set()).add(CALLS[node.func.id])
    return found


def test_every_reason_has_its_answers() -> None:
    page = (ROOT / "docs" / "reference" / "answers.md").read_text().split("## Reasons")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z_, ]+?) \|", page, re.MULTILINE)
    stated = {code: set(answers.split(", ")) for code, answers in rows}
    assert len(rows) == len(stated)
    in_code = answers_in_the_code()
    assert set(in_code) == {str(reason) for reason in Reason}
    assert {code: answers for code, answers in stated.items() if code not in ELSEWHERE} == in_code
    assert set(stated) >= ELSEWHERE
