"""`callosum prompts`: show and lint."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from callosum.cli.commands.prompts import command
from callosum.core.errors import CallosumError, InputError, NotFound, UsageError


def run(*arguments: str, given: str | None = None) -> Result:
    result = CliRunner().invoke(command, list(arguments), input=given, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, CallosumError):
        raise result.exception
    return result


def test_show() -> None:
    made = json.loads(run("show", "Effusion", "--scheme", "nih14", "--limit", "3", "--json").stdout)
    assert made["schema"] == "callosum.prompts/1"
    assert (made["concept"], len(made["positive"]), made["positive"][0]) == ("pleural effusion", 3, "pleural effusion")
    assert made["pairs"][0] == {"present": "pleural effusion", "absent": "no pleural effusion"}


def test_show_for_people() -> None:
    result = run("show", "frobnication")
    assert "image showing frobnication" in result.stdout and "does not know" in result.stderr
    assert "normal chest radiograph" in run("show", "No Finding", "--modality", "chest x-ray").stdout


def test_seeds_draw() -> None:
    first, again, other = (run("show", "atelectasis", "--seed", seed, "--json").stdout for seed in "112")
    assert first == again != other


def test_what_is_not_known() -> None:
    assert isinstance(run("show", "edema", "--scheme", "nobody").exception, NotFound)
    assert isinstance(run("show", "edema", "--modality", "crystal ball").exception, UsageError)
    assert isinstance(run("lint", "edema", "--model", "nobody").exception, NotFound)


def test_lint() -> None:
    first, second = map(json.loads, run("lint", "no edema", "edema", "--json").stdout.splitlines())
    assert first["schema"] == "callosum.prompt_remarks/1"
    assert [(r["trouble"], r["severity"], r["words"]) for r in first["remarks"]] == [("negated", "warning", "edema")]
    assert second["remarks"] == []


def test_lint_for_people_and_standard_input() -> None:
    result = run("lint", "-", given="no edema\n\nlung nodule\n")
    assert "lung nodule: nothing to say" in result.stdout
    assert "1 remarks on 2 prompts" in result.stderr


@pytest.mark.parametrize(("text", "code"), [("no edema", 8), ("edema", 0)])
def test_strict(text: str, code: int) -> None:
    assert run("lint", text, "--strict").return_value == code
    assert run("lint", text).return_value == 0


def test_nothing_to_look_at() -> None:
    assert isinstance(run("lint", "-", given="\n").exception, InputError)


def test_the_tokenizer_of_a_checkpoint_counts() -> None:
    prompt = "effusion " * 300
    (remark,) = json.loads(run("lint", prompt, "--model", "starter", "--json").stdout)["remarks"]
    assert remark["trouble"] == "too_long" and "300 pieces" in remark["message"]


def test_lint_needs_no_torch() -> None:
    code = (
        "import sys; from callosum.cli.commands.prompts import command;"
        "command(['lint', 'edema', '--model', 'starter'], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
