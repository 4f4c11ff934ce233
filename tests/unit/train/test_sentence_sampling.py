import numpy as np
import pytest

from callosum.core.errors import UsageError
from callosum.train.chance import keys
from callosum.train.sentences import SentenceConfig, Take, draw_sentences, report_sentences, text_key

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
