"""One self-contained HTML page about a run: what it is, the data, the training, the figures, and samples to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plurimask.data import DataSource
from plurimask.files import replace_file
from plurimask.metrics import CONVENTIONS
from plurimask.prediction.predict import Sampling
from plurimask.report import tables
from plurimask.report.content import DEFAULT_SAMPLING, Extra, ReportContent, collect_report
from plurimask.report.figures import report_figures
from plurimask.report.html import picture, template
from plurimask.runs.load import Run

DPI = 110
SECTIONS = ("latents", "scales", "coarse-to-fine", "reconstruction", "levels", "modes", "flips")
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
    """The page as one HTML text: style and pictures inside, nothing to load from elsewhere."""
    figures = {name: picture(*one, DPI) for name, one in report_figures(content).items()}
    totals, about, split = content.evaluation.totals, content.data.description, content.data.splits[content.split]
    return template("report").render(
        content=content,
        facts=tables.run_facts(content.record, content.history),
        settings=tables.settings_tables(content.record),
        split_facts=tables.split_facts(about, split),
        classes=tables.class_table(about, split),
        raters=tables.rater_table(about, split),
        metrics=tables.metric_table(totals),
        class_scores=tables.class_scores(totals, about.class_names),
        totals=totals,
        curve=figures.pop("training", None),
        grids=[figures.pop(name) for name in ("readings", "spread", "best", "worst") if name in figures],
        errors=figures.pop("errors", None),
        class_errors=figures.pop("class-uncertainty", None),
        sections=[figures.pop(name) for name in SECTIONS if name in figures],
        charts=figures,
        extra=[(title, text, figure and picture(title, text, figure, DPI)) for title, text, figure in content.extra],
        conventions=CONVENTIONS,
    )
