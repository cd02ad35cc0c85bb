"""Writes README's table of methods anew from the methods themselves: `python docs/make_methods.py`."""

from __future__ import annotations

from pathlib import Path

from plurimask.methods import METHODS

PAGE = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- methods: made by docs/make_methods.py -->", "<!-- end of methods -->"


def table() -> str:
    """Markdown: a row a method, with a link to its page, what it is in a line, and its paper."""
    lines = ["| name | what | paper |", "|---|---|---|"]
    for name, method in METHODS.items():
        lines.append(f"| [`{name}`](docs/methods/{name}.md) | {method.summary} | {method.paper} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with the table in its place."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
