"""Cards of published models: source, licence and limits as their authors state them; what is not known is said so."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from callosum.core.config import config_from
from callosum.core.errors import InputError, UsageError

ORIGIN = "callosum_origin.json"
"""Lies beside the settings of an export, which have no place for it; other programs pass over it."""
SCHEMA = "callosum.origin/1"
FAMILY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
UNKNOWN = "unknown: ask the authors"
USE = "Research and teaching: search by words, zero-shot scores, features for further work."
NO_PATIENT = (
    "Diagnosis, triage, screening or any decision about a patient; it is not a medical device. It was not evaluated "
    "by this package on your pictures: measure it there first."
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is known of a family of published models.

    Attributes:
        summary: What it is.
        source: Where its authors publish it.
        licence: Of the weights that its authors published.
        not_for: What its authors exclude beyond what holds for all.
        hub: Its name on the hub, where its authors publish it there.
    """

    summary: str
    source: str
    licence: str = UNKNOWN
    not_for: str = ""
    hub: str = ""


PUBLISHED = {
    "biomedclip": Published(
        summary="BiomedCLIP (Zhang et al. 2023, arXiv:2303.00915): a ViT and a PubMedBERT trained on 15 million "
        "figures with captions from PubMed Central.",
        source="https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        licence="MIT (what Microsoft published; for weights tuned from it, ask their authors)",
        not_for="Any deployed use, commercial or not, is out of scope according to its authors; English only.",
        hub="hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    ),
    "medclip": Published(
        summary="MedCLIP (Wang et al. 2022, arXiv:2210.10163): a Swin transformer or a ResNet-50 and a ClinicalBERT "
        "trained on chest films and reports, paired by their findings.",
        source="https://github.com/RyanWangZf/MedCLIP",
    ),
    "gloria": Published(
        summary="GLoRIA (Huang et al. 2021, ICCV): a ResNet-50 and a ClinicalBERT trained on chest films and "
        "impressions, with words and regions attending to each other.",
        source="https://github.com/marshuang80/gloria",
    ),
    "convirt": Published(
        summary="ConVIRT (Zhang et al. 2020, arXiv:2010.00747): a ResNet-50 and a ClinicalBERT, trained on chest films "
        "and bone pictures with sentences of their reports. Its authors published no weights: the architecture is here "
        "to be trained (callosum.models.architectures.build).",
        source="",
        licence="none: there are no published weights",
    ),
    "clip": Published(
        summary="CLIP (Radford et al. 2021, arXiv:2103.00020): trained on 400 million pictures of the web with their "
        "captions; no medical model.",
        source="https://github.com/openai/CLIP",
        licence="MIT (what OpenAI published; for weights tuned from it, ask their authors)",
        not_for="Any deployed use, commercial or not, surveillance and face recognition are out of scope according to "
        "its authors; English only.",
    ),
    "pubmedclip": Published(
        summary="PubMedCLIP (Eslami et al. 2021, arXiv:2112.13906): CLIP tuned on the ROCO radiology figures.",
        source="https://github.com/sarahESL/PubMedCLIP",
    ),
    "chexzero": Published(
        summary="CheXzero (Tiu et al. 2022, Nature Biomedical Engineering): CLIP tuned on chest films of MIMIC-CXR "
        "and the impressions of their reports.",
        source="https://github.com/rajpurkarlab/CheXzero",
    ),
}
GENERIC = Published(summary="A model in open_clip's layout; its files do not say what it was trained on.", source="")


def published(family: str) -> Published:
    """What is known of a family; a family that is not known has a licence that is not known."""
    return PUBLISHED.get(family, GENERIC)


def write_origin(folder: Path, family: str, known: Published) -> None:
    """Write what the next import shall know of an export."""
    values = {"schema": SCHEMA, "family": family, **asdict(known)}
    (folder / ORIGIN).write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_origin(folder: Path) -> tuple[str, Published]:
    """Family and card of a model where it was exported.

    Raises:
        InputError: the file is none that `write_origin` wrote.
    """
    try:
        values = dict(json.loads((folder / ORIGIN).read_text(encoding="utf-8")))
        schema, family = values.pop("schema", None), values.pop("family", None)
        known = config_from(Published, values)
    except (ValueError, TypeError, UsageError) as error:
        message = f"{ORIGIN} does not say where a model comes from."
        raise InputError(message, hint="Remove it: the model is then one of a family that is not known.") from error
    if schema != SCHEMA or not all(type(text) is str for text in (family, *asdict(known).values())):
        message = f"{ORIGIN} is not of the form {SCHEMA}."
        raise InputError(message, hint="Remove it: the model is then one of a family that is not known.")
    if not FAMILY.fullmatch(family):
        message = f"{ORIGIN} names a family in other than small letters, digits, - and _."
        raise InputError(message)
    return family, known
