"""An export is read back as the same model."""

import json
from pathlib import Path

import pytest
import torch

from callosum.core.errors import InputError, UsageError
from callosum.models.checkpoints import open_clip
from callosum.models.checkpoints.convert import convert
from callosum.models.checkpoints.export import export_open_clip
from callosum.models.checkpoints.foreign import Family, Reading, read_foreign
from callosum.models.checkpoints.home import checkpoint_folder
from callosum.models.checkpoints.install import Import, import_model
from callosum.models.layers import Activation
from tests.unit.models.checkpoints.conftest import write_open_clip
from tests.unit.models.checkpoints.test_foreign import clip_resnet_state, clip_vit_state, write_clip_vocabulary

TEXTS = ["chest x-ray, no &lt;finding&gt;", "ct of the head " * 9, ""]


def exported(path: Path, place: Path, reading: Reading | None = None, *, name: str | None = None) -> Path:
    done = import_model(Import(path=path, name=name, reading=reading or Reading()))
    export_open_clip(checkpoint_folder(done.card.name), place)
    return place


def test_a_vit_beside_a_bert(biomed: Path, tmp_path: Path) -> None:
    place = exported(biomed, tmp_path / "out" / "exported")
    names = {"open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in place.iterdir()} == names | {
        "config.json",
        "LICENSES.md",
        "callosum_origin.json",
    }
    before, after = read_foreign(biomed), read_foreign(place)
    assert after.config == before.config
    assert after.preprocess == before.preprocess
    assert set(after.state) == set(before.state)
    assert all(torch.equal(after.state[name], before.state[name]) for name in before.state)
    assert after.tokenizer.ids(TEXTS) == before.tokenizer.ids(TEXTS)
    assert convert(place).space == convert(biomed).space
    settings = json.loads((place / "open_clip_config.json").read_text())["model_cfg"]
    assert settings["vision_cfg"]["timm_model_name"] == "vit_medtiny_patch16_32"
    assert settings["text_cfg"]["hf_model_name"] == "./"
    assert json.loads((place / "config.json").read_text())["num_attention_heads"] == 2


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_clip(tmp_path: Path, kind: str) -> None:
    source = write_clip_vocabulary(tmp_path / "clip")
    torch.save(clip_vit_state() if kind == "vit" else clip_resnet_state(), source / "clip.pt")
    place = exported(source, tmp_path / "exported")
    before, after = read_foreign(source), read_foreign(place)
    assert after.config == before.config
    assert after.config.text.activation is Activation.QUICK_GELU
    assert after.tokenizer.ids(TEXTS) == before.tokenizer.ids(TEXTS)
    plain = {name: value for name, value in before.state.items() if not name.endswith("num_batches_tracked")}
    assert set(after.state) == set(plain)
    assert all(torch.equal(after.state[name], value) for name, value in plain.items())


def test_what_the_layout_cannot_say_is_refused(medclip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"towers resnet and bert has no form .* CLIP's image towers"):
        exported(medclip, tmp_path / "a")
    with pytest.raises(InputError, match="towers hybrid and small"):
        export_open_clip(checkpoint_folder("starter"), tmp_path / "b")
    source = write_clip_vocabulary(tmp_path / "clip")
    torch.save(clip_vit_state(224), source / "clip.pt")
    with pytest.raises(InputError, match="cannot say all of this checkpoint's preprocessing"):
        exported(source, tmp_path / "c", Reading(family=Family.CHEXZERO))
    assert not [path for path in tmp_path.iterdir() if path.name in "abc" or path.name.startswith(".staging")]


def test_an_export_keeps_its_family_and_its_licence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip.Settings, "family", property(lambda _: "biomedclip"))
    done = import_model(Import(path=write_open_clip(tmp_path / "published"), name="mine.v1", licence="MIT, I asked"))
    assert done.card.space.startswith("biomedclip.")
    place = tmp_path / "exported"
    export_open_clip(checkpoint_folder("mine.v1"), place)
    monkeypatch.undo()
    monkeypatch.setenv("CALLOSUM_HOME", str(tmp_path / "elsewhere"))
    again = import_model(Import(path=place)).card
    assert again.name == done.card.space == again.space
    for part in ("licence", "source", "summary", "not_for", "digests", "context_length"):
        assert part == "digests" or getattr(again, part) == getattr(done.card, part), part
    assert open_clip.read_settings(json.loads((place / "open_clip_config.json").read_text())).family == "open_clip"


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"schema": "other/1"}', '{"schema": "callosum.origin/1", "family": "a/b", "summary": ""}', "1"]
)
def test_an_origin_that_is_none(biomed: Path, tmp_path: Path, text: str) -> None:
    place = exported(biomed, tmp_path / "exported")
    (place / "callosum_origin.json").write_text(text)
    with pytest.raises(InputError, match=r"callosum_origin\.json"):
        convert(place)


def test_nothing_is_written_over(biomed: Path, tmp_path: Path) -> None:
    place = tmp_path / "there"
    place.mkdir()
    exported(biomed, place)
    with pytest.raises(UsageError, match="something at the place"):
        exported(biomed, place)
    settings = json.loads((place / "open_clip_config.json").read_text())
    settings["model_cfg"]["text_cfg"]["hf_pooler_type"] = "max_pooler"
    other = write_open_clip(tmp_path / "max")
    (other / "open_clip_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="pooling max_pooler"):
        exported(other, tmp_path / "other", name="max.v1")
