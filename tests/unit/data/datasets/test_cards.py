"""Every adapter opens with a whole card, and the reference page says what the cards say."""

from dataclasses import fields
from pathlib import Path

import pytest

from callosum.core.errors import NotFound
from callosum.data.datasets import DATASETS, Card, open_dataset, read_card
from callosum.data.datasets.page import datasets_page

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "datasets.md"


@pytest.mark.parametrize("name", DATASETS)
def test_a_card_is_whole(name: str) -> None:
    card = read_card(name)
    assert card.name == name
    empty = [field.name for field in fields(Card) if not getattr(card, field.name)]
    own = {"csv-pairs", "folder-pairs", "manifest"}
    assert set(empty) <= ({"notes", "citation"} if name in own else {"notes"})


def test_a_name_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean 'chexpert'"):
        open_dataset("chexprt", ".")


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == datasets_page(), "write it again with datasets_page()"
