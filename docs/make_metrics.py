"""Writes the tables of `docs/metrics.md` anew from `plurimask.metrics.table`: `python docs/make_metrics.py`."""

from __future__ import annotations

import re
from pathlib import Path

from plurimask.metrics.representatives import TABLE_WITH_REPRESENTATIVES
from plurimask.metrics.row import AVERAGED
from plurimask.metrics.table import Table
from plurimask.metrics.volume_table import with_volumes

PAGE = Path(__file__).parent / "metrics.md"
ALL = with_volumes(TABLE_WITH_REPRESENTATIVES)
START, END = "<!-- figures: made by docs/make_metrics.py -->", "<!-- end of figures -->"


def figures(table: Table = ALL) -> str:
    """The table in Markdown, a row a figure, and their sources."""
    lines = ["| figure | | better | averaged | needs |", "|---|---|---|---|---|"]
    for row in table:
        told = f"{row.title[0].upper()}{row.title[1:]}: {row.sentence}".replace("|", "\\|")
        lines.append(f"| `{row.key}` | {told} | {row.better or ''} | {AVERAGED[row.over]} | {row.needs} |")
    sources: dict[str, list[str]] = {}
    for row in table:
        for source in filter(None, row.source.split("; ")):
            sources.setdefault(source, []).append(f"`{row.key}`")
    listed = "; ".join(f"{source} ({', '.join(keys)})" for source, keys in sources.items())
    return "\n".join([*lines, "", f"Sources: {listed}."])


def page(text: str, table: Table = ALL) -> str:
    """The page with the table in its place."""
    made = f"{START}\n{figures(table)}\n{END}"
    return re.sub(f"{re.escape(START)}.*?{re.escape(END)}", lambda _: made, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
