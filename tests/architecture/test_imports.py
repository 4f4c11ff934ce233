"""The import rules that a layers contract cannot say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "callosum"
MODULES = sorted(SRC.rglob("*.py"))
EDGE = {  # heavy dependency -> the rooms that may import it
    "click": ("cli/",),
    "jinja2": ("cli/",),
    "rich": ("cli/",),
    "lancedb": ("archive/",),
    "pyarrow": (
        "archive/",
        "search/grouped.py",
        "data/manifest.py",
        "data/datasets/",
        "train/",
        "cli/commands/embed.py",
    ),
    "pydicom": ("data/readers/dicom", "data/report/sr.py", "data/slides/dicom_slide.py", "cli/commands/demo.py"),
    "imagecodecs": ("data/readers/",),
    "nibabel": ("data/readers/nifti",),
    "openslide": ("data/slides/native.py",),
    "tifffile": ("data/readers/raster.py", "data/readers/tiff.py", "data/slides/"),
    "torch": ("models/", "objectives/", "train/"),
    "tokenizers": ("models/tokenizer", "train/"),
    "safetensors": ("models/", "train/"),
    "huggingface_hub": ("models/checkpoints/pull.py",),
}
CHANNEL = "data/channel.py"  # between this package's own processes; names towards the jail only
BOUNDED = {"data/channel.py": {"pickle"}}  # what a jail sends is unpickled without any name
FORBIDDEN = {"pickle", "torchvision", "timm", "transformers", "open_clip"}


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    found |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    return {name.split(".")[0] for name in found}


def at_import_time(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_heavy_imports_stay_in_their_rooms(path: Path) -> None:
    here = str(path.relative_to(SRC))
    used = imports(path)
    for heavy, rooms in EDGE.items():
        assert heavy not in used or here.startswith(rooms), f"{here} imports {heavy}"
    forbidden = FORBIDDEN - ({"pickle"} if here == CHANNEL else set())
    assert not used & forbidden, f"{here} imports {used & forbidden}"


@pytest.mark.parametrize("path", [p for p in MODULES if p.is_relative_to(SRC / "core")], ids=lambda p: p.name)
def test_core_needs_numpy_only(path: Path) -> None:
    assert imports(path) <= {"numpy", "jaxtyping", "callosum"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", [p for p in MODULES if p.is_relative_to(SRC / "cli")], ids=lambda p: p.name)
def test_commands_import_the_rest_when_they_are_called(path: Path) -> None:
    assert at_import_time(path) <= {"click", "callosum"} | set(sys.stdlib_module_names)


def loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import callosum",
        "from click.testing import CliRunner; from callosum.cli.main import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0",
    ],
    ids=["import callosum", "callosum --help"],
)
def test_light_ways_in_load_neither_numpy_nor_torch(code: str) -> None:
    assert not {"torch", "numpy", "pydicom", "lancedb", "pyarrow", "rich", "PIL"} & loaded_by(code)


def test_a_text_query_needs_no_torch() -> None:
    code = "import callosum; callosum.load_encoder('starter').encode_text(['a chest x-ray'])"
    assert "torch" not in loaded_by(code)
