"""The assertion engine: places, cues, the table, and texts that are no sentences."""

import time

import pytest

from callosum.core.errors import InputError, UsageError
from callosum.core.finding import Assertion, Change, Experiencer, Presence, Temporality
from callosum.knowledge.assertion import ReadSentence, assess
from callosum.knowledge.assertion.cues import CueBook, Direction, Effect, Reach, read_cues
from callosum.knowledge.assertion.tokens import read_tokens


def say(sentence: str, concept: str, book: CueBook | None = None) -> Assertion:
    start = sentence.index(concept)
    return ReadSentence(sentence, book).assess(start, start + len(concept))


def row(phrase: str, effect: str = "negate", direction: str = "forward", reach: str = "list") -> dict[str, str]:
    return {"rule": "test", "effect": effect, "direction": direction, "reach": reach, "phrase": phrase}


def test_cues_are_the_words_that_decided() -> None:
    sentence = "No significant effusion, however a possible small mass."
    said = say(sentence, "effusion")
    assert [sentence[start:end] for start, end in said.cues] == ["No"]
    said = say(sentence, "mass")
    assert [sentence[start:end] for start, end in said.cues] == ["possible"]
    assert say("Effusion.", "Effusion").cues == ()


def test_several_axes_at_once() -> None:
    said = say("His father had no history of lung cancer.", "lung cancer")
    assert said.presence is Presence.ABSENT
    assert said.temporality is Temporality.HISTORICAL
    assert said.experiencer is Experiencer.OTHER
    said = say("History of possible seizure.", "seizure")
    assert (said.presence, said.temporality) == (Presence.UNCERTAIN, Temporality.HISTORICAL)


def test_a_cue_that_runs_into_the_concept_is_cut_short() -> None:
    assert say("No change in bowel habits.", "change in bowel habits").presence is Presence.ABSENT
    assert say("No change in the effusion.", "effusion").change is Change.STABLE


def test_a_denial_inside_the_concept_is_part_of_it() -> None:
    assert say("Neck: no adenopathy.", "no adenopathy").presence is Presence.PRESENT


def test_a_time_inside_the_concept_counts() -> None:
    assert say("He is status post splenectomy.", "status post splenectomy").temporality is Temporality.HISTORICAL
    assert say("Long psychiatric history.", "psychiatric history").temporality is Temporality.HISTORICAL


def test_a_chronic_condition_that_stands_alone_is_history() -> None:
    assert say("Type 2 diabetes.", "Type 2 diabetes").temporality is Temporality.HISTORICAL
    assert say("Type 2 diabetes with nephropathy.", "Type 2 diabetes").temporality is Temporality.RECENT
    assert say("Emphysema.", "Emphysema").temporality is Temporality.RECENT


def test_a_catheter_whose_tip_is_not_seen_is_there() -> None:
    assert say("The tip of the catheter is not seen.", "catheter").presence is Presence.PRESENT
    assert say("The catheter is not seen.", "catheter").presence is Presence.ABSENT


def test_a_habit_or_an_allergy_is_a_standing_fact_whose_words_are_no_cue() -> None:
    said = say("Denies heavy alcohol use.", "heavy alcohol use")
    assert (said.presence, said.temporality) == (Presence.ABSENT, Temporality.HISTORICAL)
    assert said.cues == ((0, 6),)
    assert say("Smoke-free home, rash.", "rash").temporality is Temporality.RECENT


def test_a_doubt_leans_only_when_nothing_doubts_outright() -> None:
    assert say("Probable hematoma.", "hematoma").leans
    assert not say("Possible hematoma versus abscess.", "hematoma").leans
    assert not say("No probable hematoma.", "hematoma").leans
    assert not say("Evaluate for probable hematoma.", "hematoma").leans


@pytest.mark.parametrize("place", [(-1, 2), (3, 3), (0, 99), (5, 2)])
def test_a_place_outside_the_sentence_is_refused(place: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="start < end"):
        assess("No effusion.", *place)


def test_marks_and_blanks_may_be_asked_about() -> None:
    assert assess("...", 0, 3) == Assertion()
    assert assess("   ", 1, 2) == Assertion()


def test_placeholders_are_no_words() -> None:
    assert read_tokens("No XXXX of ___ a [**Location**] mass **DATE[May 2 2007].").words == [
        "no",
        "of",
        "a",
        "mass",
        ".",
    ]


def test_full_stops_that_end_nothing() -> None:
    assert "." not in read_tokens("Seen by Dr. Smith vs. a 1.5 cm node").words
    assert read_tokens("No edema. Mass").words == ["no", "edema", ".", "mass"]


def test_an_own_table() -> None:
    book = CueBook(
        [row("kein (nachweis|anhalt)"), row("kein"), row("(nicht|nirgends) [zu] sehen", direction="backward")]
    )
    assert say("kein Nachweis Erguss", "Erguss", book).presence is Presence.ABSENT
    assert say("Erguss nicht zu sehen", "Erguss", book).presence is Presence.ABSENT
    assert say("no Erguss", "Erguss", book).presence is Presence.PRESENT


def test_the_longest_cue_wins_and_void_keeps_its_words() -> None:
    book = CueBook([row("no"), row("no doubt", effect="void")])
    assert [(c.first, c.after, c.cue.effect) for c in book.find(["no", "doubt", "no"])] == [
        (0, 2, Effect.VOID),
        (2, 3, Effect.NEGATE),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        row("no", effect="deny"),
        row("no", direction="up"),
        row("no", reach="far"),
        row("no (more"),
        row("[no]"),
        row(""),
    ],
)
def test_a_row_that_cannot_be_read_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"cue|should"):
        CueBook([wrong])


def test_the_shipped_table_names_its_rules() -> None:
    book = read_cues()
    found = book.find("no evidence of a mass which cannot be excluded".split())
    assert [(c.cue.rule, c.cue.direction, c.cue.reach) for c in found] == [
        ("no", Direction.FORWARD, Reach.LIST),
        ("which", Direction.BOTH, Reach.CLAUSE),
        ("cannot exclude", Direction.BACKWARD, Reach.LIST),
    ]


@pytest.mark.parametrize("words", ["no effusion and ", "effusion, ", "?", "no ", "history of ", "which "])
def test_time_is_linear_in_the_text(words: str) -> None:
    took = []
    for length in (4_000, 16_000):
        text = words * (length // len(words)) + " effusion"
        start = time.process_time()
        read = ReadSentence(text)
        for place in range(0, len(text) - 8, 40):
            read.assess(place, place + 8)
        took.append(time.process_time() - start)
    assert took[1] < 12 * took[0] + 0.05
