from dataclasses import replace

import numpy as np
import pytest
import torch

from callosum.core.errors import InputError, UsageError
from callosum.objectives.local import Gloria, word_pictures
from callosum.objectives.views import Side, Views
from tests.unit.objectives.batches import batch, golden, plain, unit, value_and_gradients


def gloria_views() -> tuple[Views, dict[str, torch.Tensor]]:
    g = golden("gloria_tiny")
    mask = torch.arange(g["words"].shape[2]) < g["cap_lens"][:, None]
    image = Side(embedding_ND=g["img_g"], token_NLD=g["img_l"].flatten(2).transpose(1, 2))
    text = Side(embedding_ND=g["txt_g"], token_NLD=g["words"].transpose(1, 2), token_mask_NL=mask)
    return Views(image=image, text=text), g


def test_equals_gloria() -> None:
    views, g = gloria_views()
    terms = Gloria()(views)
    assert float(terms["global"]) == pytest.approx(float(g["global0"] + g["global1"]), rel=1e-5)
    assert float(terms["local"]) == pytest.approx(float(g["local0"] + g["local1"]), rel=1e-5)
    assert float(terms["loss"]) == pytest.approx(
        float(g["local0"] + g["local1"] + g["global0"] + g["global1"]), rel=1e-5
    )
    _, image_g, image_l, text_g, words = value_and_gradients(Gloria(), views)
    for ours, theirs in (
        (image_g, g["grad_img_g"]),
        (text_g, g["grad_txt_g"]),
        (image_l.transpose(1, 2).reshape(g["grad_img_l"].shape), g["grad_img_l"]),
        (words.transpose(1, 2), g["grad_words"]),
    ):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_the_pictures_of_words_equal_glorias() -> None:
    views, g = gloria_views()
    lengths = g["cap_lens"].tolist()
    assert views.image.token_NLD is not None
    assert views.text.token_NLD is not None
    pictures = word_pictures(views.text.token_NLD[4, : lengths[4]], views.image.token_NLD, temperature=4.0)
    assert torch.allclose(pictures[4].T, g["attn_fn_ctx"][4], atol=2e-5)


def test_each_term_can_be_left_out() -> None:
    views = batch()
    whole, parts = Gloria(local_weight=0.0)(views), Gloria(global_weight=0.0)(views)
    both = Gloria(global_weight=0.5, local_weight=2.0)(views)
    assert float(both["loss"]) == pytest.approx(0.5 * float(whole["loss"]) + 2 * float(parts["loss"]))


def test_masked_tokens_change_nothing() -> None:
    views = batch()
    moved = [
        replace(part, token_NLD=part.token_NLD.masked_fill(~part.token_mask_NL[..., None], 9.0))  # type: ignore[union-attr,operator]
        for part in (views.image, views.text)
    ]
    before, after = Gloria()(views)["loss"], Gloria()(replace(views, image=moved[0], text=moved[1]))["loss"]
    assert float(before) == pytest.approx(float(after), rel=1e-12)


def test_local_score_in_plain_loops() -> None:
    views = batch()
    found = Gloria().local_score(views.image, views.text)
    image, text = views.image, views.text
    for n, m in ((0, 0), (2, 5), (6, 3)):
        regions = image.token_NLD[n][image.token_mask_NL[n]].numpy()  # type: ignore[index]
        words = text.token_NLD[m][text.token_mask_NL[m]].numpy()  # type: ignore[index]
        attention = np.exp(regions @ words.T)
        attention = attention / attention.sum(axis=1, keepdims=True)
        total = 0.0
        for k, word in enumerate(words):
            weight = np.exp(4.0 * attention[:, k])
            picture = (weight / weight.sum()) @ regions
            total += np.exp(5.0 * picture @ word / np.linalg.norm(picture) / np.linalg.norm(word))
        assert float(found[n, m]) == pytest.approx(10.0 * np.log(total), rel=1e-10)


def test_tokens_are_needed_and_temperatures_are_positive() -> None:
    with pytest.raises(InputError, match="regions"):
        Gloria()(plain(unit(2, 3, seed=0), unit(2, 3, seed=1), torch.tensor(1.0)))
    with pytest.raises(UsageError):
        Gloria(word_temperature=0.0)
