"""What holds for every objective: gradients, order of rows, shares of a batch, and bad input."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from callosum.core.errors import CallosumError, InputError
from callosum.objectives.objective import Need, Objective
from callosum.objectives.pairs import FalseNegatives
from callosum.objectives.registry import ObjectiveName, build_objective
from callosum.objectives.views import Share, Side, Views
from tests.unit.objectives.batches import batch, leaves, side, value_and_gradients

EVERY = [
    build_objective(name, {"equal_text": text, "equal_patient": patient})
    for name, (text, patient) in itertools.product(ObjectiveName, [("keep", "keep"), ("positive", "mask")])
    # What ties do is common to all; regions and words take long.
    if (name, text) != (ObjectiveName.GLORIA, "keep")
]
PLAIN = [build_objective(name) for name in ObjectiveName]
every_objective = pytest.mark.parametrize("objective", EVERY, ids=str)


@every_objective
def test_gradcheck(objective: Objective) -> None:
    views, found = leaves(batch(num_rows=4))

    def loss(*parts: torch.Tensor) -> torch.Tensor:
        image = replace(views.image, embedding_ND=parts[0], token_NLD=parts[1])
        text = replace(views.text, embedding_ND=parts[2], token_NLD=parts[3])
        given = Views(image=image, text=text, logit_scale=parts[4], logit_bias=parts[5])
        # Every leaf takes part, so that one which an objective ignores must have gradient zero.
        return objective(given)["loss"] + 0.0 * sum(part.sum() for part in parts)

    assert torch.autograd.gradcheck(loss, tuple(found), fast_mode=True)


@every_objective
@settings(max_examples=4, deadline=None)
@given(order=st.permutations(range(7)), other=st.permutations(range(7)))
def test_the_order_of_rows_does_not_matter(objective: Objective, order: list[int], other: list[int]) -> None:
    views = batch()
    moved = replace(views, image=views.image.rows(torch.tensor(order)), text=views.text.rows(torch.tensor(other)))
    for name, term in objective(views).items():
        assert float(objective(moved)[name]) == pytest.approx(float(term), rel=1e-9, abs=1e-9), name


@every_objective
def test_the_mean_over_shares_is_the_whole(objective: Objective) -> None:
    views = batch()
    whole = value_and_gradients(objective, views)
    shares = [
        Share(image_rows=slice(0, 3), text_rows=slice(0, 2), num_processes=2),
        Share(image_rows=slice(3, 7), text_rows=slice(2, 7), num_processes=2),
    ]

    def mean(given: Views) -> dict[str, torch.Tensor]:
        return {"loss": torch.stack([objective(replace(given, share=share))["loss"] for share in shares]).mean()}

    for ours, theirs in zip(value_and_gradients(mean, views), whole, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@every_objective
def test_terms_for_the_log_have_no_graph_and_are_finite(objective: Objective) -> None:
    terms = objective(leaves(batch())[0])
    assert terms["loss"].requires_grad
    for name, term in terms.items():
        assert bool(term.isfinite()), name
        assert name == "loss" or not term.requires_grad, name


@every_objective
def test_what_is_needed_is_enough_and_used(objective: Objective) -> None:
    views = batch()
    spare = {"token_NLD": None, "token_mask_NL": None} if Need.TOKENS not in objective.needs else {}
    if Need.FINDINGS not in objective.needs:
        spare |= {"present_NK": None, "uncertain_NK": None}
    lean = Views(
        image=replace(views.image, **spare),
        text=replace(views.text, **spare),
        logit_scale=views.logit_scale if Need.SCALE in objective.needs else None,
        logit_bias=views.logit_bias if Need.BIAS in objective.needs else None,
    )
    assert float(objective(lean)["loss"]) == pytest.approx(float(objective(views)["loss"]), rel=1e-12)
    for need, lacking in (
        (Need.SCALE, replace(views, logit_scale=None)),
        (Need.BIAS, replace(views, logit_bias=None)),
        (Need.FINDINGS, replace(views, image=bare(views.image), text=bare(views.text))),
        (Need.TOKENS, replace(views, image=bare(views.image), text=bare(views.text))),
    ):
        if need in objective.needs:
            with pytest.raises(InputError):
                objective(lacking)


def bare(part: Side) -> Side:
    return Side(embedding_ND=part.embedding_ND, pair_N=part.pair_N, text_N=part.text_N, patient_N=part.patient_N)


@every_objective
def test_one_row_has_nothing_to_compare_with(objective: Objective) -> None:
    views = batch()
    one = replace(views, image=views.image.rows(slice(0, 1)), text=views.text.rows(slice(0, 1)))
    values = value_and_gradients(objective, one)
    assert all(bool(v.isfinite().all()) for v in values)
    if Need.BIAS not in objective.needs:
        assert float(values[0]) == pytest.approx(0.0, abs=1e-12)


@every_objective
def test_all_texts_equal_and_all_patients_equal(objective: Objective) -> None:
    views = batch()
    same = torch.zeros(7, dtype=torch.int64)
    sides = [replace(part, text_N=same, patient_N=same) for part in (views.image, views.text)]
    values = value_and_gradients(objective, replace(views, image=sides[0], text=sides[1]))
    assert all(bool(v.isfinite().all()) for v in values)


@every_objective
def test_no_row_has_a_positive(objective: Objective) -> None:
    """Softmax over own pairs is zero then; sigmoids see negatives only; findings need no pairs."""
    views = batch()
    alone = torch.full((7,), -1)
    sides = [
        replace(part, pair_N=alone, text_N=alone, patient_N=alone, present_NK=torch.zeros(7, 4, dtype=torch.float64))
        for part in (views.image, views.text)
    ]
    values = value_and_gradients(objective, replace(views, image=sides[0], text=sides[1]))
    assert all(bool(v.isfinite().all()) for v in values)
    if not objective.needs & {Need.BIAS, Need.FINDINGS}:
        assert float(values[0]) == 0.0
        assert all(float(v.abs().max()) == 0.0 for v in values)


@pytest.mark.parametrize("objective", [o for o in EVERY if Need.FINDINGS in o.needs], ids=str)
def test_a_row_of_which_every_pair_is_left_out_does_not_count(objective: Objective) -> None:
    masked = replace(objective, equal_patient=FalseNegatives.MASK, equal_text=FalseNegatives.KEEP)  # type: ignore[type-var]
    views = batch()
    patient, pair = torch.zeros(7, dtype=torch.int64), torch.arange(7)
    pair[6] = -1
    image = replace(views.image, patient_N=patient, pair_N=pair)
    text = replace(views.text, patient_N=patient, pair_N=pair)
    values = value_and_gradients(masked, replace(views, image=image, text=text))
    assert all(bool(v.isfinite().all()) for v in values)
    assert float(values[1][6].abs().max()) == 0.0
    assert math.isclose(float(values[0]), 0.0, abs_tol=1e-12)


@given(
    num_image=st.integers(0, 4),
    num_text=st.integers(0, 4),
    value=st.sampled_from([0.0, 1.0, math.nan, math.inf, 1e30]),
    label=st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0, math.nan]),
)
@settings(max_examples=25, deadline=None)
def test_any_batch_gives_a_finite_loss_or_a_typed_error(
    num_image: int, num_text: int, value: float, label: float
) -> None:
    for objective in PLAIN:
        try:
            sides = []
            for seed, number in ((1, num_image), (2, num_text)):
                part = side(seed, num_rows=7).rows(slice(0, number))
                embedding = part.embedding_ND.clone()
                embedding[0, 0] = value
                present = part.present_NK.clone()  # type: ignore[union-attr]
                present[0, 0] = label
                sides.append(replace(part, embedding_ND=embedding, present_NK=present, uncertain_NK=None))
            views = Views(image=sides[0], text=sides[1], logit_scale=batch().logit_scale, logit_bias=batch().logit_bias)
            loss = objective(views)["loss"]
        except CallosumError:
            assert num_image == 0 or num_text == 0 or not math.isfinite(value) or not 0 <= label <= 1
        else:
            assert bool(loss.isfinite())
