"""The layout of the code: who may import whom, and how large things may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import plurimask

SOURCE = Path(plurimask.__file__).parent
FILES = {path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", "."): path for path in SOURCE.rglob("*.py")}

LEAVES = {"errors", "flips", "version"}
ALLOWED = {
    "distribution": LEAVES,
    "method": LEAVES | {"distribution"},
    "nn": LEAVES | {"distribution", "nn"},
    "metrics": LEAVES | {"distribution", "metrics"},
    "data": LEAVES | {"distribution", "data"},
    "methods": LEAVES | {"distribution", "method", "nn"},
}
KNOW_METHODS = {"run", "combine", "presets", "cli", "viewer", "report", "commands", "__init__"}


def part(module: str) -> str:
    return module.split(".")[0]


def imports(path: Path) -> set[str]:
    """The modules of plurimask that a file imports, relative to the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "plurimask":
            base = node.module.removeprefix("plurimask").lstrip(".")
            names = [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
            found |= {name if name in FILES else base for name in names}
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("plurimask.") for a in node.names if a.name.startswith("plurimask.")}
    return found - {""}


@pytest.mark.parametrize("module", FILES)
def test_imports_point_downwards(module: str) -> None:
    own = part(module)
    for imported in imports(FILES[module]):
        if own in ALLOWED and module != "methods.__init__":
            assert part(imported) in ALLOWED[own], f"{module} must not import {imported}"
        if part(imported) == "methods":
            assert own in KNOW_METHODS | {"methods"}, f"{module} must not know the methods"
            assert own != "methods" or module == "methods.__init__", f"{module}: methods never import methods"


def test_there_are_no_import_cycles() -> None:
    graph = {module: imports(path) for module, path in FILES.items() if not module.endswith("__init__")}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, f"import cycle: {' -> '.join([*trail, module])}"
        if module not in done:
            for imported in sorted(graph.get(module, set())):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", FILES)
def test_files_and_functions_stay_readable(module: str) -> None:
    text = FILES[module].read_text()
    assert len(text.splitlines()) <= 320, f"{module} is too long"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{module}.{node.name} is too long"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len([a for a in arguments if a.arg != "self"]) <= 6, f"{module}.{node.name}: too many parameters"


def test_the_probabilistic_unet_fits_a_page() -> None:
    assert len(FILES["methods.probabilistic_unet"].read_text().splitlines()) < 120


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from plurimask.cli import main; main(['--help'])", ("torch", "lightning", "numpy")),
        ("import plurimask.run, plurimask.evaluate, plurimask.predict, plurimask.report", ("lightning",)),
    ],
)
def test_heavy_imports_wait_until_they_are_needed(statement: str, absent: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint('LOADED', [name for name in {absent!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "LOADED []"
