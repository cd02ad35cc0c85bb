"""The picture of the architecture and its table, made from the imports of the code.

python docs/make_architecture.py        writes docs/images/architecture.svg and the table of docs/architecture.md
"""

from __future__ import annotations

import ast
from html import escape
from pathlib import Path

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "plurimask"
FILES = {path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", "."): path for path in SOURCE.rglob("*.py")}
FLOORS = (
    "errors",
    "version",
    "flips",
    "files",
    "pretrained",
    "sets",
    "noise",
    "distribution",
    "latent",
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
    "viewer",
    "commands",
)
"""From the bottom up: a room imports from lower ones, and from itself."""
BEGIN, END = "<!-- made by docs/make_architecture.py -->", "<!-- end -->"
ROW, NAME, TOP = 22, 130, 96


def room(module: str) -> str:
    """The room, or file of the root, that a module lies in: of "data.layouts.npz" it is "data"."""
    return module.split(".")[0]


def imports(path: Path) -> set[str]:
    """The modules of plurimask that a file imports, relative to the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and room(node.module) == "plurimask":
            base = node.module.removeprefix("plurimask").lstrip(".")
            names = [f"{base}.{alias.name}".lstrip(".") for alias in node.names]
            found |= {name if name in FILES else base for name in names}
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("plurimask.") for alias in node.names if room(alias.name) == "plurimask"}
    return found - {"", "plurimask"}


def imported_rooms(name: str) -> set[str]:
    """The other rooms that the files of a room import from."""
    own = [path for module, path in FILES.items() if room(module) == name]
    return {room(module) for path in own for module in imports(path)} - {name}


def sentence(name: str) -> str:
    """The first paragraph of what a room or file says of itself."""
    path = FILES.get(name) or FILES[f"{name}.__init__"]
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def table() -> str:
    """Markdown: each room from the top down, what it says of itself, its files."""
    lines = ["| room | who lives there | files |", "|---|---|---|"]
    for name in reversed(FLOORS):
        inside = sorted(m.removeprefix(f"{name}.") for m in FILES if m.startswith(f"{name}.") and "__init__" not in m)
        lines.append(f"| `{name}` | {sentence(name)} | {', '.join(inside).replace('.', '/')} |")
    return "\n".join(lines)


def picture() -> str:
    """SVG: a row for each room, and a dot below each room that it imports from. No dot is above the diagonal."""
    width, height = NAME + ROW * len(FLOORS) + 56, TOP + ROW * len(FLOORS) + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for column, name in enumerate(FLOORS):
        x = NAME + ROW * (column + 0.5)
        parts.append(f'<text transform="translate({x + 4} {TOP - 8}) rotate(-60)">{escape(name)}</text>')
    for row, name in enumerate(reversed(FLOORS)):
        y, own, lower = TOP + ROW * (row + 0.5), FLOORS.index(name), imported_rooms(name)
        if row % 2 == 0:
            parts.append(f'<rect x="0" y="{y - ROW / 2}" width="{width}" height="{ROW}" fill="#f3f5f7"/>')
        parts.append(f'<text x="{NAME - 10}" y="{y + 4.5}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{NAME + ROW * own + 4}" y="{y - 7}" width="{ROW - 8}" height="14" rx="3" fill="#0072B2"/>'
        )
        for other in sorted(lower, key=FLOORS.index):
            x = NAME + ROW * (FLOORS.index(other) + 0.5)
            colour = "#444" if FLOORS.index(other) < own else "#D55E00"
            parts.append(f'<circle cx="{x}" cy="{y}" r="4.5" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>", ""])


def page(text: str) -> str:
    """The page with its table made anew."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> None:
    path = DOCS / "architecture.md"
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "images" / "architecture.svg").write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
