"""Facts: what is known to be true or false of a picture, and what a caption asserts.

A caption is a positive of every picture of which all it asserts is known to be true, a negative of every picture
of which something it asserts is known to be false, and says nothing about the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int8

MODALITIES = ("xray", "ct", "mri", "ultrasound", "histology", "smear", "angiography", "pet")
EXCLUSIVE_MODALITIES = MODALITIES[:6]
REGIONS = ("chest", "abdomen", "head", "breast", "hand", "heart", "lung")
NIH_FINDINGS = (
    "atelectasis",
    "cardiomegaly",
    "effusion",
    "infiltration",
    "mass",
    "nodule",
    "pneumonia",
    "pneumothorax",
    "consolidation",
    "edema",
    "emphysema",
    "fibrosis",
    "pleural_thickening",
    "hernia",
)
OTHER = (
    "normal",
    "child",
    "frontal",
    "bacterial",
    "viral",
    "covid",
    "benign",
    "malignant",
    "adenocarcinoma",
    "squamous",
    "b_lines",
    "a_lines",
    "pleural_irregularity",
    "platelets",
    "white_cells",
    "male",
    "projection_ap",
)
FACTS = (*MODALITIES, *REGIONS, *NIH_FINDINGS, *OTHER)
FACT_INDEX = {name: n for n, name in enumerate(FACTS)}
THORAX = {"chest", "heart", "lung"}

Facts = Mapping[str, bool]


def modality_facts(modality: str) -> dict[str, bool]:
    """One modality is known: the other exclusive ones are false."""
    return {name: name == modality for name in EXCLUSIVE_MODALITIES} | {modality: True}


def region_facts(region: str) -> dict[str, bool]:
    """One region is known: the others are false, except those that overlap it."""
    overlap = THORAX if region in THORAX else {region}
    return {name: name == region for name in REGIONS if name == region or name not in overlap}


def fact_vector(facts: Facts) -> Int8[np.ndarray, " F"]:
    """Facts as +1 (true), -1 (false) and 0 (not known)."""
    vector_F = np.zeros(len(FACTS), np.int8)
    for name, value in facts.items():
        vector_F[FACT_INDEX[name]] = 1 if value else -1
    return vector_F


def truth_matrix(
    pictures: Sequence[Facts],
    captions: Sequence[Facts | None],
    *,
    picture_keys: Sequence[str] = (),
    caption_keys: Sequence[str] = (),
) -> Float[np.ndarray, "N M"]:
    """Whether caption M is true of picture N: 1 true, 0 false, NaN not known.

    Args:
        pictures: What is known of each picture.
        captions: What each caption asserts; `None` for free text, true only of pictures with its key.
        picture_keys: Text key of each picture, needed when there is free text.
        caption_keys: Text key of each caption, needed when there is free text.
    """
    known_NF = np.stack([fact_vector(p) for p in pictures]).astype(np.float32)
    claim_MF = np.stack([fact_vector(c or {}) for c in captions]).astype(np.float32)
    true_NF, false_NF = np.maximum(known_NF, 0), np.maximum(-known_NF, 0)
    agree_NM = true_NF @ np.maximum(claim_MF, 0).T + false_NF @ np.maximum(-claim_MF, 0).T
    clash_NM = true_NF @ np.maximum(-claim_MF, 0).T + false_NF @ np.maximum(claim_MF, 0).T
    truth_NM = np.full(agree_NM.shape, np.nan, np.float32)
    truth_NM[agree_NM == np.abs(claim_MF).sum(axis=1)] = 1.0
    truth_NM[clash_NM > 0] = 0.0
    picture_key_N = np.array(picture_keys, dtype=object)
    for m, claim in enumerate(captions):
        if claim is None:
            truth_NM[:, m] = picture_key_N == caption_keys[m]
    return truth_NM
