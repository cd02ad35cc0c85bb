"""What a report and its figures are made of: a run's evaluation on one split, and a few images drawn again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from plurimask.data import DataSource
from plurimask.data.preprocessing import Views
from plurimask.evaluation.check import DataReport, check_data
from plurimask.evaluation.evaluate import Evaluation, ExampleView, evaluate
from plurimask.evaluation.kept import KeptImages
from plurimask.figures.errors import ErrorRow
from plurimask.figures.latents import LatentPlane
from plurimask.figures.modes import ModeStrip
from plurimask.figures.samples import GridRow
from plurimask.method import SegmentationMethod
from plurimask.prediction.predict import Sampling
from plurimask.report.drawn import drawn_row, latent_plane, strip_of_modes
from plurimask.report.scales import Scales, draw_scales
from plurimask.runs.load import Run, find_split
from plurimask.runs.record import RunRecord
from plurimask.training.log import read_metrics

NUM_SPREAD, NUM_EXTREME = 6, 4
"""Images evenly spread over the ranking by GED; best and worst images."""

Extra = tuple[str, str, Figure | None]
"""A further section: title, a paragraph, and a figure if there is one."""

DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report shows. It knows nothing of files: `build_report` turns it into a page."""

    name: str
    """Of the run."""
    record: RunRecord
    method: type[SegmentationMethod]
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
    plane: LatentPlane | None = None
    """Two latents of one image, where the method has latents."""
    scales: Scales | None = None
    """One image by the scales of its latents, where the method has several."""
    modes: ModeStrip | None = None
    """One image in several modes, where classes flip."""
    extra: Sequence[Extra] = ()


def collect_report(
    run: Run,
    source: DataSource,
    split: str = "val",
    sampling: Sampling = DEFAULT_SAMPLING,
    max_images: int | None = None,
) -> ReportContent:
    """Evaluate a split and pick images by their GED.

    Args:
        run: trained.
        source: the data.
        split: what to evaluate.
        sampling: samples per image and their seed.
        max_images: evaluate at most so many, evenly spread over the split; all by default.
    """
    examples, record = find_split(source, split), run.record
    count = min(len(examples), max_images or len(examples))
    indices = [number * len(examples) // count for number in range(count)]
    view = ExampleView(examples, indices, record.preprocessing, record.data.counted_classes)
    kept = KeptImages(NUM_EXTREME, NUM_SPREAD)
    evaluation = evaluate(run.method, view, sampling, kept)
    ranking = _ranking(evaluation.rows)
    extreme = min(NUM_EXTREME, len(ranking) // 2)
    best, worst = ranking[:extreme], ranking[::-1][:extreme]
    spread = evenly_spread([number for number in ranking if number in kept.images] or [*kept.images], NUM_SPREAD)
    drawn = {
        number: drawn_row(kept.images[number], view, number, _caption(evaluation.rows[number]), sampling.seed)
        for number in {*spread, *best, *worst}
    }
    seen = Views(examples, record.preprocessing)
    return ReportContent(
        name=run.folder.name,
        record=record,
        method=type(run.method),
        split=split,
        sampling=sampling,
        evaluation=evaluation,
        history=read_metrics(run.folder / "metrics.csv"),
        data=check_data(DataSource(source.description, {split: seen}, source.drawn)),
        spread=[drawn[number][0] for number in spread],
        best=[drawn[number][0] for number in best],
        worst=[drawn[number][0] for number in worst],
        errors=[drawn[number][1] for number in spread],
        plane=latent_plane(run, view, spread[len(spread) // 2], sampling.seed),
        scales=draw_scales(run, view, spread[len(spread) // 2], sampling.seed),
        modes=strip_of_modes(run, view, sampling.seed),
    )


def _ranking(rows: Sequence[dict[str, Any]]) -> list[int]:
    """The rows that have a GED, from best to worst."""
    scored = [number for number, row in enumerate(rows) if not math.isnan(row["ged"])]
    return sorted(scored, key=lambda number: float(rows[number]["ged"]))


def evenly_spread(ranking: Sequence[int], count: int) -> list[int]:
    """The middle of each of `count` equal parts of a ranking; all of it if it is not longer."""
    count = min(count, len(ranking))
    return [ranking[(2 * part + 1) * len(ranking) // (2 * count)] for part in range(count)]


def _caption(row: dict[str, Any]) -> str:
    """An image's figures in words; those that do not exist are left out."""
    words = []
    if not math.isnan(row["ged"]):
        oracle = "" if math.isnan(row["ged_oracle"]) else f" (raters themselves {row['ged_oracle']:.3f})"
        words.append(f"GED {row['ged']:.3f}{oracle}")
    if not math.isnan(row["dice"]):
        words.append(f"Dice {row['dice']:.2f}")
    return ", ".join(words)
