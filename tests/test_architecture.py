"""The layout of the code: who may import whom, and how large things may grow."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from make_architecture import DOCS, FILES, FLOORS, imports, page, picture, room

ROOT = {
    "__init__",
    "__main__",
    "version",
    "errors",
    "distribution",
    "method",
    "flips",
    "noise",
    "latent",
}
KNOW_METHODS = {"runs", "commands"}
"""Everything else knows the interface of a method, and none by name."""


def test_the_root_holds_what_everybody_may_use() -> None:
    assert {module for module in FILES if "." not in module} == ROOT
    assert {room(module) for module in FILES} == ROOT | set(FLOORS)


@pytest.mark.parametrize("module", sorted(set(FILES) - {"__init__", "__main__"}))
def test_imports_point_downwards(module: str) -> None:
    own = room(module)
    for imported in imports(FILES[module]):
        other = room(imported)
        assert FLOORS.index(other) <= FLOORS.index(own), f"{module} must not import {imported}: it is higher up"
        assert other != "methods" or own in KNOW_METHODS | {"methods"}, f"{module} must not know the methods"
        if own == "methods" and module != "methods.__init__":
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
    assert len(text.splitlines()) <= 300, f"{module} is too long"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{module}.{node.name} is too long"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len([a for a in arguments if a.arg != "self"]) <= 6, f"{module}.{node.name}: too many parameters"


def test_the_probabilistic_unet_fits_a_page() -> None:
    assert len(FILES["methods.probabilistic_unet"].read_text().splitlines()) < 135


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from plurimask.commands.main import main; main(['--help'])", ("torch", "lightning", "numpy")),
        (
            "import plurimask.commands.check, plurimask.data, plurimask.evaluation.check",
            ("torch", "scipy", "lightning"),
        ),
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


def test_the_page_of_the_architecture_is_what_the_imports_give() -> None:
    text = (DOCS / "architecture.md").read_text()
    assert page(text) == text, "run python docs/make_architecture.py"
    assert (DOCS / "images" / "architecture.svg").read_text() == picture(), "run python docs/make_architecture.py"
