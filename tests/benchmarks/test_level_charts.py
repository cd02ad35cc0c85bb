"""The KL of levels in several trainings: one scale for all, and what is not there is said."""

from __future__ import annotations

import pytest
from level_charts import level_kl_of_variants

from plurimask.figures.scales.training import LEAST_KL
from plurimask.figures.style import figure_bytes


def make_rows(num_levels: int) -> list[dict[str, float]]:
    levels = {f"kl_{level}": 30.0 / 1000**level for level in range(num_levels)}
    return [{"step": float(step), **levels} for step in range(10, 210, 10)]


def test_variants_share_one_scale() -> None:
    variants = {"res $blocks": make_rows(1), "plain": make_rows(3), "none": [], "b": make_rows(2), "c": make_rows(5)}
    figure = level_kl_of_variants(variants, ("1 x 1",))
    assert [axes.get_title("left") for axes in figure.axes] == [*variants]
    assert [len(axes.lines) for axes in figure.axes] == [1, 3, 0, 2, 5]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1 and figure.axes[0].get_ylim()[0] < LEAST_KL
    said = [axes.texts[0].get_text() for axes in figure.axes]
    assert said == [
        "30 nats at the end",
        "30 nats at the end",
        "no KL of levels was recorded",
        *["30 nats at the end"] * 2,
    ]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1 x 1", "level 1", "level 2", "level 3", "level 4"]
    assert figure_bytes(figure, 60).startswith(b"\x89PNG")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no variants"):
        level_kl_of_variants({})
