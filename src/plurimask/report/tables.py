"""The tables of a report, as plain words and numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from plurimask.data import DataDescription
from plurimask.data.crops import sides_of, sides_words
from plurimask.evaluation.check import SplitReport
from plurimask.metrics.pooled import Totals
from plurimask.metrics.table import TABLE, compared_rows
from plurimask.metrics.table import Table as MetricRows
from plurimask.runs.record import RunRecord

_FEW_SIZES = 4
_NEXT_FIGURE = re.compile(r"(?<=[.;]) (?=[a-z_]+: )")
_OF_A_FIGURE = re.compile(r"(?:(?P<name>[a-z_]+): )?(?P<words>.*)", re.DOTALL)


class Table(NamedTuple):
    """Column titles, and rows of words or numbers."""

    columns: Sequence[str]
    rows: Sequence[tuple[Any, ...]]


class Metric(NamedTuple):
    """One line of the metric table."""

    name: str
    title: str
    explanation: str
    value: str
    reference: str
    """What raters themselves score; "-" where there is no such thing."""
    empty: str
    """What masks score that mark nothing."""
    value_b: str
    reference_b: str


class Convention(NamedTuple):
    """One sentence of the conventions."""

    name: str
    """The key of the figure that it is about; "" where it is about all."""
    words: str


def conventions(text: str) -> list[Convention]:
    """The conventions of the metrics, "KEY: WORDS. KEY: WORDS. ...", figure by figure."""
    parts = (_OF_A_FIGURE.fullmatch(part) for part in _NEXT_FIGURE.split(text))
    return [Convention(part["name"] or "", part["words"]) for part in parts if part]


def metric_table(totals: Totals, table: MetricRows = TABLE) -> list[Metric]:
    """All figures with what they mean; `subset_b` beside them where it is there."""
    subset = totals.get("subset_b")
    other = subset if isinstance(subset, dict) else {}
    return [
        Metric(
            row.key,
            _sentence(row.title),
            f"{_sentence(row.sentence)}." + (f" {row.better.capitalize()} is better." if row.better else ""),
            _figure(totals.get(row.key), row.digits),
            _figure(totals.get(row.raters), row.digits),
            _figure(totals.get(row.empty), row.digits),
            _figure(other.get(row.key), row.digits),
            _figure(other.get(row.raters), row.digits),
        )
        for row in compared_rows(table)
    ]


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def class_scores(totals: Totals, class_names: Sequence[str], table: MetricRows = TABLE) -> Table:
    """The figures of each class over the pixels of all images together."""
    rows = [row for row in table if row.over == "classes"]
    values = [
        [_figure(value, row.digits) for value in column] for row in rows if isinstance(column := totals[row.key], list)
    ]
    return Table(("class", *(row.title for row in rows)), list(zip(class_names, *values, strict=False)))


def _figure(value: object, digits: int) -> str:
    return f"{value:.{digits}f}" if isinstance(value, float) else "-"


def run_facts(record: RunRecord, history: Sequence[dict[str, float]]) -> list[tuple[str, str]]:
    """What was trained, how long and on what."""
    about, training = record.data, record.training
    facts = [("Method", record.method), ("Preset", record.preset), ("Seed", str(record.seed))]
    if history:
        last = history[-1]
        facts.append(("Trained", f"{last['step']:.0f} steps, {last.get('minutes', 0.0):.1f} minutes"))
    size = record.preprocessing.resize
    pairs = zip(record.preprocessing.mean, record.preprocessing.std, strict=True)
    scales = [f"{mean:.4g} and {std:.4g}" for mean, std in pairs]
    if record.plan is not None:
        facts.append(("Plan", record.plan.summary))
    budget = [f"{training.max_steps} steps"] if training.max_steps else []
    budget += [f"{training.max_minutes:g} minutes"] if training.max_minutes else []
    facts += [
        ("Budget", " or ".join(budget)),
        ("Batch", f"{training.batch_size} images, {training.raters_per_step} raters drawn for each"),
        (
            "Images seen as",
            _part(record) + (f", brought to {size[0]} x {size[1]} pixels" if size else "") + _spacing(record),
        ),
        ("Channels", f"{len(about.channel_names)}: {', '.join(about.channel_names)}"),
        ("Normalised by", f"mean and deviation of the training images: {', '.join(scales)}"),
    ]
    return [fact for fact in facts if fact[1]]


def _spacing(record: RunRecord) -> str:
    spacing = record.preprocessing.spacing
    if spacing is None:
        return ""
    sides = " x ".join(f"{side:g}" for side in spacing)
    return f", brought to voxels of {sides} mm (depth x height x width)"


def _part(record: RunRecord) -> str:
    if record.preprocessing.slices is not None:
        axis = ("depth", "height", "width")[record.preprocessing.slices]
        return f"slices across the {axis} of volumes, which share the draws of a sample; {_part_of_image(record)}"
    return _part_of_image(record)


def _part_of_image(record: RunRecord) -> str:
    if record.preprocessing.center_crop:
        return f"their centre, {_sides(record.preprocessing.center_crop, record)}"
    if record.training.crop:
        return f"whole; training on {_crops(record)}"
    return "whole"


def _crops(record: RunRecord) -> str:
    side, share = record.training.crop, record.training.crop_on_objects
    around = f", {share:.0%} of them around something marked" if share else ""
    return f"random crops of {_sides(side or 0, record)}{around}"


def _sides(crop: int | tuple[int, ...], record: RunRecord) -> str:
    dims = int(record.config.get("spatial_dims", 2))
    return f"{sides_words(sides_of(crop, dims))} {'pixels' if dims == 2 else 'voxels'}"


def settings_tables(record: RunRecord) -> list[tuple[str, Table]]:
    """Titled tables of all settings of a run, and of the packages that it was trained with."""
    parts = {
        "Settings of the method": record.config,
        "Settings of the training": record.training.model_dump(mode="json", exclude_none=True),
        "Versions": record.packages,
    }
    return [(title, Table(("setting", "value"), [*map(tuple, values.items())])) for title, values in parts.items()]


def split_facts(about: DataDescription, split: SplitReport) -> list[tuple[str, str]]:
    """What is in the evaluated split."""
    sizes = [f"{size} ({count} images)" for size, count in split.sizes.items()]
    if len(sizes) > _FEW_SIZES:
        sizes = [*sizes[:_FEW_SIZES], f"and {len(sizes) - _FEW_SIZES} more"]
    ranges = [
        f"{name} {low:g} to {high:g}" for name, (low, high) in zip(about.channel_names, split.value_range, strict=True)
    ]
    groups = f" in {split.num_groups} groups" if split.num_groups != split.num_images else ""
    facts = [
        ("Layout", about.layout),
        ("Volumes" if about.spatial_dims == 3 else "Images", f"{split.num_images}{groups}"),
        ("Depth x height x width" if about.spatial_dims == 3 else "Height x width", ", ".join(sizes)),
        *([("Voxels", split.spacing.line() if split.spacing else "of unknown size")] * (about.spatial_dims == 3)),
        ("Values", ", ".join(ranges)),
        ("Masks", about.encoding),
    ]
    if split.ignored_share:
        facts.append(("Not judged", f"{split.ignored_share:.2%} of the pixels"))
    if len(split.num_raters) > 1:
        facts.append(("Raters", ", ".join(f"{count} on {images} images" for count, images in split.num_raters.items())))
    distance = split.rater_distance
    known = f"mean distance (1 - IoU) between two raters {distance:.4f}" if distance is not None else ""
    return [*facts, ("Agreement", known or "- (it takes two raters)")]


def class_table(about: DataDescription, split: SplitReport) -> Table:
    """Classes with their share of the judged pixels."""
    rows = zip(about.class_names, about.class_values, map("{:.2%}".format, split.class_shares), strict=True)
    return Table(("class", "value in the masks", "share of the pixels"), list(rows))


def rater_table(about: DataDescription, split: SplitReport) -> Table:
    """Raters with the share of their maps that mark something."""
    shares = (map("{:.0%}".format, share) for share in (split.marked_share, split.absent_share))
    rows = zip(about.rater_names, *shares, strict=True)
    return Table(("rater", "maps that mark something", "images without a map"), list(rows))
