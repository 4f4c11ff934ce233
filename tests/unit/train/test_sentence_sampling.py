import numpy as np
import pytest

from callosum.core.errors import UsageError
from callosum.train.chance import keys
from callosum.train.sentences import (
    Rewording,
    SentenceConfig,
    Take,
    draw_sentences,
    report_sentences,
    reworded,
    text_key,
)

REPORT = """INDICATION: Evaluate for pneumonia in this patient.
FINDINGS: The heart is enlarged. Lungs are clear. Stable.
IMPRESSION: Cardiomegaly without edema."""


def test_only_what_was_found_is_shown() -> None:
    found = report_sentences(REPORT)
    assert found == ("The heart is enlarged.", "Lungs are clear.", "Stable.", "Cardiomegaly without edema.")


def test_redacted_sentences_are_left_out() -> None:
    assert report_sentences("FINDINGS: XXXX XXXX XXXX. The lungs are clear.") == ("The lungs are clear.",)


def test_a_caption_is_one_sentence() -> None:
    caption = "Chest film.  Indication: fever. "
    assert report_sentences(caption, is_report=False) == ("Chest film. Indication: fever.",)
    assert report_sentences("  ", is_report=False) == report_sentences("  ") == ()


@pytest.mark.parametrize(("take", "wanted"), [(Take.ONE, 1), (Take.SOME, 2), (Take.WHOLE, 4)])
def test_as_many_as_asked_in_the_order_written(take: Take, wanted: int) -> None:
    config = SentenceConfig(take=take, num_sentences=2)
    for number in range(20):
        chosen = draw_sentences(report_sentences(REPORT), config, keys(number))
        assert len(chosen) == wanted
        assert np.all(np.diff(chosen) > 0)


def test_every_long_sentence_is_drawn_and_no_short_one() -> None:
    drawn = {int(draw_sentences(report_sentences(REPORT), SentenceConfig(), keys(n))[0]) for n in range(100)}
    assert drawn == {0, 1, 3}


def test_short_sentences_are_drawn_where_there_is_no_other() -> None:
    assert {int(draw_sentences(("Stable.", "Normal."), SentenceConfig(), keys(n))[0]) for n in range(30)} == {0, 1}


def test_text_key_and_bad_settings() -> None:
    assert text_key(" No\nEdema. ") == text_key("no edema.")
    with pytest.raises(UsageError, match="num_sentences"):
        SentenceConfig(num_sentences=0)


def test_eda_rewords_half_of_the_texts_and_little_of_each() -> None:
    text = " ".join(f"w{n}" for n in range(20))
    found = [reworded(text, Rewording.EDA, keys(0, n)) for n in range(2000)]
    assert found == [reworded(text, Rewording.EDA, keys(0, n)) for n in range(2000)]
    same = [each == text for each in found]
    assert 0.5 < np.mean(same) < 0.62  # a deletion of a tenth leaves one in eight as it was
    shorter = [20 - len(each.split()) for each in found if len(each.split()) < 20]
    assert np.mean(shorter) == pytest.approx(2.0 / (1 - 0.9**20), rel=0.1)
    swapped = [each.split() for each in found if each != text and len(each.split()) == 20]
    assert 0.2 < len(swapped) / len(found) < 0.3
    assert all(sorted(words) == sorted(text.split()) for words in swapped)
    assert all(sum(a != b for a, b in zip(words, text.split(), strict=True)) <= 4 for words in swapped)
    assert reworded(text, Rewording.NONE, keys(0)) == text
    assert {reworded("clear", Rewording.EDA, keys(n)) for n in range(50)} == {"clear"}
    assert all(reworded("no edema", Rewording.EDA, keys(n)).split() for n in range(200))
