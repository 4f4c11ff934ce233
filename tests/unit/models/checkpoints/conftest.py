"""Fixtures: tiny models as others publish them, made here under their names, and a model home of one's own."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]
WORDS = ["chest", "x", "-", "ray", "ct", "of", "the", "head", "lung", "no", "finding", ".", ",", "a", "##s", "h", "&"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
BERT_WIDTH = 32
VIT_WIDTH, VIT_PX, PATCH_PX = 96, 32, 16
DIM = 24


def draw(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random weights: norms about one, deviations positive, the rest so that values keep their size."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        is_scale = name.endswith("weight") and len(shape) == 1
        fan_in = max(1, noise[0].numel()) if len(shape) > 1 else 25
        out[name] = noise.abs() + 0.5 if name.endswith("running_var") else is_scale + noise * fan_in**-0.5
    return out


def bert_shapes(prefix: str, *, num_layers: int = 2) -> Shapes:
    W = BERT_WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(VOCAB), W),
        "embeddings.position_embeddings.weight": (40, W),
        "embeddings.token_type_embeddings.weight": (2, W),
        "embeddings.LayerNorm.weight": (W,),
        "embeddings.LayerNorm.bias": (W,),
    }
    for n in range(num_layers):
        linears = {
            "attention.self.query": (W, W),
            "attention.self.key": (W, W),
            "attention.self.value": (W, W),
            "attention.output.dense": (W, W),
            "intermediate.dense": (2 * W, W),
            "output.dense": (W, 2 * W),
        }
        for name, shape in linears.items():
            shapes |= {f"encoder.layer.{n}.{name}.weight": shape, f"encoder.layer.{n}.{name}.bias": shape[:1]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"encoder.layer.{n}.{name}.{part}": (W,) for part in ("weight", "bias")}
    return {prefix + name: shape for name, shape in shapes.items()}


def vit_shapes(prefix: str) -> Shapes:
    W = VIT_WIDTH
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, W),
        "pos_embed": (1, (VIT_PX // PATCH_PX) ** 2 + 1, W),
        "patch_embed.proj.weight": (W, 3, PATCH_PX, PATCH_PX),
        "patch_embed.proj.bias": (W,),
    }
    linears = {"attn.qkv": (3 * W, W), "attn.proj": (W, W), "mlp.fc1": (2 * W, W), "mlp.fc2": (W, 2 * W)}
    for name, shape in linears.items():
        shapes |= {f"blocks.0.{name}.weight": shape, f"blocks.0.{name}.bias": shape[:1]}
    for name in ("blocks.0.norm1", "blocks.0.norm2", "norm"):
        shapes |= {f"{name}.weight": (W,), f"{name}.bias": (W,)}
    return {prefix + name: shape for name, shape in shapes.items()}


def resnet_shapes(prefix: str, *, stem: int = 8) -> Shapes:
    """A residual network of one block per stage, under torchvision's names."""

    def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
        parts = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.{part}": (width,) for part in parts} | {f"{name}.num_batches_tracked": ()}

    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (stem, 3, 7, 7), **norm("bn1", stem)}
    before = stem
    for layer in (1, 2, 3, 4):
        width = stem * 2 ** (layer - 1)
        at = f"layer{layer}.0."
        shapes |= {f"{at}conv1.weight": (width, before, 1, 1), **norm(f"{at}bn1", width)}
        shapes |= {f"{at}conv2.weight": (width, width, 3, 3), **norm(f"{at}bn2", width)}
        shapes |= {f"{at}conv3.weight": (4 * width, width, 1, 1), **norm(f"{at}bn3", 4 * width)}
        shapes |= {f"{at}downsample.0.weight": (4 * width, before, 1, 1), **norm(f"{at}downsample.1", 4 * width)}
        before = 4 * width
    return {prefix + name: shape for name, shape in shapes.items()}


def counted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Counters of batches are whole numbers, as training leaves them."""
    return {n: torch.tensor(7) if n.endswith("num_batches_tracked") else value for n, value in state.items()}


def write_bert(folder: Path, *, name: str = "config.json") -> None:
    """Vocabulary and settings of the tiny BERT."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    (folder / name).write_text(json.dumps({"model_type": "bert", "num_attention_heads": 2, "layer_norm_eps": 1e-12}))


def open_clip_state(seed: int = 0) -> dict[str, Tensor]:
    shapes = {**vit_shapes("visual.trunk."), **bert_shapes("text.transformer.")}
    hidden = (BERT_WIDTH + DIM) // 2
    shapes |= {"visual.head.proj.weight": (DIM, VIT_WIDTH)}
    shapes |= {"text.proj.0.weight": (hidden, BERT_WIDTH), "text.proj.2.weight": (DIM, hidden)}
    return {**draw(shapes, seed), "logit_scale": torch.tensor(2.5)}


def open_clip_settings() -> dict[str, dict[str, object]]:
    vision = {"timm_model_name": f"vit_medtiny_patch16_{VIT_PX}", "timm_pool": "", "timm_proj": "linear"}
    text = {
        "hf_model_name": "./",
        "hf_tokenizer_name": "./",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 12,
    }
    model = {"embed_dim": DIM, "vision_cfg": {**vision, "image_size": VIT_PX}, "text_cfg": text}
    return {"model_cfg": model, "preprocess_cfg": {"size": VIT_PX, "interpolation": "bicubic"}}


def write_open_clip(folder: Path, seed: int = 0) -> Path:
    write_bert(folder)
    (folder / "open_clip_config.json").write_text(json.dumps(open_clip_settings()))
    save_file(open_clip_state(seed), folder / "open_clip_model.safetensors")
    return folder


def medclip_state(dim: int = DIM) -> dict[str, Tensor]:
    shapes = {**resnet_shapes("vision_model.model."), **bert_shapes("text_model.model.")}
    shapes |= {"vision_model.model.fc.weight": (dim, 256), "text_model.projection_head.weight": (dim, BERT_WIDTH)}
    return {**counted(draw(shapes)), "logit_scale": torch.tensor(0.1)}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model home that is empty; the folder of the checkpoints."""
    monkeypatch.setenv("CALLOSUM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture(scope="session")
def biomed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT beside a BERT, as a folder in open_clip's layout."""
    return write_open_clip(tmp_path_factory.mktemp("published") / "biomed")


@pytest.fixture(scope="session")
def medclip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MedCLIP with a ResNet, as `pytorch_model.bin` beside a vocabulary."""
    folder = tmp_path_factory.mktemp("published") / "medclip"
    write_bert(folder, name="bert_config.json")
    torch.save(medclip_state(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="session")
def goldens(data_root: Path) -> Path:
    """The folder of answers that other implementations gave."""
    folder = data_root.parent / "goldens"
    if not folder.is_dir():
        pytest.skip("the goldens are not beside the data packs")
    return folder


@pytest.fixture
def write_published() -> Callable[..., Path]:
    """Write the model of `biomed` with other weights."""
    return write_open_clip
