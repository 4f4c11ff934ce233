"""Import, lookup, verification and what an interrupted import leaves."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import callosum
from callosum.core.digest import digest_file
from callosum.core.errors import (
    ArchiveBusy,
    DigestMismatch,
    InputError,
    IntegrityError,
    NotFound,
    UsageError,
)
from callosum.models.checkpoints.cards import read_card, write_card
from callosum.models.checkpoints.convert import convert, reading_of
from callosum.models.checkpoints.foreign import Reading
from callosum.models.checkpoints.golden import SENTENCES, pictures
from callosum.models.checkpoints.home import checkpoint_folder, imported, models_home
from callosum.models.checkpoints.install import Import, import_model
from callosum.models.checkpoints.load import installed_cards, load_checkpoint, verify_checkpoint
from callosum.models.checkpoints.pack import write_pack
from callosum.models.checkpoints.published import PUBLISHED, UNKNOWN, published
from callosum.models.checkpoints.stage import hidden_folder, only_writer
from callosum.models.checkpoints.weights import digest_weights, write_weights
from callosum.models.text.pooling import Pool

TEXTS = ["chest x-ray", "ct of the head", "no finding"]
FILES = {"card.json", "config.json", "golden.json", "LICENSES.md", "model.safetensors", "tokenizer.json"}


def import_biomed(biomed: Path, **options: object) -> str:
    return import_model(Import(path=biomed, **options)).card.name  # type: ignore[arg-type]


def test_an_import_is_a_checkpoint_with_a_card(biomed: Path, home: Path) -> None:
    steps: list[str] = []
    done = import_model(Import(path=biomed, licence="MIT"), tell=steps.append)
    assert done.is_new
    assert steps[0] == "reading the model"
    folder = home / done.card.name
    assert {path.name for path in folder.iterdir()} == FILES
    card = read_card(folder)
    assert card == done.card
    assert card.name == f"open_clip.{card.digests['model.safetensors'][:8]}"
    assert (card.licence, card.context_length) == ("MIT", 12)
    assert "decision about a patient" in card.not_for
    assert set(card.digests) == FILES - {"card.json"}
    encoder = callosum.load_encoder("open_clip")
    assert encoder.space == convert(biomed).space
    assert encoder.space.recipe["weights"] == card.digests["model.safetensors"]
    assert verify_checkpoint("open_clip")[1].max_abs < 1e-6  # type: ignore[union-attr]


def test_a_local_folder_gives_the_vectors_and_the_space_of_its_import(biomed: Path, home: Path) -> None:
    local = callosum.load_encoder(f"local-dir:{biomed}")
    assert not home.exists()
    name = import_biomed(biomed, name="mine.v1")
    kept = callosum.load_encoder(name)
    assert kept.space == local.space  # whatever name it was given
    assert np.array_equal(kept.encode_text(TEXTS).matrix, local.encode_text(TEXTS).matrix)
    assert np.array_equal(kept.encode_image(pictures()).matrix, local.encode_image(pictures()).matrix)
    again = callosum.load_encoder(f"local-dir:{home / name}")
    assert again.space == kept.space
    assert callosum.load_encoder(kept.space.name).space == kept.space


def test_weights_keep_the_type_of_their_origin(medclip: Path, home: Path, tmp_path: Path) -> None:
    half = Path(shutil.copytree(medclip, tmp_path / "half"))
    state = torch.load(half / "pytorch_model.bin", weights_only=True)
    torch.save({n: v.half() if v.is_floating_point() else v for n, v in state.items()}, half / "pytorch_model.bin")
    name = import_model(Import(path=half)).card.name
    assert name.startswith("medclip.")
    kept = load_file(home / name / "model.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float16}
    assert not [n for n in kept if n.endswith("num_batches_tracked")]
    full = callosum.load_encoder(f"local-dir:{medclip}")
    found = callosum.load_encoder(name)
    assert found.space != full.space
    assert np.abs(found.encode_text(TEXTS).matrix - full.encode_text(TEXTS).matrix).max() < 1e-2


def test_importing_again_says_so_and_changes_nothing(biomed: Path, home: Path) -> None:
    name = import_biomed(biomed)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (home / name).iterdir()}
    again = import_model(Import(path=biomed))
    assert not again.is_new
    assert again.card.name == name
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (home / name).iterdir()}


def test_another_content_does_not_get_the_name(
    biomed: Path, tmp_path: Path, write_published: Callable[..., Path]
) -> None:
    import_biomed(biomed, name="mine.v1")
    other = write_published(tmp_path / "other", seed=1)
    with pytest.raises(UsageError, match="--name"):
        import_biomed(other, name="mine.v1")
    with pytest.raises(UsageError, match="--name"):
        import_biomed(other, name="starter.v1")
    import_biomed(other, name="mine.v2")
    assert set(imported()) == {"mine.v1", "mine.v2"}
    with pytest.raises(UsageError, match=r"mine.v1, mine.v2"):
        checkpoint_folder("mine")
    for bad in ("mine", "Mine.v1", "../mine.v1", "mine.v/1", ".mine.v1", ""):
        with pytest.raises(UsageError, match=r"family\.tag"):
            import_biomed(other, name=bad)


def test_what_is_not_a_finished_import_is_not_a_model(biomed: Path, home: Path) -> None:
    name = import_biomed(biomed)
    (home / "half.v1").mkdir()
    (home / "half.v1" / "model.safetensors").write_bytes(b"half")
    shutil.copytree(home / name, home / ".staging-half")
    shutil.copytree(home / name, home / "no name")
    assert set(imported()) == {name}
    with pytest.raises(NotFound):
        checkpoint_folder("half")
    with pytest.raises(UsageError, match="something at the place"):
        import_biomed(biomed, name="half.v1")
    assert not (home / ".staging-half").exists()


def test_unknown_names_are_answered(home: Path) -> None:
    with pytest.raises(NotFound, match="callosum model import"):
        callosum.load_encoder("biomedclip")
    with pytest.raises(NotFound, match="callosum model pull hf-hub:a/b --allow-network"):
        callosum.load_encoder("hf-hub:a/b")
    with pytest.raises(InputError, match="no file or folder"):
        callosum.load_encoder(f"local-dir:{home}")


def test_the_home_is_the_platform_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert models_home() == tmp_path / "home" / "models"
    monkeypatch.delenv("CALLOSUM_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    for platform, expected in {
        "linux": tmp_path / "xdg" / "callosum",
        "darwin": tmp_path / "Library" / "Application Support" / "callosum",
        "win32": tmp_path / "local" / "callosum",
    }.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert models_home() == expected / "models"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert models_home() == tmp_path / ".local" / "share" / "callosum" / "models"


KILLED = """
import os, signal, sys
from pathlib import Path
from callosum.models.checkpoints import {module} as room
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
room.{step} = die
from callosum.models.checkpoints.install import Import, import_model
import_model(Import(path=Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize(("module", "step"), [("install", "write_card"), ("install", "publish")])
def test_a_killed_import_leaves_nothing(biomed: Path, home: Path, module: str, step: str) -> None:
    program = KILLED.format(module=module, step=step)
    done = subprocess.run([sys.executable, "-c", program, str(biomed)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path for path in home.iterdir() if path.name.startswith(".staging-")]
    assert imported() == {}
    name = import_biomed(biomed)
    assert {path.name for path in home.iterdir()} - {".lock"} == {name}


def test_an_import_that_fails_leaves_nothing(biomed: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("callosum.models.checkpoints.install.write_weights", full)
    with pytest.raises(OSError, match="No space"):
        import_biomed(biomed)
    assert [path.name for path in home.iterdir() if path.name != ".lock"] == []


def test_two_imports_at_once_are_one_too_many(biomed: Path, home: Path) -> None:
    with only_writer(home), pytest.raises(ArchiveBusy, match="importing"):
        import_biomed(biomed)


@pytest.mark.parametrize("name", sorted(FILES - {"card.json"}))
def test_one_flipped_byte_is_found_and_repaired_by_the_same_import(biomed: Path, home: Path, name: str) -> None:
    kept = import_biomed(biomed)
    path = home / kept / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DigestMismatch, match=name):
        verify_checkpoint(kept)
    with pytest.raises(DigestMismatch, match=name):
        callosum.load_encoder(kept)
    assert import_model(Import(path=biomed)).is_new
    verify_checkpoint(kept)


def test_vectors_that_are_not_the_golden_ones_are_refused(biomed: Path, home: Path) -> None:
    name = import_biomed(biomed)
    golden = json.loads((home / name / "golden.json").read_text())
    assert tuple(golden["sentences"]) == SENTENCES
    row = np.array(golden["images"][1], np.float32)
    row[0] += 5e-4
    golden["images"][1] = row.tolist()
    (home / name / "golden.json").write_text(json.dumps(golden))
    card = read_card(home / name)
    write_card(home / name, card)
    with pytest.raises(IntegrityError, match="other vectors"):
        verify_checkpoint(name)
    golden["images"][1][0] = float("nan")
    for text in ("{}", "[", json.dumps({**golden, "sentences": []}), json.dumps(golden)):
        (home / name / "golden.json").write_text(text)
        write_card(home / name, card)
        with pytest.raises(InputError, match="golden"):
            verify_checkpoint(name)


def test_a_changed_way_of_reading_files_shows_in_the_golden_vectors(biomed: Path, home: Path) -> None:
    card = import_model(Import(path=biomed)).card
    folder = home / card.name
    sizes = json.loads((folder / "config.json").read_text())
    assert sizes["preprocess"]["keeps_mode"]
    sizes["preprocess"]["keeps_mode"] = False
    (folder / "config.json").write_text(json.dumps(sizes))
    write_card(folder, card)
    with pytest.raises(IntegrityError, match="gives other vectors"):
        verify_checkpoint(card.name)


def test_golden_vectors_of_the_first_form_are_verified_still(biomed: Path, home: Path) -> None:
    card = import_model(Import(path=biomed)).card
    folder = home / card.name
    golden = json.loads((folder / "golden.json").read_text())
    assert golden["schema"] == "callosum.golden/2"
    del golden["files"]
    (folder / "golden.json").write_text(json.dumps({**golden, "schema": "callosum.golden/1"}))
    write_card(folder, card)
    _, deviation = verify_checkpoint(card.name)
    assert deviation is not None
    assert deviation.is_ok
    for schema in ("callosum.golden/2", "callosum.golden/3"):
        (folder / "golden.json").write_text(json.dumps({**golden, "schema": schema}))
        write_card(folder, card)
        with pytest.raises(InputError, match="does not hold golden vectors"):
            verify_checkpoint(card.name)


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/below"])
def test_places_where_nothing_can_be_kept_or_found(biomed: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    with pytest.raises(InputError, match="no file or folder of a model"):
        import_model(Import(path=Path(place)))
    monkeypatch.setenv("CALLOSUM_HOME", place)
    with pytest.raises(UsageError, match="folder of models cannot be written to"):
        import_model(Import(path=biomed))
    with pytest.raises(UsageError, match="cannot be written to"), hidden_folder(Path(place)):
        pass


def test_options_are_for_published_models_only(biomed: Path, medclip: Path) -> None:
    name = import_biomed(biomed)
    for options in ({"pool": "mean_pooler"}, {"context_length": 9}, {"tokenizer": biomed}, {"family": "clip"}):
        with pytest.raises(UsageError, match="decided when it was imported"):
            callosum.load_encoder(name, **options)
        with pytest.raises(UsageError, match="says itself"):
            callosum.load_encoder(f"local-dir:{models_home() / name}", **options)
    with pytest.raises(UsageError, match=r"pool is one of .*medclip_unmasked"):
        callosum.load_encoder(f"local-dir:{medclip}", pool="middle")
    with pytest.raises(UsageError, match=r"family is one of .*gloria"):
        callosum.load_encoder(f"local-dir:{medclip}", family="resnet")
    with pytest.raises(InputError, match="pooling of this model is cls"):
        callosum.load_encoder(f"local-dir:{biomed}", pool="mean_pooler")
    with pytest.raises(InputError, match="context length of this model is 40; it cannot be 41"):
        callosum.load_encoder(f"local-dir:{medclip}", context_length=41)


def test_the_space_holds_the_pooling_and_the_length_of_its_padding(medclip: Path) -> None:
    def space(**options: object) -> callosum.SpaceId:
        return callosum.load_encoder(f"local-dir:{medclip}", **options).space  # type: ignore[arg-type]

    spaces = [
        space(),
        space(context_length=20),
        space(pool="medclip_masked"),
        space(pool="medclip_masked", context_length=20),
    ]
    assert len({one.digest for one in spaces}) == 4
    assert len({one.recipe["weights"] for one in spaces}) == 1
    assert spaces[0].recipe["pooling"] == "image: resnet; text: medclip_unmasked, padded to 40"
    assert spaces[1].recipe["pooling"] == "image: resnet; text: medclip_unmasked, padded to 20"
    assert reading_of(pool="gloria") == Reading(pool=Pool.GLORIA)


def test_the_space_of_the_starter_is_what_it_was() -> None:
    assert load_checkpoint("starter").space.recipe.keys() == {"weights", "tokenizer", "preprocess", "pooling"}
    assert load_checkpoint("starter").space.digest.startswith("893ca8618aee")


def test_everything_works_with_the_network_cut(biomed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(AssertionError, match="a socket"):
        socket.create_connection(("localhost", 1))
    name = import_biomed(biomed)
    verify_checkpoint(name)
    write_pack(checkpoint_folder(name), tmp_path / "model.callosum")
    monkeypatch.setenv("CALLOSUM_HOME", str(tmp_path / "elsewhere"))
    assert import_model(Import(path=tmp_path / "model.callosum")).is_new
    assert len(callosum.load_encoder(name).encode_text(TEXTS)) == 3
    assert len(callosum.load_encoder(name).encode_image(pictures())) == 2


def test_a_zip_and_a_file_are_the_folder(medclip: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "medclip.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        for path in medclip.iterdir():
            bundle.write(path, f"medclip-resnet/{path.name}")
    expected = convert(medclip)
    for path in (tmp_path / "medclip.zip", medclip / "pytorch_model.bin"):
        assert convert(path).space == expected.space
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(medclip / "pytorch_model.bin", alone)
    with pytest.raises(InputError, match=r"heads .* cannot be told"):
        convert(alone, Reading(tokenizer=medclip))
    shutil.copy(medclip / "bert_config.json", alone)
    with pytest.raises(NotFound, match="tokenizer"):
        convert(alone)
    assert convert(alone, Reading(tokenizer=medclip)).space == expected.space


def test_weights_are_written_as_safetensors_and_depend_on_nothing_else(tmp_path: Path) -> None:
    state = {
        "b": torch.arange(6.0).view(2, 3).T,
        "a": torch.tensor(1.5),
        "half": torch.ones(3, dtype=torch.float16),
        "brain": torch.full((3,), 2.0, dtype=torch.bfloat16),
        "count": torch.tensor([3]),
        "none": torch.zeros(0, 4),
        "bit": torch.tensor([True, False, True]),
    }
    write_weights(tmp_path / "a.safetensors", state)
    read = load_file(tmp_path / "a.safetensors")
    assert {n: (v.dtype, v.tolist()) for n, v in read.items()} == {n: (v.dtype, v.tolist()) for n, v in state.items()}
    write_weights(tmp_path / "b.safetensors", dict(reversed(state.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert digest_weights(state) == digest_file(tmp_path / "a.safetensors")
    assert digest_weights({**state, "a": torch.tensor(1.25)}) != digest_weights(state)
    with pytest.raises(InputError, match="complex64"):
        digest_weights({"a": torch.zeros(1, dtype=torch.complex64)})


def test_cards_of_families() -> None:
    assert set(PUBLISHED) == {"biomedclip", "medclip", "gloria", "convirt", "clip", "pubmedclip", "chexzero"}
    assert published("biomedclip").licence.startswith("MIT")
    assert published("clip").licence.startswith("MIT")
    for family in ("medclip", "gloria", "chexzero", "anything"):
        assert published(family).licence == UNKNOWN
    assert all(asdict(each)["source"].startswith("https://") for name, each in PUBLISHED.items() if name != "convirt")


def test_a_damaged_card_hides_no_other_checkpoint_and_is_repaired(
    biomed: Path, home: Path, write_published: Callable[..., Path], tmp_path: Path
) -> None:
    name = import_biomed(biomed)
    whole = (home / name / "card.json").read_bytes()
    (home / name / "card.json").write_bytes(whole[: len(whole) // 2])
    told: list[str] = []
    assert [card.name for card in installed_cards(tell=told.append)] == ["starter.v1"]
    assert told == [f"{name} is damaged: card.json is not JSON."]
    other = write_published(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="not JSON"):
        import_model(Import(path=other, name=name))
    assert import_model(Import(path=biomed)).is_new
    assert (home / name / "card.json").read_bytes() == whole


@pytest.mark.parametrize(
    "change",
    [{"size_px": "32"}, {"mean": [0.5]}, {"num_heads": 0}, {"width": 10**9}, {"weights": b""}],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_that_cannot_be_computed_is_refused_though_it_is_signed(
    biomed: Path, home: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = Path(shutil.copytree(home / import_biomed(biomed), tmp_path / "signed"))
    config = json.loads((folder / "config.json").read_text())
    for part in (config["preprocess"], config["vision"]):
        part.update({key: value for key, value in change.items() if key in part})
    (folder / "config.json").write_text(json.dumps(config))
    if "weights" in change:
        (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9])
    write_card(folder, read_card(folder))
    with pytest.raises(InputError, match="has the right digests and cannot be computed"):
        import_model(Import(path=folder, name="signed.v1"))
    assert len(imported()) == 1
