"""What a comparison leaves on disk: a table, figures, and a page with every evaluated image."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from plurimask.compare.contenders import Compared, Watcher, table_rows
from plurimask.compare.measure import MethodResult, shown_images
from plurimask.compare.page import ComparisonContent, build_comparison_page
from plurimask.compare.table import markdown_table
from plurimask.data import DataDescription, DataSource
from plurimask.figures.gallery import GalleryItem, GalleryPrediction, GalleryRow, cell_size, gallery_item
from plurimask.figures.methods import (
    ged_against_samples,
    reliability_of_methods,
    score_boxplots,
    sparsification_of_methods,
)
from plurimask.figures.modes import flip_frequencies, mode_frequencies
from plurimask.figures.page import Classes
from plurimask.figures.samples import GridRow, samples_grid
from plurimask.figures.style import figure_bytes, save_figure
from plurimask.files import replace_file
from plurimask.flips import apply_flips, mode_table
from plurimask.metrics import CONVENTIONS, TABLE
from plurimask.metrics.table import row_of

OUTPUTS = ("runs", "evaluations", "figures", "table.md", "table.json", "index.html")
"""What a comparison writes beside its state."""

SHOWN_SCORES = ("ged", "dice")
"""Of each image."""

Named = tuple[str, str, str, Figure]
"""File name, title, a paragraph, and the figure."""


def write_comparison(compared: Compared, source: DataSource, out: Path, watcher: Watcher) -> str:
    """Write `table.md`, `table.json`, `figures/` and `index.html` into `out`; returns the table as Markdown."""
    rows, about = table_rows(compared), source.description
    facts = _facts(compared, about)
    table = markdown_table(rows)
    notes = "\n".join(f"- {name}: {value}" for name, value in facts)
    replace_file(out / "table.md", f"{table}\n\n{notes}\n\n{CONVENTIONS}\n".encode())
    by_name = {result.name: result for result in compared.results}
    extended = [{**row, **_beside(by_name[row["method"]])} for row in rows]
    content = {"facts": dict(facts), "methods": extended, "conventions": CONVENTIONS}
    replace_file(out / "table.json", json.dumps(content, indent=2).encode())
    figures = list(_figures(compared, about))
    for name, _, _, figure in figures:
        save_figure(figure, out / "figures" / f"{name}.png")
        replace_file(out / "figures" / f"{name}.pdf", figure_bytes(figure, file_format="pdf"))
    classes = Classes(tuple(about.class_names), about.has_background)
    page = ComparisonContent(
        title=f"{len(compared.results)} methods on {about.layout} data",
        facts=facts,
        rows=rows,
        figures=[(title, text, figure) for _, title, text, figure in figures],
        gallery=_gallery(compared, classes, watcher),
        channels=about.channel_names,
        classes=classes,
    )
    replace_file(out / "index.html", build_comparison_page(page).encode())
    return table


def _beside(result: MethodResult) -> dict[str, Any]:
    """What is told of a method beside its row of the table."""
    of_classes = {row.key: result.totals[row.key] for row in TABLE if row.over == "classes"}
    return {**of_classes, "curve": result.curve, "flips": result.flips}


def _facts(compared: Compared, about: DataDescription) -> list[tuple[str, str]]:
    totals, preprocessing = compared.results[0].totals, compared.view.preprocessing
    size = preprocessing.resize or (preprocessing.center_crop and f"centre {preprocessing.center_crop}") or "whole"
    facts = [
        ("images", f"{totals['num_images']} of the split {compared.split}, {size}"),
        ("samples per image", str(compared.sampling.num_samples)),
        ("seed of the samples", str(compared.sampling.seed)),
        ("raters", str(len(about.rater_names))),
        ("classes that count", ", ".join(about.class_names[index] for index in about.counted_classes)),
    ]
    if about.flips:
        facts.append(("modes", f"{2 ** len(about.flips)}, of known probability"))
    if totals["rater_diversity"] is not None:
        facts.append(("mean distance between two raters", f"{totals['rater_diversity']:.4f}"))
        facts.append((row_of("ged_oracle").title, f"{totals['ged_oracle']:.4f}"))
    return facts


# ---- figures ------------------------------------------------------------------------------------------------------


def _figures(compared: Compared, about: DataDescription) -> Iterator[Named]:
    results = compared.results
    yield (
        "ged-against-samples",
        "GED against the number of samples",
        "Dashed: what as many draws from the raters themselves score in expectation.",
        ged_against_samples({result.name: result.curve for result in results}, _oracle(compared, about)),
    )
    for score in (row_of(key) for key in SHOWN_SCORES):
        values = {result.name: [row[score.key] for row in result.rows] for result in results}
        figure = score_boxplots(values, score.title, score.better == "lower")
        yield f"{score.key}-boxplots", f"{score.title} of each image", "One box a method, over all images.", figure
    yield (
        "reliability",
        "Calibration",
        "How often raters marked a pixel, against the probability that was predicted for it.",
        reliability_of_methods({result.name: result.calibration for result in results}),
    )
    yield (
        "sparsification",
        "Sparsification",
        "How many of the labels are wrong among those left when the pixels of highest entropy are removed. Dashed: the "
        "wrong ones are removed first. The area between both (AUSE) is in brackets, 0 at best.",
        sparsification_of_methods({result.name: result.errors.entropy for result in results}),
    )
    if about.flips:
        yield from _flip_figures(results, about)
    yield from _sample_figures(compared, about)


def _oracle(compared: Compared, about: DataDescription) -> list[tuple[int, float]] | None:
    """What draws from the raters themselves score: mu (1/n + 1/m), and mu / n where their distribution is known."""
    rows = [row for row in compared.results[0].rows if not math.isnan(row["ged_oracle"])]
    if not rows or not compared.results[0].curve:
        return None
    return [
        (
            number,
            sum(row["rater_diversity"] * (1 / number + (0 if about.flips else 1 / row["num_raters"])) for row in rows)
            / len(rows),
        )
        for number, _ in compared.results[0].curve
    ]


def _flip_figures(results: Sequence[MethodResult], about: DataDescription) -> Iterator[Named]:
    names = [about.class_names[flip.source] for flip in about.flips]
    missing = math.nan
    shown = {
        result.name: [missing if (value := result.flips[name]["frequency"]) is None else value for name in names]
        for result in results
    }
    yield (
        "flip-frequencies",
        "Frequency of each flip",
        "The share of the samples' pixels of a class that show its twin, against the true probability.",
        flip_frequencies([flip.probability for flip in about.flips], shown, names),
    )
    _, probability = mode_table(about.flips)
    shares = {result.name: result.mode_shares for result in results if result.mode_shares}
    if shares:
        yield (
            "mode-frequencies",
            "Frequency of each mode",
            "The share of the samples in each mode, on images that have all classes that flip.",
            mode_frequencies(probability.tolist(), shares, names),
        )


def _sample_figures(compared: Compared, about: DataDescription) -> Iterator[Named]:
    """For a few images, a row a method: raters, samples, mean and entropy."""
    for part, number in enumerate(shown_images(len(compared.view.indices))):
        example = compared.view.examples[compared.view.indices[number]]
        seen = compared.view.preprocessing.view(example)
        labels = seen.labels.numpy()
        if example.flips:
            happens, probability = mode_table(example.flips)
            likely = probability.argsort(descending=True)[:4]
            labels = apply_flips(seen.labels[0], example.flips, happens[likely]).numpy()
        rows = []
        for result in compared.results:
            score = result.rows[number]["ged"]
            caption = "" if math.isnan(score) else f"GED {score:.3f}"
            rows.append(GridRow(result.name, seen.image.numpy(), labels, *result.shown[number], caption))
        yield (
            f"samples-{part}",
            f"Samples: {example.name}",
            "The same image by each method.",
            samples_grid(rows, about.class_names, about.has_background),
        )


# ---- every image --------------------------------------------------------------------------------------------------


def _gallery(compared: Compared, classes: Classes, watcher: Watcher) -> list[GalleryItem]:
    watcher.stage("drawing every image", len(compared.view.indices))
    items: list[GalleryItem] = []
    cell: tuple[int, int] | None = None
    for number, index in enumerate(compared.view.indices):
        example = compared.view.examples[index]
        seen = compared.view.preprocessing.view(example)
        cell = cell or cell_size(*seen.image.shape[-2:])
        predictions = {
            result.name: GalleryPrediction(
                likely=result.maps[number],
                entropy=result.entropies[number],
                scores={key: result.rows[number][key] for key in SHOWN_SCORES},
            )
            for result in compared.results
        }
        row = GalleryRow(example.name, seen.image.numpy(), seen.labels.numpy(), predictions)
        items.append(gallery_item(row, classes, cell))
        watcher.image()
    return items
