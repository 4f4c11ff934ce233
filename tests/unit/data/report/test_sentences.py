"""Where a sentence ends."""

import pytest

from callosum.data.report import parse_report
from callosum.data.report.placeholders import find_placeholders
from callosum.data.report.sentences import split_sentences


def split(text: str) -> list[str]:
    return [text[a:b] for a, b in split_sentences(text, 0, len(text))]


@pytest.mark.parametrize(
    "one",
    [
        "A mass of 3.5 x 2 cm in the right lobe.",
        "Stable, cf. series 3 and Fig. 2.",
        "Discussed with Dr. Smith and Prof. J. R. Doe at 4:30 p.m. on Monday.",
        "Follow-up in 6 mos. is advised.",
        "Changes, e.g. atelectasis, i.e. collapse, vs. pneumonia.",
        "Seen on no. 4 approx. as before.",
        "The lung ... is clear.",
        "Film of [** 2012-3-4 **] and of XXXX. is the same",
        "A line that is broken because\nthe page is narrow.",
        "1. Left effusion.",
        "Is it L. lung or R. lung",
    ],
)
def test_one(one: str) -> None:
    assert split(one) == [one]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Clear. Normal.", ["Clear.", "Normal."]),
        ("Clear.Normal heart.", ["Clear.", "Normal heart."]),
        ("? small mass. Done.", ["? small mass.", "Done."]),
        ("Film 2. Haze, ? mass. Done", ["Film 2.", "Haze, ? mass.", "Done"]),
        ("Mass? No. Node? Yes, big. Done?", ["Mass? No.", "Node? Yes, big.", "Done?"]),
        ("Is it a mass? No mass.", ["Is it a mass?", "No mass."]),
        ("Is it? Yes! Done.", ["Is it?", "Yes!", "Done."]),
        ("A mass of 3.5 x 2 cm. No effusion.", ["A mass of 3.5 x 2 cm.", "No effusion."]),
        ("1. Effusion.\n2. Mass of 3 cm.\n3. Normal", ["1. Effusion.", "2. Mass of 3 cm.", "3. Normal"]),
        ("1. Left effusion. 2. No mass.", ["1. Left effusion.", "2. No mass."]),
        ("- clear\n- normal heart", ["- clear", "- normal heart"]),
        ("Clear lungs\n\nNormal heart", ["Clear lungs", "Normal heart"]),
        ("LUNGS: Clear\nHEART: Normal", ["LUNGS: Clear", "HEART: Normal"]),
        ("Seen in 6 mos. The heart is normal.", ["Seen in 6 mos.", "The heart is normal."]),
        ('He said "clear." Then left.', ['He said "clear."', "Then left."]),
        ("Size 4 mm (image 3). Stable since 2012. Normal.", ["Size 4 mm (image 3).", "Stable since 2012.", "Normal."]),
        ("Clear.\r\nNormal.\rDone.", ["Clear.", "Normal.", "Done."]),
    ],
)
def test_several(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize("mark", ["XXXX", "___", "[**Name 12**]", "<NAME>", "[PERSONALNAME]", "XXXXXX"])
def test_placeholders(mark: str) -> None:
    text = f"Compared with {mark}, no change."
    assert [text[a:b] for a, b in find_placeholders(text)] == [mark]


def test_drawn_lines_are_no_placeholders() -> None:
    assert find_placeholders("a\n__________\nb") == ()
    assert find_placeholders("MAX XX _a_ x__y [see above] <b>") == ()


def test_sentences_that_are_mostly_removed() -> None:
    report = parse_report("FINDINGS: XXXX XXXX XXXX of XXXX. The XXXX lungs are clear. XXXX.")
    assert [s.is_redacted for s in report.sentences] == [True, False, True]
