"""Settings and weights that disagree are refused by name; nothing is cut to fit, left out or taken from elsewhere."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from callosum.core.errors import InputError
from callosum.models.checkpoints.convert import convert
from callosum.models.checkpoints.foreign import Reading
from callosum.models.checkpoints.open_clip import read_settings
from callosum.models.checkpoints.stock import as_published, timm_depth, with_depth
from callosum.models.text.bert import BertConfig
from callosum.models.vision.resnet import ResNetConfig
from callosum.models.vision.vit import STOCK, ViTConfig
from tests.unit.models.checkpoints.conftest import open_clip_settings, open_clip_state
from tests.unit.models.checkpoints.test_foreign import CONTEXT, W_TEXT, W_VIT, clip_vit_state, write_clip_vocabulary

MODEL, VISION, TEXT = ("model_cfg",), ("model_cfg", "vision_cfg"), ("model_cfg", "text_cfg")
PREPROCESS = ("preprocess_cfg",)
BERT = {"model_type": "bert", "num_attention_heads": 2}


def without(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if part not in name}


@pytest.fixture
def folder(biomed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(biomed, tmp_path / "model"))


@pytest.mark.parametrize(
    ("section", "key", "value", "match"),
    [
        (MODEL, "embed_dim", "many", r"model_cfg\.embed_dim is a whole number of at least 1; found 'many'"),
        (MODEL, "embed_dim", 0, r"at least 1; found 0"),
        (MODEL, "vision_cfg", [1], r"vision_cfg holds settings by name; found list"),
        (MODEL, "text_cfg", None, r"text_cfg holds settings by name; found NoneType"),
        ((), "preprocess_cfg", None, r"preprocess_cfg holds settings by name"),
        (PREPROCESS, "mean", 0.5, r"preprocess_cfg\.mean is a number for each of three channels; found 0\.5"),
        (PREPROCESS, "mean", ["a", "b", "c"], r"each of three channels"),
        (PREPROCESS, "std", [0.2, 0.2, 0.0], r"preprocess_cfg\.std is a number for each"),
        (TEXT, "context_length", 41, r"text_cfg\.context_length is 41; the weights have 40"),
        (TEXT, "tokenizer_kwargs", {"strip_sep_token": True}, r"text_cfg\.tokenizer_kwargs is {'strip_sep_token'"),
        (TEXT, "hf_proj_type", "linear", r"1 missing: text_projection\.weight; 2 unexpected: text_projection\.0"),
        (TEXT, "hf_proj_type", None, r"Without a projection"),
        (VISION, "timm_proj", "none", r"Without a projection"),
        (VISION, "timm_proj_bias", True, r"1 missing: image_projection\.bias"),
    ],
)
def test_settings_that_fit_no_model(folder: Path, section: tuple[str, ...], key: str, value: Any, match: str) -> None:
    settings: Any = open_clip_settings()
    at = settings
    for part in section:
        at = at[part]
    at[key] = value
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=match):
        convert(folder)


def test_a_longest_text_that_is_asked_for_goes_before_the_settings(folder: Path) -> None:
    settings: Any = open_clip_settings()
    settings["model_cfg"]["text_cfg"]["context_length"] = 41
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    assert convert(folder, Reading(context_length=40)).model.config.text.context_length == 40


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"num_hidden_layers": 3}, r"12 missing: text\.blocks\.2\."),
        ({"num_hidden_layers": 1}, r"12 unexpected: text\.blocks\.1\."),
        ({"num_attention_heads": "2"}, r"num_attention_heads is a whole number; found '2'"),
        ({"num_attention_heads": -2}, r"num_attention_heads is a whole number; found -2"),
        ({"layer_norm_eps": None}, r"layer_norm_eps is a number; found None"),
        ({"hidden_act": ["gelu"]}, r"hidden_act is \['gelu'\]"),
    ],
)
def test_settings_of_a_text_tower(folder: Path, values: dict[str, Any], match: str) -> None:
    (folder / "config.json").write_text(json.dumps({**BERT, **values}))
    with pytest.raises(InputError, match=match):
        convert(folder)


@pytest.mark.parametrize(
    ("part", "match"),
    [
        ("text.proj", r"2 missing: text_projection\.0\.weight, text_projection\.2\.weight"),
        ("visual.head", r"1 missing: image_projection\.weight"),
        ("encoder.layer.1.", r"12 missing: text\.blocks\.1\."),
    ],
)
def test_whole_parts_that_are_missing_are_missed(folder: Path, part: str, match: str) -> None:
    (folder / "config.json").write_text(json.dumps({**BERT, "num_hidden_layers": 2}))
    save_file(without(open_clip_state(), part), folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=match):
        convert(folder)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"logit_scale": torch.zeros(2)}, r"log_logit_scale \[2\] instead of \[\]"),
        ({"logit_scale": torch.tensor(3)}, r"floating-point numbers; log_logit_scale is int64"),
        ({"visual.trunk.blocks.0.mlp.fc1.weight": torch.zeros(0, 0)}, r"blocks\.0\.mlp\.fc1\.weight"),
    ],
)
def test_odd_weights(folder: Path, changes: dict[str, Tensor], match: str) -> None:
    save_file({**open_clip_state(), **changes}, folder / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=match):
        convert(folder)


def test_names_that_data_parallel_training_wrote(biomed: Path, folder: Path) -> None:
    state = {f"module.{name}": value for name, value in open_clip_state().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    assert convert(folder).space == convert(biomed).space


def clip_folder(folder: Path, state: dict[str, Tensor], **text: Any) -> Path:
    """CLIP's own towers in open_clip's layout."""
    write_clip_vocabulary(folder)
    vision = {"image_size": 32, "layers": 2, "width": W_VIT, "patch_size": 16}
    said = {"context_length": CONTEXT, "width": W_TEXT, "layers": 2, "heads": 1, **text}
    settings = {"model_cfg": {"embed_dim": 24, "vision_cfg": vision, "text_cfg": said}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "open_clip_model.safetensors")
    return folder


def test_clips_own_towers_have_what_the_settings_say(tmp_path: Path) -> None:
    state = clip_vit_state()
    config = convert(clip_folder(tmp_path, state)).model.config
    assert (config.text.num_heads, config.text.num_blocks, config.vision.num_blocks) == (1, 2, 2)
    settings = json.loads((tmp_path / "open_clip_config.json").read_text())
    del settings["model_cfg"]["text_cfg"]["heads"]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(settings))
    assert convert(tmp_path).model.config.text.num_heads == 8, "open_clip's own default"
    for said, match in (
        ({"context_length": 77}, rf"text_cfg\.context_length is 77; the weights have {CONTEXT}"),
        ({"width": 512}, r"text_cfg\.width is 512; the weights have 64"),
        ({"heads": 7}, "64 wide cannot have 7 heads"),
        ({"layers": 3}, r"12 missing: text\.blocks\.2\."),
    ):
        with pytest.raises(InputError, match=match):
            convert(clip_folder(tmp_path, state, **said))
    with pytest.raises(InputError, match=r"12 missing: vision\.blocks\.1\."):
        convert(clip_folder(tmp_path, without(state, "visual.transformer.resblocks.1.")))


def test_depths_of_stock_towers() -> None:
    assert {size for size in STOCK if timm_depth(f"vit_{size}_patch16_224") is None} == {"medtiny"}
    assert [timm_depth(f"vit_{size}_patch14_clip_224.tag") for size in ("base", "large", "huge")] == [12, 24, 32]
    tower = ViTConfig(size_px=224, patch_px=16, width=768, num_blocks=11, num_heads=12)
    assert as_published(tower).num_blocks == 12
    assert as_published(replace(tower, width=48)) == replace(tower, width=48)
    assert as_published(ResNetConfig(stem=64, depths=(3, 4, 6, 2))).depths == (3, 4, 6, 3)
    bert = BertConfig(vocab_size=9, num_blocks=11)
    assert (as_published(bert).num_blocks, with_depth(bert, None)) == (12, bert)


def test_a_text_tower_of_biomedclips_name_makes_no_biomedclip() -> None:
    def family(name: str, dim: int) -> str:
        settings: Any = open_clip_settings()["model_cfg"]
        settings["embed_dim"] = dim
        settings["vision_cfg"]["timm_model_name"] = name
        settings["text_cfg"]["hf_model_name"] = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
        return read_settings({"model_cfg": settings}).family

    assert family("vit_base_patch16_224", 512) == "biomedclip"
    assert family("vit_base_patch16_224", 768) == family("vit_large_patch14_224", 512) == "open_clip"
