"""Published models as they are found: which family a folder or file is of, its sizes, and its weights under our names.

Nothing is guessed that the weights or the settings beside them do not tell; an unknown part is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from torch import Tensor

from callosum.core.errors import InputError
from callosum.models.checkpoints import open_clip, remap
from callosum.models.checkpoints.bert_sizes import bert_config
from callosum.models.checkpoints.published import ORIGIN, Published, read_origin
from callosum.models.checkpoints.stock import as_published
from callosum.models.checkpoints.tensors import read_json, read_tensors, unpacked
from callosum.models.layers import Activation
from callosum.models.preprocess import Fit, Preprocess, Resample, TowerResample
from callosum.models.text.pooling import Pool
from callosum.models.tokenizer import SubwordTokenizer
from callosum.models.tokenizer_files import tokenizer_from_folder
from callosum.models.towers import DualConfig, Projection
from callosum.models.vision.resnet import resnet_config
from callosum.models.vision.swin import swin_config

MEDCLIP_CONTEXT, GLORIA_CONTEXT = 77, 97
MEDCLIP_PX, GLORIA_PX, GLORIA_LONGEST_PX, GLORIA_TOWER_PX = 224, 224, 256, 299
MEDCLIP_MEAN, MEDCLIP_STD = 0.5862785803043838, 0.27950088968644304
CHEXZERO_PX, CHEXZERO_TOWER_PX = 320, 224
CHEXZERO_MEAN, CHEXZERO_STD = 101.48761 / 255.0, 83.43944 / 255.0
QUICK_GELU_ASSUMED = (
    "It is computed with OpenAI's quick GELU, which is a guess: the weights do not tell. What open_clip trained (on "
    "LAION, say) mostly wants the plain one: say activation quick_gelu or gelu, or bring the folder with its settings."
)
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")
SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


class Family(StrEnum):
    """Families of published models, as `--family` takes them."""

    OPEN_CLIP = "open_clip"
    MEDCLIP = "medclip"
    GLORIA = "gloria"
    CLIP = "clip"
    PUBMEDCLIP = "pubmedclip"
    CHEXZERO = "chexzero"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a published model is to be read, where its files do not say.

    Attributes:
        family: Its family; found out where the names of the weights tell.
        tokenizer: Folder of the tokenizer, where it does not lie beside the weights.
        pool: Pooling of the text tower, where the family has a choice.
        context_length: Longest text; the family's own by default.
        activation: Of a bare CLIP's perceptrons, which its weights do not tell; OpenAI's quick GELU by default.
    """

    family: Family | None = None
    tokenizer: Path | None = None
    pool: Pool | None = None
    context_length: int | None = None
    activation: Activation | None = None


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A published model in our terms.

    Attributes:
        family: Name for cards and spaces, such as `biomedclip`.
        config: Sizes.
        state: Weights under our names.
        preprocess: From a picture to the tower's input.
        tokenizer: From texts to ids.
        assumed: What its files do not say and nobody said, as a sentence for its card.
        origin: What its card said where it was exported, if it was.
    """

    family: str
    config: DualConfig
    state: dict[str, Tensor]
    preprocess: Preprocess
    tokenizer: SubwordTokenizer
    assumed: str = ""
    origin: Published | None = None


def read_foreign(path: Path, reading: Reading | None = None) -> Foreign:
    """Read a published model from a folder, a zip or a file of weights.

    Raises:
        NotFound: there are no weights or no tokenizer.
        InputError: files are damaged or hold code, weights are of no known family, or a part is not known.
    """
    reading = reading or Reading()
    with unpacked(path) as place:
        folder = place if place.is_dir() else place.parent
        if (folder / open_clip.SETTINGS).is_file() and reading.family in (None, Family.OPEN_CLIP):
            return _open_clip(folder, reading)
        state = read_tensors(_weights(place))
        family = reading.family or _family(state)
        if family is Family.OPEN_CLIP:
            message = f"A folder in open_clip's layout holds {open_clip.SETTINGS}; there is none."
            raise InputError(message)
        try:
            return _READERS[family](folder, state, reading)
        except KeyError as error:
            message = f"Weights of the family {family} were expected; they have no {error.args[0]}."
            raise InputError(message, hint="Leave --family out, or give another.") from error


def _weights(place: Path) -> Path:
    """The file of weights."""
    if place.is_file():
        return place
    named = [place / name for name in WEIGHTS if (place / name).is_file()]
    found = named[:1] or sorted(path for path in place.iterdir() if path.suffix in SUFFIXES)
    if len(found) != 1:
        message = f"A folder of a model holds one file of weights ({', '.join(WEIGHTS)}); found {len(found)}."
        raise InputError(message, hint="Name the file itself.")
    return found[0]


def _family(state: Mapping[str, Tensor]) -> Family:
    signs = {
        "vision_model.projection_head.weight": Family.MEDCLIP,
        "vision_model.model.fc.weight": Family.MEDCLIP,
        "gloria.img_encoder.global_embedder.weight": Family.GLORIA,
        "visual.conv1.weight": Family.CLIP,
    }
    for name, family in signs.items():
        if name in state:
            return family
    shown = ", ".join(sorted(state)[:4])
    message = f"The weights are of no known family; they begin with {shown}."
    raise InputError(message, hint=f"Known: {', '.join(Family)}. An open_clip folder needs {open_clip.SETTINGS}.")


def _open_clip(folder: Path, reading: Reading) -> Foreign:
    settings = open_clip.read_settings(read_json(folder / open_clip.SETTINGS))
    state = read_tensors(_weights(folder))
    config = open_clip.dual_config(settings, state, folder=folder, context_length=reading.context_length)
    tokenizer = tokenizer_from_folder(
        reading.tokenizer or folder, context_length=config.text.context_length, unescapes_html=True
    )
    family, origin = read_origin(folder) if (folder / ORIGIN).is_file() else (settings.family, None)
    return Foreign(
        family=family,
        config=config,
        state=remap.open_clip_in(state),
        preprocess=settings.preprocess,
        tokenizer=tokenizer,
        origin=origin,
    )


def _medclip(folder: Path, state: dict[str, Tensor], reading: Reading) -> Foreign:
    vision, _ = remap.split(_shapes(state), "vision_model.model.")
    bert, _ = remap.split(_shapes(state), "text_model.model.")
    side = read_json(folder / "swin_config.json")["image_size"] if (folder / "swin_config.json").is_file() else None
    side = int(side or MEDCLIP_PX)
    is_swin = "embeddings.norm.weight" in vision
    text = bert_config(
        bert,
        settings=folder / "bert_config.json",
        context_length=reading.context_length or MEDCLIP_CONTEXT,
        pool=reading.pool or Pool.MEDCLIP_UNMASKED,
    )
    config = DualConfig(
        dim=int(state["text_model.projection_head.weight"].shape[0]),
        vision=as_published(swin_config(size_px=side, state=vision) if is_swin else resnet_config(vision)),
        text=text,
    )
    preprocess = Preprocess(
        size_px=side,
        fit=Fit.PAD,
        min_px=MEDCLIP_PX,
        resample=Resample.BICUBIC,
        is_grey=True,
        keeps_mode=True,
        mean=(MEDCLIP_MEAN,) * 3,
        std=(MEDCLIP_STD,) * 3,
    )
    return _assembled("medclip", config, remap.medclip_in(state), preprocess, folder, reading)


def _gloria(folder: Path, state: dict[str, Tensor], reading: Reading) -> Foreign:
    vision, _ = remap.split(_shapes(state), "gloria.img_encoder.model.")
    bert, _ = remap.split(_shapes(state), "gloria.text_encoder.model.")
    config = DualConfig(
        dim=int(state["gloria.img_encoder.global_embedder.weight"].shape[0]),
        vision=as_published(resnet_config(vision)),
        text=bert_config(
            bert,
            settings=folder / "bert_config.json",
            context_length=reading.context_length or GLORIA_CONTEXT,
            pool=reading.pool or Pool.GLORIA,
        ),
        image_head=Projection.AFFINE,
        text_head=Projection.NONE,
        has_regions=True,
    )
    preprocess = Preprocess(
        size_px=GLORIA_PX,
        fit=Fit.PAD_CROP,
        longest_px=GLORIA_LONGEST_PX,
        resample=Resample.AREA,
        is_grey=True,
        keeps_mode=True,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        tower_px=GLORIA_TOWER_PX,
        tower_resample=TowerResample.BILINEAR_CORNERS,
    )
    return _assembled("gloria", config, remap.gloria_in(state), preprocess, folder, reading)


def _clip(folder: Path, state: dict[str, Tensor], reading: Reading) -> Foreign:
    """OpenAI's CLIP and what was tuned from it: a bare state dict, which does not tell its activation."""
    family = reading.family or Family.CLIP
    buffers = ("input_resolution", "context_length", "vocab_size")  # what OpenAI's own files hold beside the weights
    is_told = bool(reading.activation) or family is not Family.CLIP or not state.keys().isdisjoint(buffers)
    state = {name: value for name, value in state.items() if name not in buffers}
    config = open_clip.clip_config(_shapes(state), activation=reading.activation or Activation.QUICK_GELU)
    side = open_clip.clip_size_px(_shapes(state))
    preprocess = open_clip.clip_preprocess(side)
    if family is Family.CHEXZERO:
        preprocess = Preprocess(
            size_px=CHEXZERO_PX,
            fit=Fit.PAD_LONGEST,
            resample=Resample.LANCZOS,
            is_grey=True,
            keeps_mode=True,
            mean=(CHEXZERO_MEAN,) * 3,
            std=(CHEXZERO_STD,) * 3,
            tower_px=CHEXZERO_TOWER_PX,
        )
    found = _assembled(family.value, config, remap.open_clip_in(state), preprocess, folder, reading)
    return found if is_told else replace(found, assumed=QUICK_GELU_ASSUMED)


_READERS: dict[Family, Callable[[Path, dict[str, Tensor], Reading], Foreign]] = {
    Family.MEDCLIP: _medclip,
    Family.GLORIA: _gloria,
    Family.CLIP: _clip,
    Family.PUBMEDCLIP: _clip,
    Family.CHEXZERO: _clip,
}


def _assembled(
    family: str,
    config: DualConfig,
    state: dict[str, Tensor],
    preprocess: Preprocess,
    folder: Path,
    reading: Reading,
) -> Foreign:
    tokenizer = tokenizer_from_folder(
        reading.tokenizer or folder,
        context_length=config.text.context_length,
        pad_length=getattr(config.text, "pad_length", None),
    )
    return Foreign(family=family, config=config, state=state, preprocess=preprocess, tokenizer=tokenizer)


def _shapes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: tuple(value.shape) for name, value in state.items()}
