"""What must not be in the project: printing outside the command line, unfinished lines, paths of a machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "callosum"
HOME = re.compile(r"(?<![\w.])/(?:home|root|Users|work|tmp)/\w")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|NotImplementedError)\b")


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    files = [ROOT / name for name in names.split("\0") if name]
    return [p for p in files if p.is_file() and p.suffix in {".py", ".md", ".toml", ".txt", ".json", ".html", ""}]


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda p: str(p.relative_to(SRC)))
def test_source(path: Path) -> None:
    text = path.read_text()
    assert not UNFINISHED.search(text)
    assert not HOME.search(text)


def test_no_path_of_a_machine_is_tracked() -> None:
    found = [str(p.relative_to(ROOT)) for p in tracked() if HOME.search(p.read_text(errors="replace"))]
    assert found in ([], ["tests/architecture/test_words.py"])
