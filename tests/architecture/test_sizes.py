"""Small modules, small functions, and settings of one shape."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "callosum"
MODULES = sorted(SRC.rglob("*.py"))
MAX_LINES = 400
MAX_BODY = 60
DRAWERS = {"utils", "helpers", "common", "misc", "base", "manager", "handler", "processor"}


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    is_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    body = node.body[1:] if is_doc else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_module(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    assert path.stem not in DRAWERS
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "every module says what it is for"
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert body_lines(node) <= MAX_BODY, f"{node.name} has {body_lines(node)} lines"
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
            assert "frozen=True" in ast.unparse(node.decorator_list[0]), f"{node.name} is frozen"
            assert "kw_only=True" in ast.unparse(node.decorator_list[0]), f"{node.name} is keyword-only"


@pytest.mark.parametrize("package", sorted({p.parent for p in MODULES if p.parent != SRC}), ids=lambda p: p.name)
def test_a_package_names_its_modules(package: Path) -> None:
    documented = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    modules = {p.stem for p in package.glob("*.py")} - {"__init__"}
    modules |= {p.name for p in package.iterdir() if p.is_dir() and (p / "__init__.py").exists()}
    missing = {name for name in modules if f"\n{name} " not in f"\n{documented}"}
    assert not missing, f"{package.name}/__init__.py does not say what these are: {sorted(missing)}"
