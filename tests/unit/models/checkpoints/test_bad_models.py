"""Whatever is given in a model's place is answered with a typed error, and nothing of it is ever run or kept."""

import importlib
import io
import json
import os
import pickle
import shutil
import struct
import sys
import types
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import callosum
from callosum.core.errors import CallosumError, InputError, UsageError
from callosum.models.checkpoints import tensors
from callosum.models.checkpoints.convert import convert, open_local, reading_of
from callosum.models.checkpoints.foreign import Reading
from callosum.models.checkpoints.install import Import, import_model
from tests.unit.models.checkpoints.conftest import (
    BERT_WIDTH,
    bert_shapes,
    draw,
    open_clip_settings,
    open_clip_state,
    write_bert,
    write_open_clip,
)
from tests.unit.models.checkpoints.test_foreign import gloria_state

SENTENCES = ["ct of the head", "a chest x-ray"]


def refused(path: Path, home: Path, match: str, reading: Reading | None = None) -> None:
    """The import says so, and leaves nothing."""
    with pytest.raises(CallosumError, match=match):
        import_model(Import(path=path, reading=reading or Reading()))
    assert [each.name for each in home.iterdir() if each.name != ".lock"] == []


def test_missing_unexpected_and_misshapen_weights_are_listed(tmp_path: Path, home: Path) -> None:
    folder = write_open_clip(tmp_path / "model")
    state = open_clip_state()
    del state["visual.trunk.norm.bias"]
    state["text.proj.9.weight"] = torch.zeros(1)
    state["visual.trunk.blocks.0.attn.proj.bias"] = torch.zeros(3)
    save_file(state, folder / "open_clip_model.safetensors")
    refused(folder, home, r"1 missing: vision\.norm\.bias")
    refused(folder, home, r"1 unexpected: text_projection\.9\.weight")
    refused(folder, home, r"of another shape: vision\.blocks\.0\.attention\.out\.bias \[3\] instead of \[96\]")
    state = {**open_clip_state(), "visual.trunk.norm.bias": torch.full((96,), float("nan"))}
    save_file(state, folder / "open_clip_model.safetensors")
    refused(folder, home, r"not finite numbers, in vision\.norm\.bias")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "pytorch_model.bin"])
def test_truncated_weights(biomed: Path, medclip: Path, tmp_path: Path, home: Path, name: str, share: float) -> None:
    folder = Path(shutil.copytree(medclip if name.endswith(".bin") else biomed, tmp_path / "model"))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(share * len(data))])
    refused(folder, home, r"damaged|cut short|holds no weights")


@pytest.mark.parametrize("name", ["open_clip_config.json", "config.json", "vocab.txt"])
def test_truncated_settings(biomed: Path, tmp_path: Path, home: Path, name: str) -> None:
    folder = Path(shutil.copytree(biomed, tmp_path / "model"))
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 20])
    refused(folder, home, r"is not JSON|A vocabulary of this kind|no ")


def test_a_tokenizer_of_another_model(biomed: Path, tmp_path: Path, home: Path) -> None:
    folder = Path(shutil.copytree(biomed, tmp_path / "model"))
    words = (folder / "vocab.txt").read_text() + "\n".join(f"more{n}" for n in range(9)) + "\n"
    (folder / "vocab.txt").write_text(words)
    refused(folder, home, r"gives ids up to 30; the text tower knows 22 pieces\. .* --tokenizer")


class Runs:
    """Creates a file when it is unpickled by anything that runs what a pickle says."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_file_that_holds_code_is_never_run(medclip: Path, tmp_path: Path, home: Path, is_zip: bool) -> None:
    folder, made = Path(shutil.copytree(medclip, tmp_path / "model")), tmp_path / "made"
    state = {"weight": torch.zeros(2), "more": Runs(made)}
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=is_zip)
    refused(folder, home, "never run|something other than tensors")
    assert not made.exists()
    pickle.loads(pickle.dumps(Runs(made)))  # it would have, had it been run
    assert made.exists()


def test_a_lightning_file_with_settings_of_omegaconf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bert(tmp_path, name="bert_config.json")
    state = gloria_state(draw(bert_shapes("gloria.text_encoder.model.", num_layers=4)), BERT_WIDTH)
    fake = types.ModuleType("omegaconf.dictconfig")
    config = type("DictConfig", (), {"__module__": "omegaconf.dictconfig"})
    fake.DictConfig = config  # type: ignore[attr-defined]
    with monkeypatch.context() as there:  # the package is on the machine that saves, and on none that reads
        there.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
        there.setitem(sys.modules, "omegaconf.dictconfig", fake)
        settings = config()
        settings.content = {"model": {"name": "gloria"}, "lr": 5e-5}
        saved = {"state_dict": state, "hyper_parameters": settings, "epoch": 3}
        torch.save(saved, tmp_path / "chexpert_resnet50.ckpt")
    encoder = open_local(tmp_path, Reading(context_length=20))
    torch.save({"state_dict": state}, tmp_path / "chexpert_resnet50.ckpt")
    assert encoder.space.name.startswith("gloria.")
    assert open_local(tmp_path, Reading(context_length=20)).space == encoder.space


class Settings:
    """What OmegaConf pickles beside the weights: plain types, their names, and mappings that make their own values."""

    def __init__(self) -> None:
        self.object_type, self.element_type = dict, Any
        self.resolver_cache = defaultdict(dict, {"env": {}})
        self._content = {"lr": 5e-5, "classes": [int, list]}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_settings_and_scores_beside_weights_are_left_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_zip: bool
) -> None:
    fake = types.ModuleType("omegaconf.base")
    fake.Settings = Settings  # type: ignore[attr-defined]
    weights = {"w": torch.arange(3.0)}
    with monkeypatch.context() as there:
        there.setattr(Settings, "__module__", "omegaconf.base")
        there.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
        there.setitem(sys.modules, "omegaconf.base", fake)
        saved = {"state_dict": weights, "hyper_parameters": Settings(), "best": np.float64(0.5), "at": Path("x")}
        torch.save(saved, tmp_path / "a.ckpt", _use_new_zipfile_serialization=is_zip)
    if is_zip:
        assert torch.equal(tensors.read_tensors(tmp_path / "a.ckpt")["w"], weights["w"])
    else:  # what such a file names cannot be listed beforehand
        with pytest.raises(InputError, match="something other than tensors"):
            tensors.read_tensors(tmp_path / "a.ckpt")


@pytest.mark.parametrize("name", ["numpy.load", "builtins.eval", "builtins.getattr", "pickle.loads"])
def test_functions_beside_weights_are_named_and_refused(tmp_path: Path, name: str) -> None:
    module, _, function = name.partition(".")
    torch.save({"w": torch.zeros(1), "f": getattr(importlib.import_module(module), function)}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=rf"names code \(\w+\.{function}\), which is never run"):
        tensors.read_tensors(tmp_path / "a.pt")


def test_a_family_that_the_weights_are_not_of(medclip: Path, home: Path) -> None:
    for family, missing in (
        ("gloria", "global_embedder"),
        ("clip", "text_projection"),
        ("chexzero", "text_projection"),
    ):
        refused(
            medclip,
            home,
            rf"of the family {family} were expected; they have no \S*{missing}",
            reading_of(family=family),
        )
    for length in (2, "40", True):
        with pytest.raises(UsageError, match="whole number of at least 3"):
            reading_of(context_length=length)  # type: ignore[arg-type]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_with_a_byte_that_differs(medclip: Path, tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w", method) as bundle:
        bundle.write(medclip / "pytorch_model.bin", "pytorch_model.bin")
    data = (tmp_path / "model.zip").read_bytes()
    directory = data.index(b"PK\x01\x02")
    for at in (*range(60, directory, directory // 40), directory, directory + 46):
        (tmp_path / "model.zip").write_bytes(flipped(data, at))
        with pytest.raises(CallosumError):
            convert(tmp_path / "model.zip")


def test_weights_with_a_byte_that_differs(medclip: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(medclip, tmp_path / "model"))
    data = (folder / "pytorch_model.bin").read_bytes()
    with zipfile.ZipFile(folder / "pytorch_model.bin") as bundle:
        largest = max(bundle.infolist(), key=lambda info: info.file_size)
    middle = largest.header_offset + 200 + largest.file_size // 2
    for at in (middle, data.index(b"PK\x01\x02")):
        (folder / "pytorch_model.bin").write_bytes(flipped(data, at))
        with pytest.raises(InputError, match="damaged"):
            convert(folder)


def test_unknown_towers_and_settings_are_named(biomed: Path, tmp_path: Path, home: Path) -> None:
    folder = Path(shutil.copytree(biomed, tmp_path / "model"))
    for section, key, value, match in (
        ("vision_cfg", "timm_model_name", "convnext_base", "'convnext_base' is not known"),
        ("vision_cfg", "timm_model_name", "vit_medtiny_patch16_rope_32", "rope"),
        ("vision_cfg", "timm_pool", "map", "timm_pool is 'map'"),
        ("text_cfg", "hf_pooler_type", "attentive", "hf_pooler_type is 'attentive'"),
        ("text_cfg", "surprise", 1, "setting 'surprise' that is not known"),
        ("text_cfg", "context_length", 2, "at least 3; found 2"),
        ("text_cfg", "context_length", "many", "found 'many'"),
    ):
        settings = open_clip_settings()
        settings["model_cfg"][section][key] = value  # type: ignore[index]
        (folder / "open_clip_config.json").write_text(json.dumps(settings))
        refused(folder, home, match)
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_settings()))
    refused(folder, home, "context length of this model is 40; it cannot be 500", Reading(context_length=500))


def test_folders_that_hold_no_model(tmp_path: Path, home: Path) -> None:
    home.mkdir(parents=True)
    refused(tmp_path / "nowhere", home, "no file or folder of a model")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", home, "found 0")
    (tmp_path / "words.txt").write_text("no weights")
    refused(tmp_path / "words.txt", home, "damaged")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    refused(tmp_path / "other.safetensors", home, "no known family")


def test_a_zip_that_names_files_outside_itself(tmp_path: Path, home: Path) -> None:
    for name in ("../outside.bin", "/outside.bin", "model/../../outside.bin"):
        with zipfile.ZipFile(tmp_path / "model.zip", "w") as bundle:
            bundle.writestr("pytorch_model.bin", b"x")
            bundle.writestr(name, b"x")
        refused(tmp_path / "model.zip", home, "outside itself")
    assert not list(tmp_path.rglob("outside.bin"))
    assert not Path("/outside.bin").exists()


def test_a_zip_that_unpacks_to_too_much(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("pytorch_model.bin", bytes(1 << 24))
    assert (tmp_path / "bomb.zip").stat().st_size < 1 << 15
    monkeypatch.setattr(tensors, "MAX_ZIP_BYTES", 1 << 20)
    refused(tmp_path / "bomb.zip", home, "The zip holds more than")
    data = bytearray((tmp_path / "bomb.zip").read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 1000)  # the directory says it is small
    (tmp_path / "bomb.zip").write_bytes(data)
    refused(tmp_path / "bomb.zip", home, "damaged")


def test_a_zip_cut_short(medclip: Path, tmp_path: Path, home: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as bundle:
        for path in medclip.iterdir():
            bundle.write(path, path.name)
    data = stream.getvalue()
    for keep in (len(data) // 2, len(data) - 30):
        (tmp_path / "model.zip").write_bytes(data[:keep])
        refused(tmp_path / "model.zip", home, "damaged|cut short")


def test_pictures_and_texts_at_the_edge(biomed: Path) -> None:
    encoder = callosum.load_encoder(f"local-dir:{biomed}")
    one = encoder.encode_image([np.zeros((1, 1), np.uint8), np.zeros((1, 900, 3), np.uint8)])
    assert np.isfinite(one.matrix).all()
    for pixels in (np.full((8, 8), np.nan, np.float32), np.full((8, 8, 3), np.nan), np.zeros((8, 8), np.float32)):
        with pytest.raises(InputError, match=r"uint8 or uint16 and not empty; found float"):
            encoder.encode_image([pixels])
    with pytest.raises(InputError, match="not empty"):
        encoder.encode_image([np.zeros((0, 8), np.uint8)])
    alpha = Image.new("La", (9, 7), (100, 200))  # Pillow itself turns this mode into nothing but LA
    assert np.isfinite(encoder.encode_image([alpha]).matrix).all()
    words = "ct of the head " * 2500
    texts = [words, "", " \n", *SENTENCES]
    matrix = encoder.encode_text(texts).matrix
    assert np.isfinite(matrix).all()
    assert encoder.truncated(texts) == [True, False, False, False, False]  # type: ignore[attr-defined]
    assert np.abs(matrix[0] - encoder.encode_text([words[: len(words) // 2]]).matrix[0]).max() < 1e-6
    assert np.abs(matrix[1] - matrix[2]).max() < 1e-6


def test_converting_writes_nothing(biomed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in biomed.rglob("*")}
    convert(biomed)
    assert before == {path: path.stat().st_mtime_ns for path in biomed.rglob("*")}
