"""The starter's examination: zero-shot tasks in several phrasings.

The first phrasing of a task is the plain one. No prompt is written word for word by the template captions of a run
(`Captioner` avoids `EXAMINED`); sentences that differ by an article or a filler word are. Every task is scored once
per phrasing; the mean and the worst phrasing are what counts, because a stranger's wording is not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from callosum.evaluate.classification import auroc, balanced_accuracy
from callosum.evaluate.retrieval import first_relevant_rank
from callosum.train.captions import text_key
from callosum.train.packs import Row

EncodeText = Callable[[Sequence[str]], Float[np.ndarray, "N D"]]


@dataclass(frozen=True, kw_only=True)
class Task:
    """Classes, the rows that have them, and the wordings.

    Attributes:
        name: Name in the results.
        packs: Packs whose rows are asked.
        classes: Fact (or label) of each class.
        phrasings: One prompt per class, for each phrasing.
        is_ranked: Two classes scored by AUROC of the first against the second instead of balanced accuracy.
    """

    name: str
    packs: tuple[str, ...]
    classes: tuple[str, ...]
    phrasings: tuple[tuple[str, ...], ...]
    is_ranked: bool = False


TASKS = (
    Task(
        name="modality, six kinds of five packs",
        packs=("cxr_nih14", "medical_mnist", "path_lc25000", "us_breast_busi", "blood_bccd"),
        classes=("xray", "ct", "mri", "ultrasound", "histology", "smear"),
        phrasings=(
            ("x-ray", "CT scan", "MRI", "ultrasound", "histopathology H&E", "blood smear microscopy"),
            (
                "Shown here: radiographic film",
                "Shown here: computed tomography",
                "Shown here: magnetic resonance",
                "Shown here: sonography",
                "Shown here: stained tissue under a microscope",
                "Shown here: blood cells",
            ),
            (
                "modality: X-ray",
                "modality: CT",
                "modality: MR",
                "modality: US",
                "modality: histology",
                "modality: blood film",
            ),
            (
                "which picture was taken with x-rays",
                "which picture is a CT",
                "which picture is an MRI",
                "which picture was made by an ultrasound probe",
                "which picture is a histological section",
                "which picture is a smear of blood",
            ),
            (
                "conventional radiography study",
                "cross-sectional computed tomography study",
                "magnetic resonance study",
                "sonographic study",
                "slide of tissue, haematoxylin-eosin",
                "microscopic field with erythrocytes",
            ),
        ),
    ),
    Task(
        name="ROCO modality, four kinds",
        packs=("roco_open",),
        classes=("xray", "ct", "mri", "ultrasound"),
        phrasings=(
            ("x-ray", "CT scan", "MRI", "ultrasound"),
            ("figure with a radiograph", "figure with a CT", "figure with an MRI", "figure with a sonogram"),
            ("modality: X-ray", "modality: CT", "modality: MR", "modality: US"),
            (
                "conventional radiography study",
                "cross-sectional computed tomography study",
                "magnetic resonance study",
                "sonographic study",
            ),
        ),
    ),
    Task(
        name="medical_mnist, six classes",
        packs=("medical_mnist",),
        classes=("AbdomenCT", "BreastMRI", "CXR", "ChestCT", "Hand", "HeadCT"),
        phrasings=(
            ("abdominal CT", "breast MRI", "chest x-ray", "chest CT", "hand x-ray", "head CT"),
            (
                "shown: CT through the abdomen",
                "shown: MR of both breasts",
                "shown: film of the chest",
                "shown: CT through the thorax",
                "shown: film of a hand",
                "shown: CT through the brain",
            ),
            (
                "a cross-section of the belly made by computed tomography",
                "a magnetic resonance picture of the breasts",
                "a radiograph of somebody's chest",
                "a cross-section of the chest made by computed tomography",
                "a radiograph of somebody's hand",
                "a cross-section of the head made by computed tomography",
            ),
        ),
    ),
    Task(
        name="lung histology, three classes",
        packs=("path_lc25000",),
        classes=("adenocarcinoma", "squamous", "benign"),
        phrasings=(
            (
                "lung adenocarcinoma histopathology",
                "lung squamous cell carcinoma histopathology",
                "benign lung tissue histopathology",
            ),
            (
                "H&E slide from a lung: adenocarcinoma",
                "H&E slide from a lung: squamous cell carcinoma",
                "H&E slide from a lung: no tumour, benign",
            ),
            (
                "the pathologist diagnosed adenocarcinoma",
                "the pathologist diagnosed squamous cell carcinoma",
                "the pathologist diagnosed benign tissue",
            ),
            ("adenocarcinoma cells", "squamous carcinoma cells", "normal alveoli"),
        ),
    ),
    Task(
        name="breast ultrasound, three classes",
        packs=("us_breast_busi",),
        classes=("normal", "benign", "malignant"),
        phrasings=(
            ("normal breast ultrasound", "benign breast ultrasound", "malignant breast ultrasound"),
            (
                "ultrasound of the breast showing no mass",
                "ultrasound of the breast showing a benign mass",
                "ultrasound of the breast showing a malignant mass",
            ),
            (
                "shown: breast sonography, nothing abnormal",
                "shown: breast sonography, benign tumor",
                "shown: breast sonography, malignant tumor",
            ),
            (
                "sonographic picture of healthy breast tissue",
                "sonographic picture of a benign breast lesion",
                "sonographic picture of breast cancer",
            ),
        ),
    ),
    Task(
        name="paediatric film, normal or pneumonia",
        packs=("cxr_pediatric",),
        classes=("normal", "pneumonia"),
        phrasings=(
            ("normal chest radiograph of a child", "chest radiograph of a child with pneumonia"),
            ("a chest x-ray with no finding", "a chest x-ray with pneumonia"),
            ("shown: paediatric chest film, clear lungs", "shown: paediatric chest film, pneumonia"),
            ("the lungs of this child are healthy", "the lungs of this child are infected, pneumonia"),
        ),
    ),
    Task(
        name="NIH film, No Finding (AUROC)",
        packs=("cxr_nih14",),
        classes=("normal", "not normal"),
        is_ranked=True,
        phrasings=(
            ("a chest x-ray with no finding", "a chest x-ray with pneumonia"),
            ("normal chest x-ray", "abnormal chest x-ray"),
            ("no acute cardiopulmonary abnormality on this film", "an acute cardiopulmonary abnormality on this film"),
            ("chest film of a healthy person", "chest film of a sick person, infiltrates or effusion"),
            ("nothing abnormal is seen in the lungs", "pathological findings are seen in the lungs"),
            ("this person has no illness of the thorax", "this person has an illness of the thorax"),
        ),
    ),
)


EXAMINED = frozenset(text_key(prompt) for task in TASKS for phrasing in task.phrasings for prompt in phrasing)
"""`text_key` of every prompt that is examined."""


def task_rows(task: Task, rows: Sequence[Row]) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Positions in `rows` that belong to `task`, and their class numbers."""
    chosen, labels = [], []
    for n, row in enumerate(rows):
        if row.pack in task.packs:
            truths = [_has(row, name) for name in task.classes]
            if truths.count(True) == 1:
                chosen.append(n)
                labels.append(truths.index(True))
    return np.array(chosen, np.int64), np.array(labels, np.int64)


def _has(row: Row, name: str) -> bool:
    if name.startswith("not "):
        return row.facts.get(name[4:]) is False
    return row.facts.get(name) is True or row.label == name


def task_score(
    task: Task, image_ND: Float[np.ndarray, "N D"], label_N: Int64[np.ndarray, " N"], text_KD: Float[np.ndarray, "K D"]
) -> float:
    """Score of one phrasing: balanced accuracy of the most similar prompt, or AUROC of the difference."""
    similarity_NK = image_ND @ text_KD.T
    if task.is_ranked:
        return auroc(label_N == 0, similarity_NK[:, 0] - similarity_NK[:, 1])
    return balanced_accuracy(label_N, similarity_NK.argmax(axis=1))


def roco_ranks(
    image_ND: Float[np.ndarray, "N D"], rows: Sequence[Row], encode_text: EncodeText
) -> dict[str, Int64[np.ndarray, " Q"]]:
    """Ranks of the right partner over the ROCO rows, both ways; equal captions are equally right."""
    chosen = [n for n, row in enumerate(rows) if row.pack == "roco_open"]
    texts = [rows[n].texts[0] for n in chosen]
    similarity_NM = image_ND[chosen] @ encode_text(texts).T
    same_NM: Bool[np.ndarray, "N M"] = np.array([[text_key(a) == text_key(b) for b in texts] for a in texts])
    return {
        "text to image": first_relevant_rank(similarity_NM.T, same_NM),
        "image to text": first_relevant_rank(similarity_NM, same_NM),
    }


def recall_at_share(rank_Q: Int64[np.ndarray, " Q"], share: float) -> float:
    """Share of queries ranked within `share` ranks, a fraction counting as that part of the next rank."""
    low = int(np.floor(share))
    return float(np.mean(rank_Q <= low) + (share - low) * np.mean(rank_Q == low + 1))


def quick_scores(image_ND: Float[np.ndarray, "N D"], rows: Sequence[Row], encode_text: EncodeText) -> dict[str, float]:
    """Mean and worst phrasing of every task and the retrieval figures, without intervals: for choosing while training.

    `R@10 of 838` counts a hit when the rank is within the same share of the gallery as 10 of 838.
    """
    scores: dict[str, float] = {}
    for task in TASKS:
        chosen, label_N = task_rows(task, rows)
        if len(chosen) == 0:
            continue
        values = [task_score(task, image_ND[chosen], label_N, encode_text(p)) for p in task.phrasings]
        scores[task.name] = float(np.mean(values))
        scores[f"{task.name}, worst phrasing"] = float(np.min(values))
    for direction, rank_Q in roco_ranks(image_ND, rows, encode_text).items():
        scores[f"ROCO {direction}, R@10 of 838"] = recall_at_share(rank_Q, 10 * len(rank_Q) / 838)
        scores[f"ROCO {direction}, R@10"] = float(np.mean(rank_Q <= 10))
        scores[f"ROCO {direction}, median rank share"] = float(np.median(rank_Q) / len(rank_Q))
    return scores
