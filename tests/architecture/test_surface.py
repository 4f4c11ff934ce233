"""What the world relies on: root names, commands, options, error codes. A change here is a decision."""

import importlib
from pathlib import Path

import click
import pytest

import callosum
from callosum.cli.main import COMMANDS, cli
from callosum.core import errors

ROOT = Path(__file__).parents[2]
DOCS = "\n".join(p.read_text() for p in sorted((ROOT / "docs").rglob("*.md"))) + (ROOT / "README.md").read_text()
ROOT_NAMES = [
    "Archive",
    "CallosumError",
    "Embedding",
    "Encoder",
    "Finding",
    "Hit",
    "Image",
    "Prediction",
    "Record",
    "SpaceId",
    "extract",
    "load_encoder",
    "read",
    "read_volume",
    "zero_shot",
]
COMPUTING = {"--calibration", "--device", "--precision", "--runtime"}
READING = {"--frames", "--mpp", "--stain", "--tiles", "--window"}
OPTIONS = {
    "classify": {"--json", "--label", "--model", "--template", *COMPUTING},
    "dataset build": {"--json", "--output", "-o", "--patient-disjoint", "--per-class", "--rest", "--seed"},
    "dataset check": {"--json", "--near-duplicates", "--radius"},
    "dataset list": {"--json"},
    "dataset manifest": {"--json", "--output", "-o"},
    "dataset show": {"--json"},
    "dataset split": {"--by", "--json", "--output", "-o", "--ratios", "--seed", "--stratify"},
    "dataset verify": {"--json"},
    "demo": {"--open"},
    "doctor": {"--json", "--quick"},
    "embed": {"--as", "--model", "--output", "-o", *COMPUTING},
    "extract": {"--html", "--json", "--kind", "--scheme"},
    "facets": {"--json", "--top", "--where"},
    "index": {"--dry-run", "--json", "--manifest", "--model", "--reports", "--resume", *COMPUTING, *READING},
    "model export": {"--format", "--json", "--output", "-o"},
    "model import": {
        "--activation",
        "--context-length",
        "--family",
        "--json",
        "--licence",
        "--name",
        "--pool",
        "--tokenizer",
    },
    "model list": {"--json"},
    "model pack": {"--json", "--output", "-o"},
    "model pull": {"--allow-network", "--json", "--licence", "--name"},
    "model show": {"--json"},
    "model verify": {"--json"},
    "prompts lint": {"--json", "--modality", "--model", "--strict"},
    "prompts show": {"--json", "--limit", "--modality", "--scheme", "--seed"},
    "search": {
        "--finding",
        "--image",
        "--json",
        "--level",
        "--like",
        "--literal",
        "--model",
        "--pool",
        "--where",
        "--without",
        "-k",
        *COMPUTING,
    },
    "slide": {"--json", "--output", "-o", "--mpp", "--stain", "--tiles"},
    "train": {"--data", "--json", "--out", "--pixels", "--resume", "--retain", "--set"},
    "show": {"--json", "--refused", "--where"},
}


def commands() -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = importlib.import_module(f"callosum.cli.commands.{name}").command
        if isinstance(command, click.Group):
            found |= {f"{name} {inner}": each for inner, each in command.commands.items()}
        else:
            found[name] = command
    return found


def test_root_names() -> None:
    assert callosum.__all__ == ROOT_NAMES
    for name in ROOT_NAMES:
        assert getattr(callosum, name) is not None
    with pytest.raises(AttributeError):
        _ = callosum.nothing_of_that_name  # type: ignore[attr-defined]


def test_options_are_a_contract() -> None:
    found = {
        name: {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
        for name, command in commands().items()
    }
    assert found == OPTIONS


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_command_has_help_and_is_documented(name: str) -> None:
    command = commands()[name]
    assert command.help
    assert f"callosum {name}" in DOCS
    for option in OPTIONS[name]:
        assert option in DOCS


def error_classes() -> list[type[errors.CallosumError]]:
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.CallosumError)]
    return sorted(classes, key=lambda c: c.__name__)


@pytest.mark.parametrize("error", error_classes(), ids=lambda c: c.__name__)
def test_every_error_is_documented(error: type[errors.CallosumError]) -> None:
    assert error.__name__ in DOCS
    assert error.code in DOCS
    assert error.__doc__


def test_the_group_lists_its_commands_without_importing_them() -> None:
    context = click.Context(cli)
    assert cli.list_commands(context) == sorted(COMMANDS)
    assert cli.get_command(context, "nothing") is None
