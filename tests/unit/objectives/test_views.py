from dataclasses import fields, replace

import pytest
import torch

from callosum.core.errors import InputError
from callosum.core.finding import Presence
from callosum.objectives.views import Side, Views, join_sides, key_codes, labels_from
from tests.unit.objectives.batches import batch, plain, side, unit

NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embedding_ND": torch.ones(7, 5, dtype=torch.float16)}, "float32 or float64"),
        ({"embedding_ND": torch.ones(7, 5).index_fill(0, torch.tensor([2]), NAN)}, "not finite"),
        ({"embedding_ND": torch.ones(7, 5) * float("inf")}, "not finite"),
        ({"present_NK": torch.full((7, 4), 1.5), "uncertain_NK": None}, "0..1"),
        ({"present_NK": torch.full((7, 4), -1.0), "uncertain_NK": None}, "0..1"),
        ({"present_NK": torch.full((7, 4), NAN)}, "not finite"),
        ({"present_NK": torch.ones(7, 0), "uncertain_NK": None}, "list is empty"),
        ({"present_NK": None}, "without the findings"),
        ({"token_mask_NL": torch.zeros(7, 4, dtype=torch.bool)}, "no token"),
        ({"token_NLD": None}, "token mask"),
        ({"token_NLD": torch.ones(7, 0, 5), "token_mask_NL": None}, "at least one"),
    ],
)
def test_a_side_says_what_is_wrong_with_it(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(side(1), **change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pair_N": torch.arange(6)}, "6 rows"),
        ({"token_NLD": torch.ones(8, 4, 5)}, "8 rows"),
        ({"uncertain_NK": torch.zeros(7, 3, dtype=torch.bool)}, "marks of uncertainty"),
        ({"token_mask_NL": torch.ones(7, 3, dtype=torch.bool)}, "token mask"),
    ],
)
def test_lengths_are_checked_also_where_shapes_are_not(change: dict[str, object], said: str) -> None:
    # The tests check shapes on the way in; users do not, so the side's own check is called by itself.
    wrong, right = object.__new__(Side), side(1)
    for field in fields(Side):
        object.__setattr__(wrong, field.name, change.get(field.name, getattr(right, field.name)))
    with pytest.raises(InputError, match=said):
        wrong.__post_init__()


def test_an_empty_side() -> None:
    with pytest.raises(InputError, match="no row"):
        side(1).rows(slice(0, 0))


def test_what_stands_in_an_uncertain_cell_does_not_matter() -> None:
    uncertain = torch.zeros(2, 3, dtype=torch.bool)
    uncertain[0, 1] = True
    present = torch.zeros(2, 3)
    for value in (-1.0, NAN):
        present[0, 1] = value
        assert Side(embedding_ND=torch.ones(2, 2), present_NK=present, uncertain_NK=uncertain) is not None


def test_sides_that_do_not_fit() -> None:
    one, other = Side(embedding_ND=unit(3, 4, seed=0)), Side(embedding_ND=unit(2, 4, seed=1))
    with pytest.raises(InputError, match="pair keys"):
        Views(image=one, text=other)
    with pytest.raises(InputError, match="pair keys"):
        Views(image=one, text=replace(one, pair_N=torch.arange(3)))
    with pytest.raises(InputError, match="widths 4 and 5"):
        Views(image=one, text=Side(embedding_ND=unit(3, 5, seed=1)))
    with pytest.raises(InputError, match="one precision"):
        Views(image=one, text=replace(one, embedding_ND=one.embedding_ND.float()))
    with pytest.raises(InputError, match="one side only"):
        Views(image=one, text=replace(one, present_NK=torch.ones(3, 2, dtype=torch.float64)))
    with pytest.raises(InputError, match="found 3 and 2"):
        Views(image=replace(one, present_NK=torch.ones(3, 3)), text=replace(one, present_NK=torch.ones(3, 2)))
    with pytest.raises(InputError, match="logit_scale is not finite"):
        Views(image=one, text=one, logit_scale=torch.tensor(NAN))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(InputError, match="autocast"):
        Views(image=one, text=one)


def test_rows_are_paired_by_number_only_where_no_key_says_otherwise() -> None:
    views = plain(unit(3, 4, seed=0), unit(3, 4, seed=1), torch.tensor(1.0)).paired(start=5)
    assert views.image.pair_N is not None
    assert views.text.pair_N is not None
    assert views.image.pair_N.tolist() == views.text.pair_N.tolist() == [5, 6, 7]
    assert batch().paired() is not None
    assert batch().paired().image.pair_N.tolist() == [0, 1, 2, 3, 4, 5, -1]  # type: ignore[union-attr]


def test_joined_parts_are_the_whole() -> None:
    whole = side(3)
    parts = [whole.rows(slice(0, 3)), whole.rows(torch.tensor([3, 4, 5, 6]))]
    short = replace(parts[0], token_NLD=parts[0].token_NLD[:, :3], token_mask_NL=parts[0].token_mask_NL[:, :3])  # type: ignore[index]
    joined = join_sides([short, parts[1]])
    for name in ("embedding_ND", "pair_N", "text_N", "patient_N", "present_NK", "uncertain_NK", "token_mask_NL"):
        assert torch.equal(getattr(joined, name), getattr(whole, name)), name
    assert torch.equal(joined.token_NLD[whole.token_mask_NL], whole.token_NLD[whole.token_mask_NL])  # type: ignore[index]
    with pytest.raises(InputError, match="patient_N"):
        join_sides([parts[0], replace(parts[1], patient_N=None)])


def test_keys_are_equal_for_equal_texts_only() -> None:
    keys = key_codes(["No effusion.", None, "Effusion.", "No effusion."])
    assert keys[0] == keys[3] != keys[2]
    assert keys[1] == -1
    assert bool((keys[[0, 2, 3]] >= 0).all())
    assert keys[2] == 3660406085066775662


def test_findings_from_presence() -> None:
    rows = [[Presence.PRESENT, Presence.ABSENT], [Presence.UNCERTAIN, Presence.UNMENTIONED]]
    present, uncertain = labels_from(rows)
    assert present.tolist() == [[1, 0], [0, 0]]
    assert uncertain.tolist() == [[False, False], [True, False]]
    silent = labels_from(rows, unknown=(Presence.UNCERTAIN, Presence.UNMENTIONED))[1]
    assert silent.tolist() == [[False, False], [True, True]]
