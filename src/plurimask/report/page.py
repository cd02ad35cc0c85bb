"""One self-contained HTML page about a run: what it is, the data, the training, the figures, and samples to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plurimask.data import DataDescription, DataSource
from plurimask.files.writing import replace_file
from plurimask.metrics.conventions import conventions
from plurimask.metrics.pooled import Totals
from plurimask.prediction.predict import Sampling
from plurimask.report import tables
from plurimask.report.content import DEFAULT_SAMPLING, Extra, ReportContent, collect_report
from plurimask.report.figures import page_figures
from plurimask.report.html import picture, template
from plurimask.report.images import class_legend, image_blocks, scale_legend, unsure_blocks
from plurimask.report.verdict import Training, bars, judge, scores_of
from plurimask.runs.load import Run

DPI = 110
LONG_TABLE = 12
"""Rows; a longer table is folded."""
SECTIONS = ("planes", "latents", "scales", "coarse-to-fine", "reconstruction", "levels", "modes", "flips")
"""Figures that have a section of their own."""


def write_report(
    run: Run,
    source: DataSource,
    path: Path,
    split: str = "val",
    sampling: Sampling = DEFAULT_SAMPLING,
    extra: Sequence[Extra] = (),
) -> dict[str, Any]:
    """Evaluate a run on one split and write the page.

    Args:
        run: trained.
        source: the data, read in the run's sense (`plurimask.runs.load.open_run_data`).
        path: the HTML file; it is written whole or not at all, and replaced if it is there.
        extra: further sections.

    Returns:
        The totals of the evaluation.

    Raises:
        InputError: the data have no such split, or do not fit the run.
    """
    content = replace(collect_report(run, source, split, sampling), extra=tuple(extra))
    replace_file(path, build_report(content).encode())
    return dict(content.evaluation.totals)


def build_report(content: ReportContent) -> str:
    """The page as one HTML text: style, pictures and script inside, nothing to load from elsewhere."""
    figures = {name: picture(*one, DPI) for name, one in page_figures(content).items()}
    totals, about, split = content.evaluation.totals, content.data.description, content.data.splits[content.split]
    scores = scores_of(content.evaluation.rows, counted_dice(totals, about), about.has_background)
    return template("report").render(
        content=content,
        verdict=judge(scores, training_of(content)),
        bars=bars(scores) if scores else [],
        nothing=scores.nothing if scores else "",
        remarks=[*content.data.notes, *content.data.warnings, *content.data.comments],
        images=list(image_blocks(content)),
        unsure=list(unsure_blocks(content)),
        scales=scale_legend(content),
        legend=class_legend(content),
        facts=tables.run_facts(content.record, content.history),
        settings=tables.settings_tables(content.record),
        split_facts=tables.split_facts(about, split),
        classes=tables.class_table(about, split),
        raters=tables.rater_table(about, split),
        metrics=tables.metric_table(totals, content.table),
        class_scores=tables.class_scores(totals, about.class_names),
        totals=totals,
        curve=figures.pop("training", None),
        class_errors=figures.pop("class-uncertainty", None),
        sections=[figures.pop(name) for name in SECTIONS if name in figures],
        charts=figures,
        extra=[(title, text, figure and picture(title, text, figure, DPI)) for title, text, figure in content.extra],
        conventions=tables.conventions(conventions(content.table)),
        long_table=LONG_TABLE,
    )


def training_of(content: ReportContent) -> Training:
    """How long the run was trained; of one that was not trained to its end, what its log says."""
    steps, is_short = content.record.steps, content.record.undertrained
    if steps is None and content.history:
        steps = int(content.history[-1]["step"])
        is_short = is_short or steps < content.needed_steps
    return Training(steps, content.needed_steps, is_short)


def counted_dice(totals: Totals, about: DataDescription) -> dict[str, float] | None:
    """The pooled Dice of each class that counts and is somewhere, by its name; None if one class counts."""
    values, counted = totals["class_dice"], about.counted_classes
    if len(counted) < 2 or not isinstance(values, list):
        return None
    found = {about.class_names[index]: values[index] for index in counted if index < len(values)}
    return {name: value for name, value in found.items() if value is not None} or None
