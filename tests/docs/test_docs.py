"""Every command and every Python example that the documents show is run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from callosum.core.record import Answer
from callosum.data.readers.refusal import Reason

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def blocks(page: Path, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(page.read_text()) if found == language]


@pytest.fixture
def desk(tmp_path: Path, pydicom_files: Path) -> Path:
    """The folder that the documents assume: scans/ and study/."""
    (tmp_path / "scans").mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "examples_ybr_color.dcm", "693_J2KI.dcm"):
        shutil.copy(pydicom_files / name, tmp_path / "scans")
    (tmp_path / "study" / "images").mkdir(parents=True)
    for n in (1, 2):
        picture = np.random.default_rng(n).integers(0, 255, (64, 64), dtype=np.uint8)
        PilImage.fromarray(picture).save(tmp_path / "study" / "images" / f"{n}.png")
    manifest = blocks(ROOT / "docs" / "guide" / "first-steps.md", "csv")[0]
    (tmp_path / "study" / "manifest.csv").write_text(manifest)
    return tmp_path


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "console")], ids=lambda p: p.name)
def test_commands_run(page: Path, desk: Path) -> None:
    callosum = f'"{sys.executable}" -m callosum'
    for line in "".join(blocks(page, "console")).splitlines():
        command = line.removeprefix("$ ")
        assert line.startswith("$ "), line
        if command.startswith(". "):
            continue
        command = re.sub(r"(^|\| )callosum\b", rf"\1{callosum}", command)
        done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=desk, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_runs(page: Path, desk: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=desk, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_readme_maps_every_package() -> None:
    readme = (ROOT / "README.md").read_text()
    packages = {p.parent.name for p in (ROOT / "src" / "callosum").glob("*/__init__.py")}
    assert {name for name in packages if f"\n  {name}/" not in readme} == set()


CODE_IN_SOURCE = re.compile(r'(?:code=|_Lost\(|doubt\(|Answer\.\w+, )"([A-Z_]+)"')


def test_every_answer_and_code_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "inputs.md").read_text()
    sources = "\n".join(p.read_text() for p in (ROOT / "src" / "callosum").rglob("*.py"))
    codes = {*Answer, *Reason, *CODE_IN_SOURCE.findall(sources)}
    assert {"TINY", "TIMEOUT", "ID_CONFLICT"} <= codes
    assert {str(code) for code in codes if f"`{code}`" not in page} == set()
