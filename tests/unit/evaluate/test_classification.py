import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from callosum.core.errors import InputError
from callosum.evaluate.classification import auroc, balanced_accuracy


def test_auroc_by_hand() -> None:
    positive = np.array([True, True, False, False])
    assert auroc(positive, np.array([0.9, 0.4, 0.5, 0.1])) == 0.75
    assert auroc(positive, np.array([0.5, 0.5, 0.5, 0.5])) == 0.5
    assert np.isnan(auroc(np.array([True, True]), np.array([0.1, 0.2])))


def test_auroc_equals_sklearn_with_ties() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    score = np.round(rng.random(200) + 0.3 * positive, 1)
    assert auroc(positive, score) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_balanced_accuracy() -> None:
    true = np.array([0, 0, 0, 1])
    assert balanced_accuracy(true, np.array([0, 0, 1, 1])) == pytest.approx((2 / 3 + 1) / 2)
    rng = np.random.default_rng(1)
    labels, said = rng.integers(0, 4, 300), rng.integers(0, 4, 300)
    assert balanced_accuracy(labels, said) == pytest.approx(balanced_accuracy_score(labels, said), abs=1e-12)
    assert np.isnan(balanced_accuracy(np.array([], int), np.array([], int)))
    with pytest.raises(InputError):
        balanced_accuracy(np.array([1]), np.array([1, 2]))
