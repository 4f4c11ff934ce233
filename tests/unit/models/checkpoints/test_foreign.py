"""Published models give the numbers of their own code: goldens of the peers, and references written out here."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from callosum.core.errors import InputError, UsageError
from callosum.models.checkpoints.convert import convert, open_local, reading_of
from callosum.models.checkpoints.foreign import Family, Foreign, Reading, read_foreign
from callosum.models.checkpoints.install import Import, import_model
from callosum.models.checkpoints.open_clip import clip_preprocess
from callosum.models.compute_torch import load_network
from callosum.models.dual import DualEncoder
from callosum.models.layers import Activation
from callosum.models.preprocess import Fit, Preprocess, Resample
from callosum.models.tokenizer_files import CLIP_VOCAB_SIZE
from tests.unit.models.checkpoints.conftest import (
    BERT_WIDTH,
    DIM,
    VIT_WIDTH,
    bert_shapes,
    counted,
    draw,
    medclip_state,
    open_clip_state,
    resnet_shapes,
    write_bert,
)
from tests.unit.models.vision.test_clip_resnet import clip_map
from tests.unit.models.vision.test_clip_resnet import pooled as clip_pooled
from tests.unit.models.vision.test_resnet import torchvision_maps
from tests.unit.models.vision.test_vit import clip_features, timm_tokens

TOLERANCE = 2e-5
TEXTS = ["a chest x-ray, no finding", "ct of the head", "lung"]
PICTURES = (".png", ".jpg", ".tif")


def texts_of(folder: Path) -> list[str]:
    found = json.loads((folder / "texts.json").read_text())
    return found if isinstance(found, list) else found["texts"]


def network_of(model: Foreign) -> DualEncoder:
    return load_network(model.config, model.preprocess, model.state)


def difference(found: object, expected: object) -> float:
    a, b = np.asarray(found), np.asarray(expected)
    assert a.shape == b.shape
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("weights", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_biomedclip_gives_open_clips_numbers(goldens: Path, tmp_path: Path, weights: str) -> None:
    folder = goldens / "biomedclip_tiny"
    if weights.endswith(".bin"):
        for name in ("open_clip_config.json", "config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copy(folder / name, tmp_path)
        shutil.copy(goldens / "biomedclip_tiny_bin" / weights, tmp_path)
    encoder = open_local(tmp_path if weights.endswith(".bin") else folder)
    golden = np.load(folder / "golden.npz")
    images = encoder.encode_image([Image.fromarray(pixels) for pixels in golden["images_u8"]])
    assert difference(images.matrix, golden["image_features_norm"]) <= TOLERANCE
    texts = encoder.encode_text(texts_of(folder))
    assert difference(texts.matrix, golden["text_features_norm"]) <= TOLERANCE
    scale = np.exp(convert(folder).model.state["log_logit_scale"].item())
    assert difference(scale * images.similarity(texts), golden["logits_per_image"]) <= 2e-3


def test_medclip_gives_its_own_numbers(goldens: Path) -> None:
    folder = goldens / "medclip_tiny"
    golden = np.load(folder / "golden.npz")
    reading = Reading(context_length=58)
    encoder = open_local(folder, reading)
    assert difference(encoder.encode_text(texts_of(folder)).matrix, golden["text_embeds"]) <= TOLERANCE
    with torch.inference_mode():
        network = network_of(read_foreign(folder, reading))
        pixels = torch.from_numpy(golden["pixel_values"]).repeat(1, 3, 1, 1)
        found = network.embed_features(network.vision(pixels))
    assert difference(found, golden["img_embeds"]) <= TOLERANCE
    assert encoder.preprocess == Preprocess(
        size_px=encoder.preprocess.size_px,
        fit=Fit.PAD,
        min_px=224,
        resample=Resample.BICUBIC,
        is_grey=True,
        keeps_mode=True,
        mean=(0.5862785803043838,) * 3,
        std=(0.27950088968644304,) * 3,
    )


def test_preprocessing_of_open_clip_to_the_last_bit(goldens: Path) -> None:
    expected = np.load(goldens / "biomedclip_preprocess" / "expected_u8.npz")
    pictures = [path for path in sorted((goldens / "biomedclip_preprocess").iterdir()) if path.suffix in PICTURES]
    assert len(pictures) == 10
    for path in pictures:
        found = clip_preprocess(224)(Image.open(path))
        assert np.array_equal(found, expected[f"{path.name.replace('.', '_')}_u8"]), path.name


def test_preprocessing_of_medclip_to_the_last_bit(goldens: Path) -> None:
    expected = np.load(goldens / "medclip_preprocess" / "expected.npz")
    preprocess = Preprocess(
        size_px=224, fit=Fit.PAD, min_px=224, resample=Resample.BICUBIC, is_grey=True, keeps_mode=True
    )
    num_compared = 0
    for path in sorted((goldens / "biomedclip_preprocess").iterdir()):
        for kind in ("raw", "L"):
            name = f"{path.name.replace('.', '_')}__feature_extractor_{kind}_u8"
            if path.suffix in PICTURES and name in expected.files:
                picture = Image.open(path)
                found = preprocess(picture.convert("L") if kind == "L" else picture)
                assert np.array_equal(found[:, :, 0], expected[name][0]), name
                num_compared += 1
    assert num_compared >= 10


def gloria_state(text: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    shapes = resnet_shapes("gloria.img_encoder.model.")
    shapes = {**shapes, "gloria.img_encoder.global_embedder.weight": (width, 256)}
    shapes |= {"gloria.img_encoder.global_embedder.bias": (width,)}
    shapes |= {"gloria.img_encoder.local_embedder.weight": (width, 128, 1, 1)}
    return {**counted(draw(shapes)), **text}


def test_gloria_gives_its_own_text_features(goldens: Path, tmp_path: Path) -> None:
    folder = goldens / "gloria_tiny"
    for name in ("bert_config.json", "vocab.txt"):
        shutil.copy(folder / name, tmp_path)
    text = load_file(folder / "text_encoder.safetensors")
    width = text["gloria.text_encoder.model.embeddings.word_embeddings.weight"].shape[1]
    torch.save({"state_dict": gloria_state(text, width)}, tmp_path / "gloria.ckpt")
    golden, meta = np.load(folder / "golden.npz"), json.loads((folder / "meta.json").read_text())
    reading = Reading(context_length=24)
    encoder = open_local(tmp_path, reading)
    found = encoder.encode_text(meta["texts"]).matrix
    expected = golden["text_sent_emb"]
    assert difference(found, expected / np.linalg.norm(expected, axis=1, keepdims=True)) <= TOLERANCE
    words = encoder.encode_text_tokens(meta["texts"])
    counts = [sum(word != "[PAD]" for word in sentence) for sentence in meta["sents"]]
    assert words.mask.sum(axis=1).tolist() == counts
    for row, each, count in zip(words.matrix, golden["text_word_emb"].transpose(0, 2, 1), counts, strict=True):
        expected = each[:count] / np.linalg.norm(each[:count], axis=1, keepdims=True)
        assert difference(row[:count], expected) <= TOLERANCE
    regions = encoder.encode_image_tokens([np.zeros((50, 60), np.uint8)])
    assert regions.matrix.shape == (1, 19 * 19, width)
    assert regions.space == words.space == encoder.space


def bert_states(state: Mapping[str, Tensor], prefix: str, ids: Tensor, mask: Tensor) -> list[Tensor]:
    """Hidden states of Hugging Face's BertModel, from its paper, two heads."""
    s = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, s[name + ".weight"], s[name + ".bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], s[name + ".weight"], s[name + ".bias"], 1e-12)

    e = "embeddings."
    x = s[e + "word_embeddings.weight"][ids] + s[e + "position_embeddings.weight"][: ids.shape[1]]
    states = [norm(x + s[e + "token_type_embeddings.weight"][0], e + "LayerNorm")]
    for n in range(sum(name.endswith("attention.self.query.weight") for name in s)):
        at, x = f"encoder.layer.{n}.", states[-1]
        q, k, v = (
            linear(x, f"{at}attention.self.{part}").unflatten(-1, (2, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = norm(
            x + linear(mixed.transpose(1, 2).flatten(2), at + "attention.output.dense"),
            at + "attention.output.LayerNorm",
        )
        hidden = functional.gelu(linear(x, at + "intermediate.dense"))
        states.append(norm(x + linear(hidden, at + "output.dense"), at + "output.LayerNorm"))
    return states


@torch.inference_mode()
def test_the_open_clip_layout_against_its_definition(biomed: Path) -> None:
    model = read_foreign(biomed)
    assert model.family == "open_clip"
    network, state = network_of(model), open_clip_state()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    trunk = {n.removeprefix("visual.trunk."): v for n, v in state.items() if n.startswith("visual.trunk.")}
    expected = timm_tokens(trunk, x, patch=16, heads=3)[:, 0] @ state["visual.head.proj.weight"].T
    assert expected.shape == (2, DIM)
    assert difference(network.embed_features(network.vision(x)), functional.normalize(expected)) <= TOLERANCE
    ids, mask = (torch.from_numpy(part) for part in model.tokenizer(TEXTS))
    first = bert_states(state, "text.transformer.", ids, mask)[-1][:, 0]
    hidden = functional.gelu(first @ state["text.proj.0.weight"].T)
    expected = functional.normalize(hidden @ state["text.proj.2.weight"].T)
    assert difference(network.encode_text(ids, mask), expected) <= TOLERANCE
    assert network.logit_scale.item() == pytest.approx(math.exp(2.5))
    assert VIT_WIDTH == model.config.vision.width


@torch.inference_mode()
def test_medclips_resnet_against_its_definition(medclip: Path) -> None:
    model = read_foreign(medclip, Reading(context_length=20))
    assert model.family == "medclip"
    network, state = network_of(model), medclip_state()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    prefix = "vision_model.model."
    vision = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    features = functional.adaptive_avg_pool2d(torchvision_maps(vision, x)[-1], 1).flatten(1)
    expected = functional.normalize(features @ vision["fc.weight"].T)
    assert difference(network.embed_features(network.vision(x)), expected) <= TOLERANCE
    ids, mask = (torch.from_numpy(part) for part in model.tokenizer(TEXTS))
    assert ids.shape == (3, 20)  # padded to its whole length, since padding counts
    states = bert_states(state, "text_model.model.", ids, mask)
    pooled = torch.stack([states[n].mean(dim=1) for n in (1, 2, -1)]).mean(dim=0)
    expected = functional.normalize(pooled @ state["text_model.projection_head.weight"].T)
    assert difference(network.encode_text(ids, mask), expected) <= TOLERANCE


def write_clip_vocabulary(folder: Path) -> Path:
    """As many byte pairs as CLIP's, of which few mean anything."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(n) for n in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "ch", "che", "ches", "chest</w>"]
    pieces += [f"<unused{n}>" for n in range(CLIP_VOCAB_SIZE - 2 - len(pieces))]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: n for n, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc h\nch e\nche s\nches t</w>\n")
    return folder


W_TEXT, W_VIT, CONTEXT = 64, 128, 16


def clip_blocks(prefix: str, width: int, num_blocks: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for n in range(num_blocks):
        at = f"{prefix}transformer.resblocks.{n}."
        shapes |= {at + "attn.in_proj_weight": (3 * width, width), at + "attn.in_proj_bias": (3 * width,)}
        for name, shape in {
            "attn.out_proj": (width, width),
            "mlp.c_fc": (4 * width, width),
            "mlp.c_proj": (width, 4 * width),
        }.items():
            shapes |= {f"{at}{name}.weight": shape, f"{at}{name}.bias": shape[:1]}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"{at}{name}.weight": (width,), f"{at}{name}.bias": (width,)}
    return shapes


def clip_text_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {**clip_blocks("", W_TEXT, 2), "token_embedding.weight": (CLIP_VOCAB_SIZE, W_TEXT)}
    shapes |= {"positional_embedding": (CONTEXT, W_TEXT), "text_projection": (W_TEXT, DIM)}
    return {**shapes, "ln_final.weight": (W_TEXT,), "ln_final.bias": (W_TEXT,)}


def clip_vit_state(side: int = 32) -> dict[str, Tensor]:
    shapes = {**clip_text_shapes(), **clip_blocks("visual.", W_VIT, 2), "visual.conv1.weight": (W_VIT, 3, 16, 16)}
    shapes |= {
        "visual.class_embedding": (W_VIT,),
        "visual.positional_embedding": ((side // 16) ** 2 + 1, W_VIT),
        "visual.proj": (W_VIT, DIM),
    }
    shapes |= {f"visual.{norm}.{part}": (W_VIT,) for norm in ("ln_pre", "ln_post") for part in ("weight", "bias")}
    return {**draw(shapes), "logit_scale": torch.tensor(3.0)}


def clip_resnet_state() -> dict[str, Tensor]:
    """One block per stage, under the names of CLIP's ModifiedResNet."""
    shapes = dict(resnet_shapes("visual.", stem=16))
    for n, (out, before) in {1: (8, 3), 2: (8, 8), 3: (16, 8)}.items():
        shapes[f"visual.conv{n}.weight"] = (out, before, 3, 3)
        shapes |= {f"visual.bn{n}.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"visual.bn{n}.num_batches_tracked"] = ()
    width = 16 * 32
    shapes |= {"visual.attnpool.positional_embedding": (5, width)}
    for part, out in {"q_proj": width, "k_proj": width, "v_proj": width, "c_proj": DIM}.items():
        shapes |= {f"visual.attnpool.{part}.weight": (out, width), f"visual.attnpool.{part}.bias": (out,)}
    return {**counted(draw({**shapes, **clip_text_shapes()})), "logit_scale": torch.tensor([3.0])}


def clip_text(s: Mapping[str, Tensor], ids: Tensor, *, quick: bool) -> Tensor:
    """CLIP's text tower on rows padded with zeros, with torch's own attention."""
    x = (s["token_embedding.weight"][ids] + s["positional_embedding"][: ids.shape[1]]).transpose(0, 1)
    later = torch.full((ids.shape[1],) * 2, float("-inf")).triu(1)

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], s[name + ".weight"], s[name + ".bias"], 1e-5)

    for n in range(2):
        at = f"transformer.resblocks.{n}."
        attention = nn.MultiheadAttention(W_TEXT, 1)
        attention.load_state_dict({k.removeprefix(at + "attn."): v for k, v in s.items() if k.startswith(at + "attn.")})
        y = norm(x, at + "ln_1")
        x = x + attention(y, y, y, need_weights=False, attn_mask=later)[0]
        y = functional.linear(norm(x, at + "ln_2"), s[at + "mlp.c_fc.weight"], s[at + "mlp.c_fc.bias"])
        y = y * torch.sigmoid(1.702 * y) if quick else functional.gelu(y)
        x = x + functional.linear(y, s[at + "mlp.c_proj.weight"], s[at + "mlp.c_proj.bias"])
    x = norm(x.transpose(0, 1), "ln_final")
    return x[torch.arange(len(ids)), ids.argmax(dim=1)] @ s["text_projection"]


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_bare_clip_against_its_definition(tmp_path: Path, kind: str) -> None:
    state = clip_vit_state() if kind == "vit" else clip_resnet_state()
    write_clip_vocabulary(tmp_path)
    buffers = {"input_resolution": torch.tensor(32), "context_length": torch.tensor(CONTEXT)}
    torch.save({**state, **buffers}, tmp_path / "clip.pt")
    model = read_foreign(tmp_path)
    assert model.family == "clip"
    network = network_of(model)
    side = 32 if kind == "vit" else 64
    assert model.preprocess == clip_preprocess(side)
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    visual = {n.removeprefix("visual."): v for n, v in state.items() if n.startswith("visual.")}
    if kind == "vit":
        expected = clip_features(visual, x, heads=2) @ visual["proj"]
    else:
        expected = clip_pooled(visual, clip_map(visual, x), heads=8)
    assert difference(network.embed_features(network.vision(x)), functional.normalize(expected)) <= TOLERANCE
    ids, mask = (torch.from_numpy(part) for part in model.tokenizer(["chest CT", "&lt;x&gt; " * 40, ""]))
    assert ids.shape[1] == CONTEXT
    found = network.encode_text(ids, mask)
    assert difference(found, functional.normalize(clip_text(state, ids, quick=True))) <= TOLERANCE
    assert difference(found, functional.normalize(clip_text(state, ids, quick=False))) > 1e-4
    plain = network_of(read_foreign(tmp_path, Reading(activation=Activation.GELU)))
    expected = functional.normalize(clip_text(state, ids, quick=False))
    assert difference(plain.encode_text(ids, mask), expected) <= TOLERANCE


def test_a_guess_at_the_activation_is_said_and_kept(tmp_path: Path, home: Path) -> None:
    write_clip_vocabulary(tmp_path / "clip")
    torch.save(clip_vit_state(), tmp_path / "clip" / "clip.pt")
    told: list[str] = []
    guessed = import_model(Import(path=tmp_path / "clip"), tell=told.append).card
    assert any("is a guess" in line for line in told)
    assert guessed.hyper_parameters["activation"] == "quick_gelu"
    assert "is a guess" in guessed.hyper_parameters["assumed"]
    with pytest.warns(UserWarning, match="is a guess"):
        space = open_local(tmp_path / "clip").space
    for activation in Activation.GELU, Activation.QUICK_GELU:
        reading = Reading(activation=activation)
        card = import_model(Import(path=tmp_path / "clip", reading=reading, name=f"clip.{activation}")).card
        assert card.hyper_parameters == {"activation": activation}
        assert (open_local(tmp_path / "clip", reading).space == space) == (activation is Activation.QUICK_GELU)
    assert not read_foreign(tmp_path / "clip", Reading(family=Family.PUBMEDCLIP)).assumed
    torch.save({**clip_vit_state(), "input_resolution": torch.tensor(32)}, tmp_path / "clip" / "clip.pt")
    assert not read_foreign(tmp_path / "clip").assumed, "only OpenAI's own files hold these"


def test_an_activation_is_asked_for_where_there_is_a_choice(medclip: Path) -> None:
    with pytest.raises(InputError, match="activation of this model is gelu; it cannot be quick_gelu"):
        convert(medclip, Reading(activation=Activation.QUICK_GELU))
    with pytest.raises(UsageError, match="activation is one of gelu, gelu_tanh, quick_gelu, relu; found 'swish'"):
        reading_of(activation="swish")


@torch.inference_mode()
def test_families_that_the_weights_do_not_tell(tmp_path: Path) -> None:
    write_clip_vocabulary(tmp_path)
    torch.save(clip_vit_state(), tmp_path / "clip.pt")
    chexzero = read_foreign(tmp_path, Reading(family=Family.CHEXZERO))
    assert (chexzero.family, chexzero.preprocess.fit, chexzero.preprocess.size_px) == ("chexzero", Fit.PAD_LONGEST, 320)
    assert read_foreign(tmp_path, Reading(family=Family.PUBMEDCLIP)).family == "pubmedclip"
    names = {convert(tmp_path, Reading(family=family)).name for family in (None, Family.PUBMEDCLIP)}
    assert {name.split(".")[0] for name in names} == {"clip", "pubmedclip"}
    with pytest.raises(InputError, match="takes pictures of 32 px; this family's preprocessing makes them 224 px"):
        convert(tmp_path, Reading(family=Family.CHEXZERO))
    with pytest.raises(InputError, match=r"open_clip_config\.json"):
        read_foreign(tmp_path, Reading(family=Family.OPEN_CLIP))


def test_gloria_without_goldens(tmp_path: Path) -> None:
    write_bert(tmp_path, name="bert_config.json")
    text = draw(bert_shapes("gloria.text_encoder.model.", num_layers=4))
    torch.save({"state_dict": gloria_state(text, BERT_WIDTH)}, tmp_path / "gloria.ckpt")
    encoder = open_local(tmp_path, Reading(context_length=20))
    ids, mask = (torch.from_numpy(part) for part in encoder.tokenizer(TEXTS))
    with torch.inference_mode():
        states = bert_states(text, "gloria.text_encoder.model.", ids, mask)
    expected = (torch.stack(states[-4:]).sum(dim=0) * mask[..., None]).sum(dim=1)
    assert difference(encoder.encode_text(TEXTS).matrix, functional.normalize(expected)) <= TOLERANCE
    regions = encoder.encode_image_tokens([np.full((50, 60), 90, np.uint8)])
    assert regions.matrix.shape == (1, 361, BERT_WIDTH)
