"""`callosum extract`: files, standard input, bad input, the page."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callosum.cli.commands.extract import command
from callosum.cli.highlight import TONES, pieces, tone
from callosum.core.errors import CallosumError, InputError, NotFound
from callosum.core.finding import Experiencer, Finding, Presence, Temporality

REPORT = (
    "INDICATION: Evaluate for pneumonia.\n"
    "FINDINGS: Small left pleural effusion without pneumothorax. <b>Cardiomegaly</b>.\n"
    "IMPRESSION: Small effusion."
)


def run(*arguments: str | Path, given: bytes | None = None) -> Result:
    result = CliRunner().invoke(command, list(map(str, arguments)), input=given, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, CallosumError):
        raise result.exception
    return result


def lines(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.txt"
    path.write_text(REPORT)
    return path


def test_json_lines(report: Path) -> None:
    (line,) = lines(run(report, "--json"))
    assert line["schema"] == "callosum.findings/1" and line["text"] == REPORT
    found = [(f["concept"], f["presence"], f["section"], f["words"]) for f in line["findings"]]  # type: ignore[attr-defined]
    assert ("pneumothorax", "absent", "findings", "pneumothorax") in found
    assert ("pneumonia", "uncertain", "indication", "pneumonia") in found
    labels = line["labels"]
    assert isinstance(labels, dict)
    assert (labels["Pleural Effusion"], labels["Pneumothorax"], labels["Pneumonia"]) == (
        "present",
        "absent",
        "unmentioned",
    )


def test_people_see_the_text_and_a_table(report: Path) -> None:
    result = run(report)
    assert "Small left pleural effusion without pneumothorax." in result.stdout
    assert re.search(r"pneumothorax\s+│\s+absent", result.stdout)
    assert "Pleural Effusion: present" in result.stdout


def test_sentences_of_standard_input() -> None:
    result = run("-", "--kind", "sentence", "--json", given=b"no effusion\n\nNodule in the lung.\n")
    found = [(line["source"], [f["presence"] for f in line["findings"]]) for line in lines(result)]  # type: ignore[attr-defined]
    assert found == [("-:1", ["absent"]), ("-:3", ["present"])]


def test_another_scheme(report: Path) -> None:
    (line,) = lines(run(report, "--json", "--scheme", "nih14"))
    assert line["scheme"] == "nih14" and "Effusion" in line["labels"]  # type: ignore[operator]
    assert isinstance(run(report, "--scheme", "nobody").exception, NotFound)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "EMPTY"),
        (bytes(range(256)) * 8, "NOT_TEXT"),
        (b"FINDINGS: Clear. " * 70_000, "FILE_TOO_LARGE"),
        ("BEFUND: Kein Pleuraerguss. Das Herz ist nicht vergrößert, die Lunge ist frei.".encode(), "LANGUAGE"),
    ],
)
def test_bad_input_is_answered(tmp_path: Path, report: Path, data: bytes, code: str) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(data)
    result = run(bad, report, "--json")
    assert result.return_value == 7
    findings, problem = lines(result)
    assert findings["schema"] == "callosum.findings/1"
    assert (problem["schema"], problem["code"]) == ("callosum.problem/1", code)
    assert isinstance(run(bad).exception, InputError)


@pytest.mark.parametrize("text", ["FINDINGS:\nIMPRESSION:\n", "Hello there."])
def test_nothing_found_is_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.txt"
    path.write_text(text)
    (line,) = lines(run(path, "--json"))
    assert line["findings"] == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = run(tmp_path / "none.txt", "--json")
    assert isinstance(result.exception, InputError)
    assert lines(result)[0]["code"] == "UNREADABLE"


def test_nothing_but_empty_lines() -> None:
    assert isinstance(run("-", "--kind", "sentence", given=b"\n \n").exception, InputError)


def test_the_page_holds_everything_and_asks_for_nothing(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run(report, "--html", page).return_value == 0
    html = page.read_text()
    assert "default-src 'none'" in html
    assert not re.search(r"(?:src|href)=|url\(|<script", html)
    assert '<mark class="absent" title="pneumothorax: absent">pneumothorax</mark>' in html
    assert '<span class="cue">without</span>' in html
    assert "&lt;b&gt;" in html and "<b>Cardiomegaly" not in html
    assert "report.txt" in html and str(tmp_path) not in html
    assert all(f'class="{name.split()[0]}"' in html for name in TONES)


def test_pieces_make_up_the_text() -> None:
    def finding(start: int, end: int, presence: Presence = Presence.PRESENT, **more: object) -> Finding:
        return Finding(concept=f"c{start}", presence=presence, span=(start, end), sentence=(0, 10), **more)  # type: ignore[arg-type]

    text = "0123456789"
    found = [
        finding(2, 6),
        finding(4, 8, Presence.ABSENT, cues=((0, 1), (5, 6))),
        finding(9, 10, temporality=Temporality.HISTORICAL),
    ]
    made = pieces(text, found)
    assert "".join(piece.text for piece in made) == text
    assert [(p.text, p.tone) for p in made if p.tone] == [
        ("23", "present"),
        ("4", "present"),
        ("5", "present"),
        ("67", "absent"),
        ("9", "historical"),
    ]
    assert [p.text for p in made if p.is_cue] == ["0", "5"]
    assert tone(finding(0, 1, experiencer=Experiencer.OTHER)) == "other person"
    assert pieces("", []) == []
