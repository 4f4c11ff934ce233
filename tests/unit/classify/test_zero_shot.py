import numpy as np
import pytest

from callosum.classify.zero_shot import label_embedding, zero_shot
from callosum.core.errors import UsageError
from tests.fakes import SHADES, FakeEncoder


def test_the_label_that_fits_wins(encoder: FakeEncoder) -> None:
    pictures = [np.full((9, 9), level, np.uint8) for level in (0, 64, 128, 192, 255)]
    predictions = zero_shot(encoder, pictures, SHADES)
    assert [prediction.best for prediction in predictions] == list(SHADES)
    assert [prediction.source for prediction in predictions] == ["0", "1", "2", "3", "4"]
    assert predictions[0].space == str(encoder.space)


def test_the_order_of_labels_changes_no_score(encoder: FakeEncoder) -> None:
    picture = [np.full((9, 9), 70, np.uint8)]
    forth, back = zero_shot(encoder, picture, SHADES)[0], zero_shot(encoder, picture, SHADES[::-1])[0]
    assert dict(forth.scores) == dict(back.scores)


def test_rows_are_unit_means_over_templates(encoder: FakeEncoder) -> None:
    rows = label_embedding(encoder, ["white"], templates=["{}", "black then {}"])
    expected = encoder.encode_text(["white", "black then white"]).matrix.mean(axis=0)
    np.testing.assert_allclose(rows.matrix[0], expected / np.linalg.norm(expected), atol=1e-6)
    assert rows.ids == ("white",)


@pytest.mark.parametrize(
    ("labels", "templates"), [([], ["{}"]), (["a", "a"], ["{}"]), (["a"], []), (["a"], ["no place"])]
)
def test_unusable_calls(encoder: FakeEncoder, labels: list[str], templates: list[str]) -> None:
    with pytest.raises(UsageError):
        label_embedding(encoder, labels, templates=templates)
