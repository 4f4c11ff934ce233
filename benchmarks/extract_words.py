"""The baseline of extraction: a logistic regression on the words and pairs of words of a report."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from benchmarks.extract_gold import Coded


def crossed(reports: Sequence[Coded], gold_NC: np.ndarray, *, num_folds: int) -> np.ndarray:
    """What it says of each report when it learnt from the other folds; a patient is in one fold."""
    said = np.zeros_like(gold_NC)
    groups = [report.patient for report in reports]
    for learn, ask in GroupKFold(num_folds).split(gold_NC, groups=groups):
        said[ask] = _ask(reports, gold_NC, learn, ask)
    return said


def of_training_rows(reports: Sequence[Coded], gold_NC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows outside the training split, and what it says of them when it learnt from those inside."""
    is_training = np.array([report.split == "train" for report in reports])
    ask = np.flatnonzero(~is_training)
    return ask, _ask(reports, gold_NC, np.flatnonzero(is_training), ask)


def _ask(reports: Sequence[Coded], gold_NC: np.ndarray, learn: np.ndarray, ask: np.ndarray) -> np.ndarray:
    words = CountVectorizer(ngram_range=(1, 2), min_df=2, binary=True)
    known = words.fit_transform([reports[n].text for n in learn])
    asked = words.transform([reports[n].text for n in ask])
    said = np.zeros((len(ask), gold_NC.shape[1]), bool)
    for k in np.flatnonzero(gold_NC[learn].any(0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(max_iter=2000, class_weight="balanced").fit(known, gold_NC[learn, k])
        said[:, k] = model.predict(asked)
    return said
