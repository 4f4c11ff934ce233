"""A head from manifests: vectors of pictures, computed once, and what tells the labels of each or of groups.

The vectors are those that an archive of the checkpoint stores, so a head can score what was indexed before.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from callosum.core.digest import digest_json
from callosum.core.errors import InputError, IntegrityError, UsageError
from callosum.data.manifest import FIXED, read_table
from callosum.evaluate.classification import auroc
from callosum.models.checkpoints.cards import require_name
from callosum.models.checkpoints.convert import open_local
from callosum.models.checkpoints.load import load_checkpoint
from callosum.models.encoder import CheckpointEncoder
from callosum.train.features import kept_features
from callosum.train.head_file import CARD, write_head
from callosum.train.heads import NEGATIVE, POSITIVE, AttentionConfig, Head, ProbeConfig, by_group, fit_head
from callosum.train.labels import check_columns, merge
from callosum.train.material import read_material
from callosum.train.pixel_cache import CacheConfig, build_cache
from callosum.train.run import RUN, Result
from callosum.train.sources import PIXELS, has_validation
from callosum.train.start import LOCAL
from callosum.train.stock import Material, Picture, normal_index
from callosum.train.supply import Kind, Side, Supply, check_concepts
from callosum.train.trace import write_trace

VECTORS = "vectors.safetensors"
AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Every choice of a head.

    Attributes:
        name: `family.tag` of what comes out.
        start: The checkpoint whose vectors are used, as `callosum model list` names it, or `local-dir:PATH`.
        group: Column whose rows are scored together, such as `study_id`; each picture alone when empty.
        concepts: Names of label columns; those that hold labels when empty.
        attention: How attention over the rows of a group is learnt; their mean without.
        probe: How the linear layer is fitted.
        num_threads: Threads of torch; 0 leaves its own choice.
    """

    name: str
    start: str = "starter"
    group: str = ""
    concepts: tuple[str, ...] = ()
    attention: AttentionConfig | None = None
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    num_threads: int = 0

    def __post_init__(self) -> None:
        require_name(self.name)
        if self.attention is not None and not self.group:
            message = "Attention is over the rows of a group, and no column of groups is named."
            raise UsageError(message, hint="Set group to a column such as study_id or patient_id.")

    def to_json(self) -> dict[str, Any]:
        """A JSON value, for the Trace and the card."""
        value: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return value


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rows:
    """Vectors of one side, and what is known of their groups."""

    vectors_ND: Float32[np.ndarray, "N D"]
    group_N: Int64[np.ndarray, " N"]
    labels_GK: Float32[np.ndarray, "G K"]
    left_out: tuple[str, ...]


def train_head(config: HeadConfig, supplies: Sequence[Supply], out: Path, *, pixels: Path | None = None) -> Result:
    """Fit a head on the training rows of manifests and measure it on their rows of validation.

    Args:
        config: What a recipe returned.
        supplies: Pictures with labels; their texts are not looked at.
        out: The folder; vectors and the trace lie in `run` below it.
        pixels: Where decoded pictures are kept, to be shared by runs; below `out` when absent.

    Raises:
        UsageError: there are no labels, a head is here already, or there are several processes.
        InputError: a column is not there, or no concept has both classes.
        IntegrityError: a patient or a group is on two sides.
    """
    started = time.perf_counter()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        message = "A head is fitted in one process."
        raise UsageError(message, hint="Start it without torchrun.")
    if (out / CARD).exists():
        message = "There is a head in this folder already."
        raise UsageError(message, hint="Name another folder.")
    if config.num_threads:
        torch.set_num_threads(config.num_threads)
    folder = out / RUN
    folder.mkdir(parents=True, exist_ok=True)
    images = [replace(supply, kind=Kind.IMAGES) for supply in supplies]
    for supply in images if config.group else ():
        check_columns(read_table(supply.manifest, required="path").column_names, [config.group])
    sides = _sides(images, config)
    encoder = _encoder(config.start)
    rows = [_rows(encoder, side, config, folder=folder, pixels=pixels or folder / PIXELS) for side in sides]
    concepts, doubts = _learnable(sides[0].concepts, rows[0].labels_GK)
    doubts = list(dict.fromkeys([*doubts, *(doubt for each in rows for doubt in each.left_out)]))
    chosen = [sides[0].concepts.index(concept) for concept in concepts]
    head = fit_head(
        rows[0].vectors_ND,
        rows[0].group_N,
        rows[0].labels_GK[:, chosen],
        concepts,
        probe=config.probe,
        attention=config.attention,
    )
    figures = _figures(head, rows[1], rows[1].labels_GK[:, chosen]) if len(rows) > 1 else {}
    account = {
        "config": config.to_json(),
        "data": sides[0].summary(),
        "num_groups": [len(each.labels_GK) for each in rows],
        "figures": figures,
        "doubts": doubts,
    }
    digest = write_head(out, head, encoder.space, account)
    write_trace(folder, {**account, "space": encoder.space.to_json(), "checkpoint": {"head.safetensors": digest}})
    steps = head.probe.num_steps + (config.attention.num_steps if config.attention else 0)
    seconds = time.perf_counter() - started
    return Result(folder=out, name=config.name, steps=steps, seconds=seconds, figures=figures, doubts=tuple(doubts))


def _encoder(name: str) -> CheckpointEncoder:
    if name.startswith(LOCAL):
        return open_local(Path(name.removeprefix(LOCAL)).expanduser())
    return load_checkpoint(name)


def _sides(supplies: Sequence[Supply], config: HeadConfig) -> list[Material]:
    """Rows to learn from; and those of validation, where there are some."""
    check_concepts(config.concepts, supplies)
    training = read_material(supplies, concepts=config.concepts)
    if not training.concepts:
        message = "A head learns labels, and no column of the manifests holds any."
        raise UsageError(
            message, hint="Write positive or negative in a column a concept; of 1 and 0 name them: --set concepts=A,B."
        )
    placed = [supply for supply in supplies if has_validation(supply)]
    if not placed:
        return [training]
    validation = read_material(placed, concepts=training.concepts, side=Side.VALIDATION)
    groups = [{_group(picture, config.group) for picture in side.pictures} for side in (training, validation)]
    if num_both := len(groups[0] & groups[1]):
        message = f"{num_both} groups of '{config.group}' are on more than one side of the split."
        raise IntegrityError(message, hint="Split so that a group is on one side: callosum dataset split.")
    return [training, validation]


def _rows(encoder: CheckpointEncoder, material: Material, config: HeadConfig, *, folder: Path, pixels: Path) -> _Rows:
    """Vectors of a side, computed once and kept; pictures that cannot be read are left out."""
    preprocess = encoder.preprocess
    recipe = CacheConfig(side_px=preprocess.size_px, fit=preprocess.fit, resample=preprocess.resample)
    cache = build_cache(material.sources, pixels, recipe)
    material = material.readable(cache)
    rows_N = cache.find(material.sources)

    def compute() -> dict[str, torch.Tensor]:
        parts = [
            encoder.encode_pixels(cache.gather(rows_N[start : start + AT_ONCE])).matrix
            for start in range(0, len(rows_N), AT_ONCE)
        ]
        return {"vectors": torch.from_numpy(np.concatenate(parts))}

    contents = cache.contents(material.sources)
    identity = digest_json([encoder.space.to_json(), material.digest, contents])
    vectors = kept_features(folder / f"{material.side}-{VECTORS}", identity, compute)["vectors"].numpy()
    names = [_group(picture, config.group) for picture in material.pictures]
    number = {name: n for n, name in enumerate(dict.fromkeys(names))}
    group_N = np.array([number[name] for name in names], np.int64)
    normal = normal_index(material.concepts)
    labels_GK = np.stack([merge(part, normal=normal) for part in by_group(material.image_labels_NK, group_N)])
    return _Rows(vectors_ND=vectors, group_N=group_N, labels_GK=labels_GK, left_out=material.left_out)


def _group(picture: Picture, column: str) -> str:
    """What a picture is scored with; where the manifest does not say, alone."""
    source = picture.source
    value = (getattr(source, FIXED[column]) if column in FIXED else source.attributes.get(column)) if column else None
    return f"record:{picture.record_id}" if value in (None, "") else f"group:{value}"


def _learnable(concepts: Sequence[str], labels_GK: Float32[np.ndarray, "G K"]) -> tuple[list[str], list[str]]:
    """The concepts that have both classes, and a sentence for each that has not."""
    has_both = [{POSITIVE, NEGATIVE} <= set(labels_GK[:, k].tolist()) for k in range(len(concepts))]
    if not any(has_both):
        message = "No concept has both positive and negative rows to learn from."
        raise InputError(message, hint="Rows where a finding is absent say negative; an empty cell says nothing.")
    kept = [concept for concept, is_kept in zip(concepts, has_both, strict=True) if is_kept]
    left_out = [concept for concept in concepts if concept not in kept]
    return kept, [
        f"'{concept}' has no positive or no negative rows to learn from and is left out." for concept in left_out
    ]


def _figures(head: Head, rows: _Rows, labels_GK: Float32[np.ndarray, "G K"]) -> dict[str, float]:
    """AUROC of each concept that has both classes in validation, and their mean."""
    scores_GK = head.scores(rows.vectors_ND, rows.group_N)
    found: dict[str, float] = {}
    for k, concept in enumerate(head.probe.concepts):
        known_G = (labels_GK[:, k] == POSITIVE) | (labels_GK[:, k] == NEGATIVE)
        found[f"validation_auroc[{concept}]"] = auroc(labels_GK[known_G, k] == POSITIVE, scores_GK[known_G, k])
    found = {name: value for name, value in found.items() if np.isfinite(value)}
    return {"validation_auroc": float(np.mean(list(found.values()))), **found} if found else {}
