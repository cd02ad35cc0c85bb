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

ROOT = {"__init__", "__main__", "version", "errors", "distribution", "method", "flips", "files"}
FLOORS = (
    "errors",
    "version",
    "flips",
    "files",
    "distribution",
    "method",
    "nn",
    "metrics",
    "data",
    "methods",
    "prediction",
    "evaluation",
    "training",
    "runs",
    "figures",
    "report",
    "compare",
    "commands",
)
"""From the bottom up: a room imports from lower ones, and from itself."""
KNOW_METHODS = {"runs", "commands"}
"""Everything else knows the interface of a method, and none by name."""


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


def test_the_root_holds_what_everybody_may_use() -> None:
    assert {module for module in FILES if "." not in module} == ROOT
    assert {part(module) for module in FILES} == ROOT | set(FLOORS)


@pytest.mark.parametrize("module", sorted(set(FILES) - {"__init__", "__main__"}))
def test_imports_point_downwards(module: str) -> None:
    room = part(module)
    for imported in imports(FILES[module]):
        other = part(imported)
        assert FLOORS.index(other) <= FLOORS.index(room), f"{module} must not import {imported}: it is higher up"
        assert other != "methods" or room in KNOW_METHODS | {"methods"}, f"{module} must not know the methods"
        if room == "methods" and module != "methods.__init__":
            assert other != "methods", f"{module} must not import {imported}: methods never import methods"


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
        ("from plurimask.commands.main import main; main(['--help'])", ("torch", "lightning", "numpy")),
        (
            "import plurimask.runs.load, plurimask.prediction.files, plurimask.report.page",
            ("lightning",),
        ),
    ],
)
def test_heavy_imports_wait_until_they_are_needed(statement: str, absent: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint('LOADED', [name for name in {absent!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "LOADED []"
