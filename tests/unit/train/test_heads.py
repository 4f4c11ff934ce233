"""Heads on vectors: what they learn, and what they refuse."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from callosum.core.errors import InputError
from callosum.train.heads import ProbeConfig, fit_attention, fit_probe


def rows(num: int = 200, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num, width)) * np.arange(1, width + 1) + 3
    return x, (x[:, :2] + rng.normal(size=(num, 2)) > 3).astype(np.float64)


def test_a_probe_is_logistic_regression_on_standardised_features() -> None:
    x, labels = rows()
    decay = 1e-2
    probe = fit_probe(x, labels, ["a", "b"], ProbeConfig(weight_decay=decay))
    z = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    for k in range(2):
        peer = LogisticRegression(C=1 / (2 * decay * len(x)), tol=1e-8, max_iter=1000).fit(z, labels[:, k])
        assert probe.scores(x)[:, k] == pytest.approx(peer.decision_function(z), abs=5e-3)


def test_uncertain_and_unmentioned_labels_do_not_count() -> None:
    x, labels = rows()
    more, odd = np.concatenate([x, x + 50]), np.concatenate([labels, np.full_like(labels, np.nan)])
    odd[len(x) :: 2] = -1.0
    centred = fit_probe(np.concatenate([x, x]), odd, ["a", "b"]).scores(x)
    assert centred == pytest.approx(fit_probe(x, labels, ["a", "b"]).scores(x), abs=5e-3)
    assert np.isfinite(fit_probe(more, odd, ["a", "b"]).scores(more)).all()


def test_a_probe_needs_both_classes_of_each_concept() -> None:
    x, labels = rows()
    labels[:, 1] = 1.0
    with pytest.raises(InputError, match="'b'"):
        fit_probe(x, labels, ["a", "b"])
    with pytest.raises(InputError, match="do not fit"):
        fit_probe(x, labels, ["a"])
    x[0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        fit_probe(x, labels[:, :1], ["a"])


def bags() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Twenty rows a group, of which one tells the class; the others are of either class by chance, and marked."""
    rng = np.random.default_rng(1)
    classes = np.eye(8)[:2]
    group, told = np.repeat(np.arange(60), 20), np.arange(60) % 2
    x = np.eye(8)[rng.integers(0, 2, len(group))] + np.eye(8)[3] * 0.8 + 0.1 * rng.normal(size=(len(group), 8))
    x[::20] = classes[told] + np.eye(8)[4] * 0.8 + 0.1 * rng.normal(size=(60, 8))
    return x / np.linalg.norm(x, axis=1, keepdims=True), group, told, classes


def test_attention_finds_the_row_that_tells() -> None:
    x, group, told, classes = bags()
    found = fit_attention(x[:800], group[:800], told[:40], classes)

    def right(pool) -> float:
        pooled = np.stack([pool(x[group == g]) for g in range(40, 60)])
        return float(np.mean((pooled @ classes.T).argmax(axis=1) == told[40:]))

    assert right(found.pool) == 1.0
    assert right(lambda rows: rows.mean(axis=0)) < 0.9
    assert np.mean([found.weights(x[group == g]).argmax() == 0 for g in range(40, 60)]) == 1.0


def test_attention_refuses_what_it_cannot_learn_from() -> None:
    x, group, told, classes = bags()
    with pytest.raises(InputError, match="two classes"):
        fit_attention(x, group, np.zeros_like(told), classes)
    with pytest.raises(InputError, match="each with a row"):
        fit_attention(x, group + 1, told, classes)
