"""Pages that are made from records, and the commands that pages name."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import make_methods
import pytest

from plurimask.commands.main import COMMANDS
from plurimask.methods import METHODS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def test_the_pages_of_benchmarks_are_what_the_records_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    specification = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    assert specification is not None and specification.loader is not None
    tables = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "tables", tables)
    specification.loader.exec_module(tables)
    assert (ROOT / "docs" / "benchmarks.md").read_text() == tables.page()
    assert (text := (ROOT / "docs" / "bayesian.md").read_text()) == tables.with_tables(text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_pages_name_exist(page: Path) -> None:
    for command in re.findall(r"(?:^|`)plurimask (?:\$ )?([a-z]+)\b", page.read_text(), flags=re.MULTILINE):
        assert command in COMMANDS, f"{page.name} names plurimask {command}"
    for script in re.findall(r"python (benchmarks/\S+?\.py|docs/\S+?\.py)", page.read_text()):
        assert (ROOT / script).exists(), f"{page.name} names {script}"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_page(name: str) -> None:
    assert (ROOT / "docs" / "methods" / f"{name}.md").read_text().startswith("# ")


def test_the_table_of_methods_is_what_they_say_of_themselves() -> None:
    text = (ROOT / "README.md").read_text()
    assert make_methods.page(text) == text, "run make docs"
