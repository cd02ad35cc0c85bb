"""One self-contained HTML page about a run: what it is, the data, the training, the figures, and samples to look at."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure
from torch import Tensor

from plurimask.data import DataReport, DataSource, check_data
from plurimask.data.example import Example
from plurimask.data.preprocessing import Views, draw_labels
from plurimask.evaluate import EvaluatedImage, Evaluation, ExampleView, evaluate
from plurimask.figures import (
    GridRow,
    agreement,
    figure_bytes,
    ged_per_image,
    reliability_diagram,
    samples_grid,
    training_curve,
)
from plurimask.files import replace_file
from plurimask.inference import Sampling, generator_of, predict_images
from plurimask.methods import find_method
from plurimask.metrics import CONVENTIONS, rater_distance
from plurimask.metrics.modes import mode_spread
from plurimask.report_tables import class_table, metric_table, rater_table, run_facts, settings_tables, split_facts
from plurimask.run import Run, RunRecord, find_split
from plurimask.training.log import read_metrics
from plurimask.uncertainty_figures import ErrorRow, error_maps, referral_curve, referral_score

DPI = 110
NUM_SPREAD, NUM_EXTREME = 6, 4
"""Images evenly spread over the ranking by GED; best and worst images."""
NUM_FLIPPED_RATERS = 16
"""Maps drawn to stand for the raters where classes flip at random."""

Extra = tuple[str, str, Figure | None]
"""A further section: title, a paragraph, and a figure if there is one."""

DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report shows. It knows nothing of files: `build_report` turns it into a page."""

    name: str
    """Of the run."""
    record: RunRecord
    split: str
    sampling: Sampling
    evaluation: Evaluation
    history: list[dict[str, float]]
    """The rows of `metrics.csv`; empty if there are none."""
    data: DataReport | None
    """Of the evaluated split alone."""
    spread: Sequence[GridRow]
    """Images evenly spread from the best GED to the worst."""
    best: Sequence[GridRow] = ()
    worst: Sequence[GridRow] = ()
    errors: Sequence[ErrorRow] = ()
    """The images of `spread`, for errors and uncertainty."""
    extra: Sequence[Extra] = ()


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
        source: the data, read in the run's sense (`plurimask.run.open_run_data`).
        path: the HTML file; it is written whole or not at all, and replaced if it is there.
        split: what to evaluate.
        sampling: samples per image and their seed.
        extra: further sections, before the conventions.

    Returns:
        The totals of the evaluation.

    Raises:
        InputError: the data have no such split, or do not fit the run.
    """
    content = replace(collect_report(run, source, split, sampling), extra=tuple(extra))
    replace_file(path, build_report(content).encode())
    return dict(content.evaluation.totals)


def collect_report(
    run: Run,
    source: DataSource,
    split: str = "val",
    sampling: Sampling = DEFAULT_SAMPLING,
    max_images: int | None = None,
    on_image: Callable[[EvaluatedImage], None] | None = None,
) -> ReportContent:
    """Evaluate a split, pick images by their GED, and draw their samples again.

    Args:
        run: trained.
        source: the data.
        split: what to evaluate.
        sampling: samples per image and their seed.
        max_images: evaluate at most so many, evenly spread over the split; all by default.
        on_image: called for each evaluated image in turn.
    """
    examples, record = find_split(source, split), run.record
    count = min(len(examples), max_images or len(examples))
    indices = [number * len(examples) // count for number in range(count)]
    view = ExampleView(examples, indices, record.preprocessing, record.data.counted_classes)
    evaluation = evaluate(run.method, view, sampling, on_image)
    ranking = _ranking(evaluation.rows)
    extreme = min(NUM_EXTREME, len(ranking) // 2)
    best, worst = ranking[:extreme], ranking[::-1][:extreme]
    spread = evenly_spread(ranking or list(range(count)), NUM_SPREAD)
    chosen = sorted({*spread, *best, *worst})
    drawn = dict(zip(chosen, _rows(run, view, evaluation, chosen, sampling), strict=True))
    seen = Views(examples, record.preprocessing)
    return ReportContent(
        name=run.folder.name,
        record=record,
        split=split,
        sampling=sampling,
        evaluation=evaluation,
        history=read_metrics(run.folder / "metrics.csv"),
        data=check_data(DataSource(source.description, {split: seen}, source.drawn), rater_distance, mode_spread),
        spread=[drawn[number][0] for number in spread],
        best=[drawn[number][0] for number in best],
        worst=[drawn[number][0] for number in worst],
        errors=[drawn[number][1] for number in spread],
    )


def _ranking(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The rows that have a GED, from best to worst."""
    scored = [number for number, row in enumerate(rows) if not math.isnan(row["ged"])]
    return sorted(scored, key=lambda number: float(rows[number]["ged"]))


def evenly_spread(ranking: Sequence[int], count: int) -> list[int]:
    """The middle of each of `count` equal parts of a ranking; all of it if it is not longer."""
    count = min(count, len(ranking))
    return [ranking[(2 * part + 1) * len(ranking) // (2 * count)] for part in range(count)]


def _rows(
    run: Run, view: ExampleView, evaluation: Evaluation, chosen: Sequence[int], sampling: Sampling
) -> Iterator[tuple[GridRow, ErrorRow]]:
    """What was evaluated, drawn once more: an image's samples depend on the seed and on its name alone."""
    stored = {number: view.examples[view.indices[number]] for number in chosen}

    def images() -> Iterator[tuple[str, Tensor]]:
        for number in chosen:
            yield stored[number].name, view.preprocessing.image(stored[number].image)

    numbers = iter(chosen)
    for names, samples, mixture in predict_images(run.method, images(), sampling):
        maps = (samples.transpose(0, 1), mixture.mean(), mixture.entropy(), mixture.mutual_information())
        for position, name in enumerate(names):
            number = next(numbers)
            example = view.preprocessing.view(stored.pop(number))
            image, raters = example.image.numpy(), _shown_raters(example, sampling.seed).numpy()
            own, mean, entropy, information = (part[position].cpu().numpy() for part in maps)
            caption = _caption(evaluation.rows[number])
            yield (
                GridRow(name, image, raters, own, mean, entropy, caption),
                ErrorRow(name, image, raters, mean, entropy, information),
            )


def _shown_raters(example: Example, seed: int) -> Tensor:
    """`(R, H, W)`: of an image whose classes flip, as many draws as make their frequencies plain."""
    if not example.flips:
        return example.labels
    return draw_labels(example, NUM_FLIPPED_RATERS, generator_of(seed, "raters", example.name)).labels


def _caption(row: dict[str, Any]) -> str:
    """An image's figures in words; those that do not exist are left out."""
    words = []
    if not math.isnan(row["ged"]):
        oracle = "" if math.isnan(row["ged_oracle"]) else f" (raters themselves {row['ged_oracle']:.3f})"
        words.append(f"GED {row['ged']:.3f}{oracle}")
    if not math.isnan(row["dice"]):
        words.append(f"Dice {row['dice']:.2f}")
    return ", ".join(words)


# ---- the page -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Picture:
    address: str
    """A data URI."""
    alt: str
    width: int
    """CSS pixels at its natural size."""


def _picture(figure: Figure, alt: str) -> _Picture:
    content = base64.b64encode(figure_bytes(figure, DPI)).decode()
    return _Picture(f"data:image/png;base64,{content}", alt, round(figure.get_figwidth() * 96))


def build_report(content: ReportContent) -> str:
    """The page as one HTML text: style and pictures inside, nothing to load from elsewhere."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(files("plurimask").joinpath("report.html").read_text(encoding="utf-8"))
    method, totals, split = find_method(content.record.method), content.evaluation.totals, None
    if content.data is not None:
        split = content.data.splits[content.split]
    return template.render(
        content=content,
        method=method,
        facts=run_facts(content.record, content.history),
        settings=settings_tables(content.record),
        split_facts=[] if split is None else split_facts(content.record.data, split),
        classes=None if split is None else class_table(content.record.data, split),
        raters=None if split is None else rater_table(content.record.data, split),
        warnings=() if content.data is None else content.data.warnings,
        metrics=metric_table(totals),
        totals=totals,
        curve=_training(content),
        charts=_charts(content),
        grids=_grids(content),
        errors=_errors(content),
        referral=referral_score(content.evaluation.rows)[2],
        extra=[(title, text, figure and _picture(figure, title)) for title, text, figure in content.extra],
        conventions=CONVENTIONS,
    )


def _training(content: ReportContent) -> _Picture | None:
    if not content.history:
        return None
    oracle = content.evaluation.totals["ged_oracle"] if content.split == "val" else None
    figure = training_curve(content.history, oracle if isinstance(oracle, float) else None)
    return _picture(figure, "Training: loss and its terms, and validation GED, against steps")


def _charts(content: ReportContent) -> dict[str, _Picture]:
    rows, about = content.evaluation.rows, content.record.data
    names = [about.class_names[index] for index in about.counted_classes]
    diagram = reliability_diagram(content.evaluation.calibration, names if len(names) > 1 else ())
    charts = {
        "reliability": _picture(diagram, "Reliability diagram"),
        "ged": _picture(
            ged_per_image([row["ged"] for row in rows], [row["ged_oracle"] for row in rows]),
            "GED of each image, sorted",
        ),
    }
    score, score_name, _ = referral_score(rows)
    curve = referral_curve([row["dice"] for row in rows], score, score_name)
    charts["referral"] = _picture(curve, "Mean Dice of the images kept, against the share handed to a person")
    if content.evaluation.totals["rater_diversity"] is not None:
        figure = agreement([row["rater_diversity"] for row in rows], [row["diversity"] for row in rows])
        charts["agreement"] = _picture(figure, "Diversity of samples against diversity of raters, each image a point")
    return charts


def _errors(content: ReportContent) -> _Picture | None:
    if not content.errors:
        return None
    figure = error_maps(content.errors, content.record.data.class_names, content.record.data.has_background)
    return _picture(figure, f"{len(content.errors)} images with raters, prediction, errors, and maps of uncertainty")


def _grids(content: ReportContent) -> list[tuple[str, str, _Picture]]:
    about, grids = content.record.data, []
    for title, text, rows in (
        ("From good to bad", "Images evenly spread over the ranking by GED, the best first.", content.spread),
        ("The best", "The images with the lowest GED, the very best first.", content.best),
        (
            "The worst",
            "The images with the highest GED, the very worst first: look here for what fails.",
            content.worst,
        ),
    ):
        if rows:
            figure = samples_grid(rows, about.class_names, about.has_background)
            alt = f"{title}: {len(rows)} images with raters, samples, mean and entropy"
            grids.append((title, text, _picture(figure, alt)))
    return grids
