"""What a checkpoint of the comparison is asked, on validation rows only.

Films of NIH: AUROC of each finding from words alone, a linear probe on training rows, and the share of Indiana
sentences of the film's class among the nearest. Pairs: Recall@k. Classes of other packs: words alone, one phrase or
several. Nothing here is chosen by what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import objectives_data as data
from benchmarks.objectives_data import FINDINGS, NIH, NORMAL, Row
from callosum.classify.zero_shot import label_embedding
from callosum.core.digest import digest_bytes
from callosum.core.embedding import unit_rows
from callosum.core.protocols import Encoder
from callosum.data.manifest import read_manifest
from callosum.evaluate.classification import auroc, balanced_accuracy
from callosum.evaluate.retrieval import first_relevant_rank, recall_at
from callosum.models.encoder import CheckpointEncoder
from callosum.train.heads import fit_probe
from callosum.train.pixel_cache import CacheConfig, build_cache
from callosum.train.sentences import text_key

MIN_POSITIVES = 8
"""Validation films or texts that a finding needs to be scored."""
PER_CLASS = 10
"""Texts of each class among which films look for their own."""
CUTS = (1, 2, 5, 10)
MNIST_SHARE = 0.15

PHRASES: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectasis", "bibasilar atelectasis", "volume loss with atelectasis at the lung base"),
    "Cardiomegaly": ("cardiomegaly", "enlarged heart", "the cardiac silhouette is enlarged"),
    "Effusion": ("pleural effusion", "blunted costophrenic angle with effusion", "small bilateral pleural effusions"),
    "Infiltration": ("infiltrate", "patchy infiltrate in the lung", "pulmonary infiltrates"),
    "Mass": ("mass", "lung mass", "large rounded opacity, suspicious of a mass"),
    "Nodule": ("nodule", "pulmonary nodule", "small nodule in the lung"),
    "Pneumonia": ("pneumonia", "findings compatible with pneumonia", "focal airspace disease of pneumonia"),
    "Pneumothorax": ("pneumothorax", "apical pneumothorax", "collapsed lung with pneumothorax"),
    "Consolidation": ("consolidation", "airspace consolidation", "lobar consolidation"),
    "Edema": ("pulmonary edema", "interstitial edema", "vascular congestion with edema"),
    "Emphysema": ("emphysema", "hyperinflated lungs with emphysema", "emphysematous change"),
    "Fibrosis": ("fibrosis", "pulmonary fibrosis", "fibrotic scarring"),
    "Pleural_Thickening": ("pleural thickening", "apical pleural thickening", "thickened pleura"),
    "Hernia": ("hiatal hernia", "hernia", "hernia behind the heart"),
    NORMAL: ("no acute cardiopulmonary abnormality", "normal chest", "clear lungs, no finding"),
}
"""Phrases of each finding, written before the first run; the first is the single prompt."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """Classes of a pack.

    Attributes:
        name: For the page.
        pack: Whose validation rows are asked.
        column: Where the label is.
        phrases: Label to what it is called; several labels may share phrases, and then are one class.
    """

    name: str
    pack: str
    column: str
    phrases: Mapping[str, tuple[str, ...]]


_PNEUMONIA = ("pneumonia", "chest x-ray of a child with pneumonia", "consolidation of the lung")
CLASSES = (
    Classes(
        name="films of children, normal or pneumonia",
        pack="cxr_pediatric",
        column="label",
        phrases={
            "normal": ("normal", "normal chest x-ray of a child", "clear lungs"),
            "bacterial_pneumonia": _PNEUMONIA,
            "viral_pneumonia": _PNEUMONIA,
        },
    ),
    Classes(
        name="lung ultrasound, three kinds",
        pack="us_lung_pocus",
        column="label",
        phrases={
            "regular": ("normal lung", "A-lines and normal pleural line", "healthy lung ultrasound"),
            "Bacterial pneumonia": ("bacterial pneumonia", "consolidation with air bronchogram", "hepatized lung"),
            "COVID-19": ("COVID-19", "B-lines with an irregular pleural line", "confluent B-lines"),
        },
    ),
    Classes(
        name="MedPix, CT or MR",
        pack="medpix_cases",
        column="modality",
        phrases={
            "CT": ("CT", "computed tomography scan", "contrast-enhanced CT"),
            "MRI": ("MRI", "magnetic resonance image", "T1 or T2 weighted MR"),
        },
    ),
    Classes(
        name="MedPix, five places",
        pack="medpix_cases",
        column="location_category",
        phrases={
            "Head": ("head", "brain", "axial image of the brain"),
            "Thorax": ("chest", "thorax", "image of the lungs and the mediastinum"),
            "Spine and Muscles": ("spine", "bone and muscle", "image of the spine or of a joint"),
            "Abdomen": ("abdomen", "liver and bowel", "image of the abdomen"),
            "Reproductive and Urinary System": ("kidney and pelvis", "renal mass", "image of the bladder or uterus"),
        },
    ),
    Classes(
        name="medical_mnist, six kinds",
        pack="medical_mnist",
        column="label",
        phrases={
            "AbdomenCT": ("abdominal CT", "CT scan of the abdomen", "axial CT of the liver"),
            "BreastMRI": ("breast MRI", "magnetic resonance image of the breast", "MR mammography"),
            "CXR": ("chest x-ray", "chest radiograph", "frontal film of the chest"),
            "ChestCT": ("chest CT", "CT scan of the chest", "axial CT of the lungs"),
            "Hand": ("hand x-ray", "radiograph of the hand", "film of the wrist and the fingers"),
            "HeadCT": ("head CT", "CT scan of the head", "axial CT of the brain"),
        },
    ),
)
GALLERIES = ("roco_open", "medpix_cases")
"""Packs whose pairs are looked for among their own; equal texts and pictures of one case are equally right."""


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """16x16 grey values of each picture: what a model must beat to have shown anything."""
    small = [np.asarray(Image.fromarray(p).convert("L").resize((16, 16), Image.Resampling.BOX)) for p in pixels]
    return np.stack(small).reshape(len(small), -1) / np.float32(255.0)


class Questions:
    """The rows and their squares, read once a process.

    Args:
        folder: Data packs.
        manifests: What `objectives_data.write_all` wrote.
        pixels: Folder of the pixel cache.
        size_px: Side of the squares.
        is_quick: Few rows.
    """

    def __init__(self, folder: Path, manifests: Path, *, pixels: Path, size_px: int, is_quick: bool) -> None:
        self.films = data.read(manifests / "films.csv")
        self.texts = [row for row in data.read(manifests / "reports.csv") if row["split"] == "val"]
        self.pairs = [row for row in data.read(manifests / "pairs.csv") if row["split"] == "val"]
        self.classes = {each.name: _class_rows(each, folder, is_quick=is_quick) for each in CLASSES}
        every = [*self.films, *self.pairs, *(row for rows in self.classes.values() for row in rows)]
        listing = data.write(pixels.parent / "manifests" / "asked.csv", _places(every))
        sources = list(read_manifest(listing))
        cache = build_cache(sources, pixels, CacheConfig(side_px=size_px, num_channels=1))
        if cache.problems:
            message = f"{len(cache.problems)} pictures of the comparison cannot be read."
            raise SystemExit(message)
        squares = cache.gather(cache.find(sources))
        self._square = {
            source.record_id: np.repeat(square, 3, axis=2) for source, square in zip(sources, squares, strict=True)
        }

    def squares(self, rows: Sequence[Row]) -> np.ndarray:
        """Prepared pictures `[N, S, S, 3]`."""
        return np.stack([self._square[digest_bytes(row["path"].encode())] for row in rows])


def _places(rows: Sequence[Row]) -> list[Row]:
    paths = dict.fromkeys(row["path"] for row in rows)
    return [{"id": digest_bytes(path.encode()), "path": path} for path in paths]


def _class_rows(classes: Classes, folder: Path, *, is_quick: bool) -> list[Row]:
    rows = data.thinned(data.pack_rows(folder, classes.pack), is_quick=is_quick)
    if classes.pack == "medical_mnist":  # groups of near-duplicates that are on both sides are left out
        trained = {data.group_of(row) for row in rows if row["split"] == "train"}
        rows = [row for row in rows if data.group_of(row) not in trained and data.is_drawn(row["id"], MNIST_SHARE)]
    return [row for row in rows if row["split"] == "val" and row[classes.column] in classes.phrases]


def ensembles(encoder: Encoder, phrases: Sequence[tuple[str, ...]], *, is_single: bool) -> np.ndarray:
    """A unit vector a class: the mean of its phrases in all templates, or the first phrase alone."""
    rows = []
    for each in phrases:
        found = label_embedding(encoder, each[:1], templates=("{}",)) if is_single else label_embedding(encoder, each)
        rows.append(found.matrix.mean(axis=0))
    return unit_rows(np.stack(rows))


def precision_at(score_QN: np.ndarray, relevant_QN: np.ndarray, k: int) -> np.ndarray:
    """Share of the `k` best-scored rows that are relevant, a query each; ties are in the order of the rows."""
    best_QK = np.argsort(-score_QN, axis=1, kind="stable")[:, :k]
    share_Q: np.ndarray = np.take_along_axis(relevant_QN, best_QK, axis=1).mean(axis=1)
    return share_Q


def findings_of(rows: Sequence[Row]) -> np.ndarray:
    """Labels `[N, K]` of films or reports, 1 or 0."""
    return np.array([[float(row[name] == "1") for name in FINDINGS] for row in rows], np.float32)


def scored(rows: Sequence[Row]) -> list[int]:
    """Numbers of the findings with enough rows on both sides."""
    positive_K = findings_of(rows).sum(axis=0)
    return [k for k in range(len(FINDINGS)) if MIN_POSITIVES <= positive_K[k] <= len(rows) - MIN_POSITIVES]


def film_scores(encoder: Encoder, image_ND: np.ndarray) -> np.ndarray:
    """Score of each film for each finding, by words alone: its phrases less those of a normal film.

    The score of a normal film is that of its phrases less the mean of all findings.
    """
    class_KD = ensembles(encoder, [PHRASES[name] for name in FINDINGS], is_single=False)
    cosine_NK = image_ND @ class_KD.T
    normal_N = cosine_NK[:, len(NIH)]
    score_NK = cosine_NK - normal_N[:, None]
    score_NK[:, len(NIH)] = normal_N - cosine_NK[:, : len(NIH)].mean(axis=1)
    return score_NK


def macro_auroc(label_NK: np.ndarray, score_NK: np.ndarray, chosen: Iterable[int]) -> float:
    """Mean AUROC of some findings; of a resample, those that have both sides in it."""
    return float(np.nanmean([auroc(label_NK[:, k] == 1, score_NK[:, k]) for k in chosen]))


def ask_films(questions: Questions, encode: Callable[[np.ndarray], np.ndarray], encoder: Encoder | None) -> _Answers:
    """Zero-shot AUROC and the linear probe; without an encoder the probe alone."""
    figures: dict[str, float] = {}
    scores: dict[str, np.ndarray] = {}
    train = [row for row in questions.films if row["split"] == "train"]
    val = [row for row in questions.films if row["split"] == "val"]
    label_NK, chosen = findings_of(val), scored(val)
    image_ND = encode(questions.squares(val))
    names = [FINDINGS[k] for k in chosen]
    if encoder is not None:
        score_NK = film_scores(encoder, image_ND)
        for k, name in zip(chosen, names, strict=True):
            figures[f"zero-shot AUROC, {name}"] = auroc(label_NK[:, k] == 1, score_NK[:, k])
        figures["zero-shot AUROC, macro"] = macro_auroc(label_NK, score_NK, chosen)
        scores |= {"label_NK": label_NK, "score_NK": score_NK, "chosen_K": np.array(chosen)}
    probe = fit_probe(encode(questions.squares(train)), findings_of(train)[:, chosen], names)
    found_NK = probe.scores(image_ND)
    figures["probe AUROC, macro"] = macro_auroc(label_NK[:, chosen], found_NK, range(len(chosen)))
    return figures, scores


_Answers = tuple[dict[str, float], dict[str, np.ndarray]]


def film_gallery(questions: Questions) -> tuple[list[Row], list[Row], list[str]]:
    """Films and texts of the findings that enough of both have: all such films, and equally many texts of each.

    A text is of exactly one of these findings; a film may have several, and then texts of each are right.
    """
    films = [row for row in questions.films if row["split"] == "val"]
    unique = {text_key(row["text"]): row for row in questions.texts}
    texts = sorted(unique.values(), key=lambda row: digest_bytes(row["id"].encode()))
    both = np.minimum(findings_of(films).sum(axis=0), findings_of(texts).sum(axis=0))
    names = [name for name, num in zip(FINDINGS, both, strict=True) if num >= MIN_POSITIVES]
    alone = _alone(texts, names)
    while alone and min(map(len, alone.values())) < MIN_POSITIVES:
        names.remove(min(alone, key=lambda name: len(alone[name])))
        alone = _alone(texts, names)
    size = min((len(rows) for rows in alone.values()), default=0)
    chosen = [row for name in names for row in alone[name][: min(PER_CLASS, size)]]
    return [row for row in films if _among(row, names)], chosen, names


def _alone(texts: Sequence[Row], names: Sequence[str]) -> dict[str, list[Row]]:
    """Texts with exactly one of the findings, by finding."""
    return {name: [row for row in texts if _among(row, names) == [name]] for name in names}


def _among(row: Row, names: Sequence[str]) -> list[str]:
    return [name for name in names if row[name] == "1"]


def film_relevance(questions: Questions) -> tuple[np.ndarray, np.ndarray]:
    """Whether a film has a finding `[Q, K]`, and whether a text is right for it `[Q, N]`."""
    films, texts, names = film_gallery(questions)
    film_QK = np.array([[row[name] == "1" for name in names] for row in films])
    text_NK = np.array([[row[name] == "1" for name in names] for row in texts])
    return film_QK, film_QK.astype(int) @ text_NK.T.astype(int) > 0


def ask_sentences(questions: Questions, encoder: CheckpointEncoder) -> dict[str, float]:
    """P@k of films over Indiana sentences that name a finding of theirs, the mean over findings."""
    films, texts, names = film_gallery(questions)
    if len(names) < 2 or not texts:
        return {}
    film_QK, right_QN = film_relevance(questions)
    image_QD = encoder.encode_pixels(questions.squares(films)).matrix
    score_QN = image_QD @ encoder.encode_text([row["text"] for row in texts]).matrix.T
    figures = {}
    for k in CUTS:
        share_Q = precision_at(score_QN, right_QN, k)
        figures[f"P@{k} by class"] = float(np.mean([share_Q[film_QK[:, c]].mean() for c in range(len(names))]))
    return figures


def ask_pairs(questions: Questions, encoder: CheckpointEncoder) -> dict[str, float]:
    """Recall@k within each gallery, the mean of both directions."""
    figures = {}
    for pack in GALLERIES:
        rows = [row for row in questions.pairs if row["pack"] == pack]
        if not rows:
            continue
        image_ND = encoder.encode_pixels(questions.squares(rows)).matrix
        text_ND = encoder.encode_text([row["text"] for row in rows]).matrix
        keys = np.array([text_key(row["text"]) for row in rows])
        right_NN = keys[:, None] == keys[None, :]
        if pack == "medpix_cases":
            groups = np.array([row["patient_id"] for row in rows])
            right_NN |= groups[:, None] == groups[None, :]
        score_NN = image_ND @ text_ND.T
        ranks = [first_relevant_rank(score_NN, right_NN), first_relevant_rank(score_NN.T, right_NN.T)]
        for k in (1, 5, 10):
            figures[f"R@{k}, {pack}"] = float(np.mean([recall_at(rank_Q, k) for rank_Q in ranks]))
    return figures


def ask_classes(questions: Questions, encoder: CheckpointEncoder) -> dict[str, float]:
    """Balanced accuracy by words alone, with one phrase a class and with all."""
    figures = {}
    values: dict[bool, list[float]] = {True: [], False: []}
    for classes in CLASSES:
        rows = questions.classes[classes.name]
        if not rows:
            continue
        kinds = list(dict.fromkeys(classes.phrases.values()))
        truth_N = np.array([kinds.index(classes.phrases[row[classes.column]]) for row in rows])
        image_ND = encoder.encode_pixels(questions.squares(rows)).matrix
        for is_single in (True, False):
            class_KD = ensembles(encoder, kinds, is_single=is_single)
            values[is_single].append(balanced_accuracy(truth_N, (image_ND @ class_KD.T).argmax(axis=1)))
        figures[f"accuracy, {classes.name}"] = values[False][-1]
    for is_single, name in ((True, "accuracy, one prompt"), (False, "accuracy, ensemble")):
        if values[is_single]:
            figures[name] = float(np.mean(values[is_single]))
    return figures


def ask(questions: Questions, encoder: CheckpointEncoder) -> _Answers:
    """Every figure of a checkpoint."""
    figures, scores = ask_films(questions, lambda squares: encoder.encode_pixels(squares).matrix, encoder)
    figures |= ask_sentences(questions, encoder) | ask_pairs(questions, encoder) | ask_classes(questions, encoder)
    return {name: round(value, 4) for name, value in figures.items()}, scores


def chances(questions: Questions) -> dict[str, float]:
    """What guessing gives, where that is known."""
    found = {"zero-shot AUROC, macro": 0.5, "probe AUROC, macro": 0.5}
    film_QK, right_QN = film_relevance(questions)
    if right_QN.size:
        by_class = [right_QN[film_QK[:, c]].mean() for c in range(film_QK.shape[1])]
        found |= {f"P@{k} by class": float(np.mean(by_class)) for k in CUTS}
    figures = sum(row["pack"] == GALLERIES[0] for row in questions.pairs)
    found |= {f"R@{k}, {GALLERIES[0]}": min(1.0, k / figures) for k in (1, 5, 10) if figures}
    each = [1 / len(set(classes.phrases.values())) for classes in CLASSES if questions.classes[classes.name]]
    mean = float(np.mean(each)) if each else float("nan")
    return found | {"accuracy, one prompt": mean, "accuracy, ensemble": mean}
