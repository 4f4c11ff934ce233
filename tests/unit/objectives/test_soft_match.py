import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from callosum.core.errors import InputError, UsageError
from callosum.objectives import blockwise
from callosum.objectives.pairs import FalseNegatives
from callosum.objectives.soft_match import MedClip, TargetSimilarity, UncertainFinding
from callosum.objectives.views import Side, Views
from tests.unit.objectives.batches import batch, golden, plain, side, unit, value_and_gradients

AS_RELEASED = MedClip(targets=TargetSimilarity.DOT, uncertain=UncertainFinding.MINUS_ONE)


def labelled(image: Tensor, text: Tensor, image_labels: Tensor, text_labels: Tensor, scale: Tensor) -> Views:
    """Embeddings with label files' values: -1 is uncertain."""
    sides = [
        Side(embedding_ND=rows, present_NK=labels.clamp_min(0.0), uncertain_NK=labels < 0)
        for rows, labels in ((image, image_labels), (text, text_labels))
    ]
    return Views(image=sides[0], text=sides[1], logit_scale=scale)


def test_equals_medclip_in_value_and_gradient() -> None:
    g = golden("medclip_tiny")
    scale = g["fix_logit_scale"].float().exp()
    views = labelled(g["fix_img"], g["fix_txt"], g["fix_img_labels"], g["fix_txt_labels"], scale)
    loss, image, text, by_scale = value_and_gradients(AS_RELEASED, views)
    assert float(loss) == pytest.approx(float(g["fix_soft_loss"]), rel=1e-5)
    assert torch.allclose(image, g["fix_grad_img"], rtol=1e-4, atol=1e-5 * float(g["fix_grad_img"].abs().max()))
    assert torch.allclose(text, g["fix_grad_txt"], rtol=1e-4, atol=1e-5 * float(g["fix_grad_txt"].abs().max()))
    assert float(by_scale * scale) == pytest.approx(float(g["fix_grad_logit_scale"]), rel=1e-5)


def test_equals_medclip_on_its_towers_with_augmented_sentences() -> None:
    g = golden("medclip_tiny")
    image, text, scale = g["img_embeds"], g["text_embeds"][:4], torch.tensor(1 / 0.07)
    plain_loss = AS_RELEASED(labelled(image, text, g["img_labels"], g["text_labels"], scale))["loss"]
    assert float(plain_loss) == pytest.approx(float(g["soft_loss"]), rel=1e-5)
    augmented = AS_RELEASED(labelled(image, text[g["aug_perm"]], g["img_labels"], g["text_labels"], scale))["loss"]
    assert float(plain_loss + augmented) / 2 == pytest.approx(float(g["soft_loss_with_aug"]), rel=1e-5)


def naive(objective: MedClip, views: Views) -> Tensor:
    """The whole matrix, pair by pair, from the words of the settings."""
    image, text = views.image, views.text
    N, M = len(image), len(text)
    similarity = torch.zeros(N, M, dtype=torch.float64)
    for n, m in itertools.product(range(N), range(M)):
        a, b = (part.present_NK[k].clone() for part, k in ((image, n), (text, m)))  # type: ignore[index]
        a_doubt, b_doubt = image.uncertain_NK[n], text.uncertain_NK[m]  # type: ignore[index]
        value = {"ignore": 0.0, "zero": 0.0, "half": 0.5, "one": 1.0, "minus_one": -1.0}[objective.uncertain]
        a[a_doubt], b[b_doubt] = value, value
        if objective.uncertain == "ignore":
            a, b = a[~a_doubt & ~b_doubt], b[~a_doubt & ~b_doubt]
        similarity[n, m] = a @ b
        if objective.targets == "cosine":
            similarity[n, m] = functional.cosine_similarity(a, b, dim=0, eps=1e-12) if a.any() and b.any() else 0.0
        ties = set()
        if image.text_N[n] == text.text_N[m] != -1:  # type: ignore[index]
            ties.add(objective.equal_text)
        if image.patient_N[n] == text.patient_N[m] != -1:  # type: ignore[index]
            ties.add(objective.equal_patient)
        own = bool(image.pair_N[n] == text.pair_N[m] != -1)  # type: ignore[index]
        raised = ties & {FalseNegatives.POSITIVE} or (own and FalseNegatives.POSITIVE in ALL(objective))
        if raised:
            similarity[n, m] = max(similarity[n, m], torch.tensor(1.0))
        elif FalseNegatives.MASK in ties and not own:
            similarity[n, m] = float("-inf")
    similarity = similarity / objective.target_temperature
    logits = views.logit_scale * image.embedding_ND @ text.embedding_ND.T  # type: ignore[operator]
    logits = logits.masked_fill(similarity.isneginf(), float("-inf"))
    total = 0.0
    for goal, found in ((similarity, logits), (similarity.T, logits.T)):
        some = ~goal.isneginf().all(dim=1)
        target, guess = goal[some].softmax(dim=1), found[some].log_softmax(dim=1)
        total = total - (target * guess.masked_fill(guess.isneginf(), 0.0)).sum() / some.sum() / 2
    return total


def ALL(objective: MedClip) -> set[FalseNegatives]:
    return {objective.equal_text, objective.equal_patient}


VARIANTS = [
    MedClip(targets=t, uncertain=u, target_temperature=0.4) for t in TargetSimilarity for u in UncertainFinding
] + [MedClip(equal_text=a, equal_patient=b) for a in FalseNegatives for b in FalseNegatives]


@pytest.mark.parametrize("objective", VARIANTS, ids=str)
def test_equals_the_plain_form_in_value_and_gradient(objective: MedClip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(blockwise.BLOCK_CELLS, "cpu", 20)
    monkeypatch.setattr(blockwise, "KEPT_CELLS", 0)
    views = batch(num_rows=9)

    def reference(given: Views) -> dict[str, Tensor]:
        return {"loss": naive(objective, given)}

    for ours, theirs in zip(value_and_gradients(objective, views), value_and_gradients(reference, views), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_the_entropy_of_the_targets_is_told() -> None:
    views = batch()
    for temperature, low, high in ((1.0, 0.9, 1.0), (0.05, 0.2, 0.7)):
        objective = MedClip(target_temperature=temperature, uncertain=UncertainFinding.ZERO)
        labels = [p.present_NK.masked_fill(p.uncertain_NK, 0.0) for p in (views.image, views.text)]  # type: ignore[union-attr,arg-type]
        unit_labels = [functional.normalize(rows, dim=1) for rows in labels]
        target = (unit_labels[0] @ unit_labels[1].T / temperature).softmax(dim=1)
        back = (unit_labels[1] @ unit_labels[0].T / temperature).softmax(dim=1)
        entropy = -sum(float((t * t.log()).sum(dim=1).mean()) for t in (target, back)) / 2
        terms = objective(views)
        assert float(terms["target_entropy"]) == pytest.approx(entropy, rel=1e-9)
        share = float(terms["target_entropy_share"])
        assert share == pytest.approx(entropy / float(torch.tensor(7.0).log()), rel=1e-6)
        assert low < share <= high


def test_rows_need_no_pairs_and_sides_no_equal_length() -> None:
    image, text = side(1), side(2, num_rows=4)
    views = Views(image=replace(image, pair_N=None), text=replace(image, pair_N=None), logit_scale=torch.tensor(2.0))
    assert float(MedClip()(views)["loss"]) > 0
    uneven = Views(image=image, text=text, logit_scale=torch.tensor(2.0, dtype=torch.float64))
    assert float(MedClip()(uneven)["loss"]) == pytest.approx(float(naive(MedClip(), uneven)), rel=1e-9)


@pytest.mark.parametrize("targets", list(TargetSimilarity))
def test_findings_all_absent_make_all_pairs_alike(targets: TargetSimilarity) -> None:
    image, text = unit(5, 4, seed=0), unit(5, 4, seed=1)
    none = torch.zeros(5, 3, dtype=torch.float64)
    views = labelled(image, text, none, none, torch.tensor(4.0, dtype=torch.float64))
    terms = MedClip(targets=targets)(views)
    assert float(terms["target_entropy_share"]) == pytest.approx(1.0, abs=1e-6)
    logits = 4.0 * image @ text.T
    uniform = -(logits.log_softmax(dim=1).mean() + logits.log_softmax(dim=0).mean()) / 2
    assert float(terms["loss"]) == pytest.approx(float(uniform), rel=1e-9)


def test_findings_and_a_temperature_are_needed() -> None:
    with pytest.raises(InputError, match="findings of both sides"):
        MedClip()(plain(unit(2, 3, seed=0), unit(2, 3, seed=1), torch.tensor(1.0)))
    with pytest.raises(UsageError, match="target_temperature"):
        MedClip(target_temperature=0.0)
    with pytest.raises(InputError, match="logit scale"):
        MedClip()(replace(batch(), logit_scale=None))
