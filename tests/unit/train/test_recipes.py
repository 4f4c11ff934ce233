"""Recipes by name and from files, settings on the command line, manifests as they are named there, and the command."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from callosum.cli.commands.train import command
from callosum.core.errors import InputError, NotFound, UsageError
from callosum.train.manifests import supply_of
from callosum.train.recipe import with_settings
from callosum.train.recipes import RECIPES, find_recipe
from callosum.train.supply import Kind
from callosum.train.watch import Log

SMALL = ("num_steps=2", "batch.num_pairs=4", "batch.store_px=0", "num_threads=1", "watch.validate_every=2")


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_is_a_json_value(name: str) -> None:
    config = find_recipe(name)
    assert config == RECIPES[name]()
    assert json.loads(json.dumps(config.to_json())) == config.to_json()
    assert RECIPES[name].__doc__


def test_settings_change_what_they_name_and_nothing_else() -> None:
    config = with_settings(
        find_recipe("medclip"),
        ["num_steps=7", "optim.learning_rate=1", "objective_settings.uncertain=zero", "concepts=Edema,Effusion"],
    )
    assert (config.num_steps, config.optim.learning_rate) == (7, 1.0)
    assert config.objective_settings == {"target_temperature": 0.1, "uncertain": "zero"}
    assert config.concepts == ("Edema", "Effusion")
    assert with_settings(config, ["adapt.tune=full"]) == config


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("num_stepz=7", "num_steps"),
        ("optim.learning_rat=7", "learning_rate"),
        ("num_steps=soon", "whole number"),
        ("num_steps", "key=value"),
        ("adapt.tune=all", "projection"),
        ("num_steps=0", "at least 1"),
        ("watch.validation_rows=1", "validation_rows is at least 2"),
        ("watch.patience=-1", "patience is at least 0"),
        ("optim.betas=0.9,1.5", "betas"),
        ("optim.weight_decay=-1", "weight_decay"),
        ("objective_settings=3", "parts"),
        ("batch=3", "batch.NAME"),
        ("architecture=foo", "architecture"),
        ("optim.betas=a,b", "2 numbers"),
        ("seed=99999999999999999999", "seed"),
        ("seed=-1", "seed"),
        ("batch.mirror=1.5", "mirror is a probability"),
        ("name=Clip", "small letters"),
        ("batch.augmentation=strong", "convirt"),
    ],
)
def test_settings_that_are_none(setting: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_settings(find_recipe("clip"), [setting])


def test_small_towers_or_those_of_a_checkpoint() -> None:
    config = with_settings(find_recipe("clip"), ["start=starter", "optim.learning_rate=1e-5"])
    assert (config.start, config.architecture) == ("starter", None)
    with pytest.raises(UsageError, match="both or neither"):
        with_settings(find_recipe("finetune"), ["start=random"])


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from callosum.train.recipes import siglip\nodd = lambda: 3\ndef mine():\n    return siglip()\n")
    assert find_recipe(f"{path}:mine") == find_recipe("siglip") == find_recipe("callosum.train.recipes:siglip")
    with pytest.raises(InputError, match="RunConfig"):
        find_recipe(f"{path}:odd")
    path.write_text("1 / 0\n")
    with pytest.raises(InputError, match="ZeroDivisionError"):
        find_recipe(f"{path}:mine")
    path.write_text("def mine():\n    raise KeyError\n")
    with pytest.raises(InputError, match="KeyError"):
        find_recipe(f"{path}:mine")
    for name in (f"{path}:other", f"{tmp_path}/no.py:mine", "no_such_module:mine", "nothing"):
        with pytest.raises(NotFound):
            find_recipe(name)


def test_manifests_say_what_their_rows_are(pairs: Path) -> None:
    found = supply_of(str(pairs))
    assert (found.kind, found.labels) == (Kind.PAIRS, {"Left": "Left", "Top": "Top"})
    assert supply_of(f"texts:{pairs}", concepts=["Top"]).labels == {"Top": "Top"}
    assert supply_of(f"images:{pairs}").kind is Kind.IMAGES
    with pytest.raises(UsageError, match="KIND"):
        supply_of("films:nowhere.csv")


def test_columns_of_labels(tmp_path: Path) -> None:
    def found(cells: list[str], **choices: object) -> dict[str, str]:
        path = tmp_path / "m.csv"
        path.write_text("\n".join(["path,Edema", *(f"{n}.png,{cell}" for n, cell in enumerate(cells))]) + "\n")
        return dict(supply_of(str(path), **choices).labels)  # type: ignore[arg-type]

    assert found(["Positive", "NEGATIVE ", "", "uncertain"]) == {"Edema": "Edema"}
    assert found(["present", "a", "b"]) == found(["1", "0"]) == {}
    assert found(["1", "0"], concepts=["Edema"]) == {"Edema": "Edema"}
    with pytest.raises(InputError, match=r"Row 3 .* 'Edema'"):
        found(["positive", "negative", "2"])
    assert found(["positive", "negative", "2"], wants_labels=False) == {}


def test_manifests_have_weights(pairs: Path) -> None:
    found = supply_of(f"texts:{pairs}@0.5")
    assert (found.weight, found.manifest, found.kind) == (0.5, pairs, Kind.TEXTS)
    assert supply_of(f"{pairs}@3").weight == 3.0
    with pytest.raises(UsageError, match="weight"):
        supply_of(f"{pairs}@-1")


@pytest.mark.parametrize("name", ["clip", "siglip", "convirt", "gloria", "medclip"])
def test_every_objective_trains_from_the_command_line(name: str, pairs: Path, pixels: Path, tmp_path: Path) -> None:
    settings = list(SMALL)
    if name == "medclip":
        settings += ["batch.num_pairs=0", "batch.num_images=4", "batch.num_texts=4"]
        settings += ["sentences.rewording=eda"]
    given = [part for setting in settings for part in ("--set", setting)]
    arguments = [name, "--data", str(pairs), "--out", str(tmp_path), "--pixels", str(pixels), "--json", *given]
    done = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert done.exception is None, done.exception
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("kind") for line in lines] == ["step", "step", "look", "end", None]
    assert lines[-1]["schema"] == "callosum.training/1"
    assert lines[-1]["steps"] == 2
    assert {"validation_loss"} <= set(lines[-1]["figures"])
    assert json.loads((tmp_path / "card.json").read_text())["name"] == f"own.{name}"
    if name == "medclip":
        assert "target_entropy" in lines[0]


def test_the_log_ends_where_the_state_does(tmp_path: Path) -> None:
    log = Log(tmp_path, step=0)
    for step in (1, 2, 3):
        log.write("step", step, {"loss": float("nan") if step == 2 else 1.0})
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"kind": "st')
    Log(tmp_path, step=2)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, None)]
