"""What readings and areas are called: as in the viewer, by the same examples."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from plurimask.data.images.pixel_size import PixelSize
from plurimask.figures.colours import PALETTE, RATER_COLOUR, SAMPLE_COLOUR
from plurimask.report.words import area_words, class_words, headline, percent, size_words

ROOT = Path(__file__).parents[2]
EXAMPLES: dict[str, Any] = json.loads((ROOT / "viewer" / "tests" / "words.json").read_text(encoding="utf-8"))


def test_readings_are_called_as_in_the_viewer() -> None:
    for one in EXAMPLES["sizes"]:
        assert size_words(one["areas"]) == one["words"]
    for one in EXAMPLES["classes"]:
        assert class_words(one["areas"], one["names"]) == one["words"]
    for one in EXAMPLES["headlines"]:
        disagreement = math.nan if one["disagreement"] is None else one["disagreement"]
        assert headline(one["empty"], disagreement) == one["words"]


def test_shares_and_areas_are_told_as_in_the_viewer() -> None:
    for one in EXAMPLES["shares"]:
        assert percent(one["share"]) == one["words"]
    for one in EXAMPLES["areas"]:
        size = None if one["side"] is None else PixelSize(one["side"], one["side"], one["unit"])
        assert area_words((one["pixels"], one["pixels"]), size) == one["words"]
    assert area_words((41, 1072)) == "41 \u2013 1\u202f072 px"
    assert area_words((41, 1072), unit="voxels") == "41 \u2013 1\u202f072 voxels"  # of a volume of unknown spacing
    assert area_words((41, 72), PixelSize(1 / 72, 1 / 72, "in")) == "41 \u2013 72 px"  # of paper, not of what is seen


# ---- colours ------------------------------------------------------------------------------------------------------

THEME = (ROOT / "src" / "plurimask" / "report" / "theme.css").read_text(encoding="utf-8")


def test_the_viewer_and_all_pages_have_one_set_of_colours() -> None:
    assert '@import "../../src/plurimask/report/theme.css";' in (ROOT / "viewer/src/style.css").read_text(
        encoding="utf-8"
    )
    defined = re.findall(r"(--[\w-]+): ", THEME)
    assert len(defined) >= 16
    for own in ("report/page.html", "report/predictions.html", "report/style.css", "compare/page.html"):
        text = (ROOT / "src/plurimask" / own).read_text(encoding="utf-8")
        assert not re.search(rf"({'|'.join(defined)}):", text), own
    built = (ROOT / "src/plurimask/viewer/static/index.css").read_text(encoding="utf-8")
    for name, light, dark in re.findall(r"(--[\w-]+): light-dark\((#\w+), (#\w+)\)", THEME):
        wanted = f"{name}:var(--lightningcss-light,{short(light)})var(--lightningcss-dark,{short(dark)})"
        assert wanted in built, f"{name}: run make viewer"


def short(colour: str) -> str:
    """As the builder writes it: #ffffff is #fff."""
    pairs = re.findall("..", colour[1:])
    return f"#{''.join(pair[0] for pair in pairs)}" if all(pair[0] == pair[1] for pair in pairs) else colour


def test_marks_have_the_colours_of_the_figures() -> None:
    plain = dict(re.findall(r"(--[\w-]+): (#\w+);", THEME))
    palette = {colour.lower() for colour in PALETTE}
    assert plain["--sample"] == SAMPLE_COLOUR.lower() and plain["--rater"] == RATER_COLOUR.lower()
    assert {plain[name] for name in ("--good", "--fair", "--bad")} <= palette
    for name in ("--accent", "--note"):
        light, dark = re.findall(rf"{name}: light-dark\((#\w+), (#\w+)\)", THEME)[0]
        assert {light, dark} <= palette
