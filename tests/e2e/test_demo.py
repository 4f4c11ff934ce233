"""`callosum demo`: without network, with a page that asks nothing of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

NO_NETWORK = """
import socket
def refuse(self, address):
    raise OSError("no network")
plain = socket.socket.connect
def connect(self, address):
    return plain(self, address) if self.family == socket.AF_UNIX else refuse(self, address)
socket.socket.connect = connect
socket.getaddrinfo = lambda *a, **k: refuse(None, None)
from callosum.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    for _ in range(2):  # it can be run again
        done = subprocess.run(
            [sys.executable, "-c", NO_NETWORK, "demo"], capture_output=True, text=True, cwd=folder, check=False
        )
        assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_echocardiogram_answers_the_question(demo: tuple[Path, str]) -> None:
    _, output = demo
    assert "ultrasound of the heart" in output
    answer = output.split("ultrasound of the heart", 1)[1]
    assert re.search(r"1\W[^\n]*\n?[^\n]*examples_ybr_color\.dcm", answer), answer[:800]


def test_the_page_holds_everything_itself(demo: tuple[Path, str]) -> None:
    folder, output = demo
    page = Path(output.strip().splitlines()[-1].removeprefix("Page: "))
    assert page == folder / "callosum-demo" / "index.html"
    html = page.read_text()
    assert html.count("data:image/jpeg;base64,") >= 20
    assert not re.search(r"(?:src|href)=[\"'](?!data:)", html)
    assert not re.search(r"https?://", html)
    assert "no diagnosis" in html or "nothing here is a diagnosis" in html
    for code in ("NOT_AN_IMAGE", "METADATA_ONLY", "REJECT"):
        assert code in html
