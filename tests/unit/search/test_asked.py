"""What a typed question asks."""

import pytest

from callosum.search.asked import understand


@pytest.mark.parametrize(
    ("text", "sought", "without"),
    [
        ("chest x-ray", "chest x-ray", ()),
        ("edema without consolidation", "edema", ("consolidation",)),
        ("cardiomegaly, no pneumothorax and no pleural effusion", "cardiomegaly", ("pneumothorax", "pleural effusion")),
        ("no pneumothorax", "no pneumothorax", ("pneumothorax",)),
        ('"no pneumothorax"', "no pneumothorax", ()),
        ("MRI of the knee without contrast", "MRI of the knee without contrast", ()),
        ("not only edema but also a pneumothorax", "edema and pneumothorax", ()),
    ],
)
def test_what_is_sought_and_left_out(text: str, sought: str, without: tuple[str, ...]) -> None:
    asked = understand(text)
    assert set(asked.without) == set(without)
    assert asked.text.strip() == sought
    assert bool(asked.notes) == (bool(without))


def test_a_denied_word_that_is_no_finding_is_said() -> None:
    asked = understand("femur without bobcat")
    assert asked.without == () and any("bobcat" in sentence for sentence in asked.notes)
