"""What a report and its figures are made of: a run's evaluation on one split, and a few images drawn again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from plurimask.method import SegmentationMethod
from plurimask.metrics.table import TABLE, Table
from plurimask.metrics.volume_table import with_volumes
from plurimask.prediction.predict import Sampling
from plurimask.prediction.slices import underneath
from plurimask.report.drawn import draw_latents, drawn_row, strip_of_modes
from plurimask.report.scales import Scales
from plurimask.runs.load import Run, find_split
from plurimask.runs.record import RunRecord
from plurimask.training.log import read_metrics
from plurimask.training.plan import NEEDED_STEPS

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
    needed_steps: int
    """Of which the method has hardly begun to learn."""
    data: DataReport
    """Of the evaluated split alone."""
    spread: Sequence[ErrorRow]
    """Images evenly spread from the best GED to the worst."""
    best: Sequence[ErrorRow] = ()
    worst: Sequence[ErrorRow] = ()
    plane: LatentPlane | None = None
    """Two latents of one image, where the method has latents."""
    scales: Scales | None = None
    """One image by the scales of its latents, where the method has several."""
    modes: ModeStrip | None = None
    """One image in several modes, where classes flip."""
    extra: Sequence[Extra] = ()

    @property
    def table(self) -> Table:
        """The figures of the evaluation."""
        return with_volumes(TABLE) if self.has_volumes else TABLE

    @property
    def has_volumes(self) -> bool:
        """Whether the images are volumes."""
        return self.record.data.spatial_dims == 3


def collect_report(
    run: Run,
    source: DataSource,
    split: str = "val",
    sampling: Sampling = DEFAULT_SAMPLING,
) -> ReportContent:
    """Evaluate a split of the data and pick images by their GED."""
    examples, record = find_split(source, split), run.record
    view = ExampleView(examples, range(len(examples)), record.preprocessing, record.data.counted_classes)
    kept = KeptImages(NUM_EXTREME, NUM_SPREAD)
    table = with_volumes(TABLE) if record.data.spatial_dims == 3 else TABLE
    evaluation = evaluate(run.method, view, sampling, kept, table)
    scored = [number for number, row in enumerate(evaluation.rows) if not math.isnan(row["ged"])]
    ranking = sorted(scored, key=lambda number: float(evaluation.rows[number]["ged"]))
    extreme = min(NUM_EXTREME, len(ranking) // 2)
    best, worst = ranking[:extreme], ranking[::-1][:extreme]
    spread = evenly_spread([number for number in ranking if number in kept.images] or [*kept.images], NUM_SPREAD)
    drawn = {
        number: drawn_row(
            kept.images[number],
            view,
            number,
            _caption(evaluation.rows[number]),
            sampling.seed,
            source.description.rater_names,
        )
        for number in {*spread, *best, *worst}
    }
    plane, scales = draw_latents(run, view, spread[len(spread) // 2], sampling.seed)
    return ReportContent(
        name=run.folder.name,
        record=record,
        method=type(underneath(run.method)),
        split=split,
        sampling=sampling,
        evaluation=evaluation,
        history=read_metrics(run.folder / "metrics.csv"),
        needed_steps=NEEDED_STEPS * len(run.method.parts()),
        data=check_data(replace(source, splits={split: Views(examples, record.preprocessing)})),
        spread=[drawn[number] for number in spread],
        best=[drawn[number] for number in best],
        worst=[drawn[number] for number in worst],
        plane=plane,
        scales=scales,
        modes=strip_of_modes(run, view, sampling.seed),
    )


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
