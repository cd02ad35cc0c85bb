"""What a comparison leaves on disk: a table, figures, and a page with every evaluated image."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plurimask.compare.contenders import Compared, Watcher, table_rows
from plurimask.compare.measure import MethodResult, shown_images
from plurimask.compare.page import ComparisonContent, MethodReadings, ShownReadings, build_comparison_page
from plurimask.compare.table import markdown_table, terminal_table
from plurimask.data import DataDescription, DataSource
from plurimask.data.preprocessing import Views
from plurimask.figures import methods
from plurimask.figures.gallery import GalleryItem, GalleryPrediction, GalleryRow, cell_size, gallery_item, image_titles
from plurimask.figures.modes import flip_frequencies, mode_frequencies
from plurimask.figures.page import Classes
from plurimask.figures.rows import GridRow
from plurimask.figures.samples import readings_grid, samples_grid
from plurimask.figures.style import figure_bytes, save_figure
from plurimask.figures.thumbnails import thumbnails
from plurimask.files.writing import replace_file
from plurimask.flips import apply_flips, mode_table
from plurimask.metrics import CONVENTIONS, TABLE
from plurimask.metrics.table import row_of
from plurimask.prediction.readings import find_readings
from plurimask.report.flat import flattening
from plurimask.report.html import Named
from plurimask.report.predictions import reading_caption

OUTPUTS = ("runs", "evaluations", "figures", "table.md", "table.json", "index.html")
"""What a comparison writes beside its state."""

SHOWN_SCORES = ("ged", "dice")
"""Of each image."""

READING_SIDE = 160
"""Pixels: the longer side of the pictures of readings."""


def write_comparison(compared: Compared, source: DataSource, out: Path, watcher: Watcher) -> str:
    """Write `table.md`, `table.json`, `figures/` and `index.html` into `out`; returns the table for a terminal."""
    rows, about = table_rows(compared), source.description
    facts = _facts(compared, about)
    notes = "\n".join(f"- {name}: {value}" for name, value in facts)
    replace_file(out / "table.md", f"{markdown_table(rows)}\n\n{notes}\n\n{CONVENTIONS}\n".encode())
    by_name = {result.name: result for result in compared.results}
    extended = [{**row, **_beside(by_name[row["method"]])} for row in rows]
    content = {"facts": dict(facts), "methods": extended, "conventions": CONVENTIONS}
    replace_file(out / "table.json", json.dumps(content, indent=2).encode())
    shown, classes = _shown_rows(compared), Classes(tuple(about.class_names), about.has_background)
    charts, samples = list(_charts(compared, about)), list(_sample_figures(shown, about))
    figures = [*charts, *samples]
    for name, _, _, figure in figures:
        save_figure(figure, out / "figures" / f"{name}.png")
        replace_file(out / "figures" / f"{name}.pdf", figure_bytes(figure, file_format="pdf"))
    page = ComparisonContent(
        title=f"{len(compared.results)} methods on {about.layout} data",
        facts=facts,
        rows=rows,
        readings=[_readings(name, of_image, classes) for name, of_image in shown],
        charts=[(title, text, figure) for _, title, text, figure in charts],
        # Readings are on the page as pictures of their own.
        samples=[(title, text, figure) for name, title, text, figure in samples if name.startswith("samples")],
        gallery=_gallery(compared, classes, watcher),
        image_titles=image_titles(about.channel_names),
        num_samples=compared.sampling.num_samples,
        oracle=compared.results[0].totals["ged_oracle"],
        classes=classes,
    )
    replace_file(out / "index.html", build_comparison_page(page).encode())
    return terminal_table(rows)


def _beside(result: MethodResult) -> dict[str, Any]:
    """What is told of a method beside its row of the table."""
    of_classes = {row.key: result.totals[row.key] for row in TABLE if row.over == "classes"}
    return {**of_classes, "curve": result.curve, "flips": result.flips}


def _facts(compared: Compared, about: DataDescription) -> list[tuple[str, str]]:
    totals, preprocessing = compared.results[0].totals, compared.view.preprocessing
    size = preprocessing.resize or (preprocessing.center_crop and f"centre {preprocessing.centre_words}") or "whole"
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


def _charts(compared: Compared, about: DataDescription) -> Iterator[Named]:
    results = compared.results
    figure = methods.ged_against_samples({result.name: result.curve for result in results}, _oracle(compared, about))
    text = "Dashed: what as many draws from the raters themselves score in expectation."
    yield "ged-against-samples", "GED against the number of samples", text, figure
    for score in (row_of(key) for key in SHOWN_SCORES):
        values = {result.name: [row[score.key] for row in result.rows] for result in results}
        figure = methods.score_boxplots(values, score.title, score.better == "lower")
        yield f"{score.key}-boxplots", f"{score.title} of each image", "One box a method, over all images.", figure
    text = "How often raters marked a pixel, against the probability that was predicted for it."
    figure = methods.reliability_of_methods({result.name: result.calibration for result in results})
    yield "reliability", "Calibration", text, figure
    text = (
        "How many of the labels are wrong among those left when the pixels of highest entropy are removed. Dashed: the "
        "wrong ones are removed first. The area between both (AUSE) is in brackets, 0 at best."
    )
    figure = methods.sparsification_of_methods({result.name: result.errors.entropy for result in results})
    yield "sparsification", "Sparsification", text, figure
    if about.flips:
        yield from _flip_figures(results, about)


def _oracle(compared: Compared, about: DataDescription) -> list[tuple[int, float]] | None:
    """What draws from the raters themselves score: mu (1/n + 1/m), and mu / n where their distribution is known."""
    rows = [row for row in compared.results[0].rows if not math.isnan(row["ged_oracle"])]
    if not rows or not compared.results[0].curve:
        return None
    mu = np.array([row["rater_diversity"] for row in rows])
    of_raters = 0 if about.flips else 1 / np.array([row["num_raters"] for row in rows])
    return [(number, float((mu * (1 / number + of_raters)).mean())) for number, _ in compared.results[0].curve]


def _flip_figures(results: Sequence[MethodResult], about: DataDescription) -> Iterator[Named]:
    names = [about.class_names[flip.source] for flip in about.flips]
    found = {result.name: [result.flips[name]["frequency"] for name in names] for result in results}
    shown = {name: [math.nan if value is None else value for value in values] for name, values in found.items()}
    text = "The share of the samples' pixels of a class that show its twin, against the true probability."
    figure = flip_frequencies([flip.probability for flip in about.flips], shown, names)
    yield "flip-frequencies", "Frequency of each flip", text, figure
    shares = {result.name: result.mode_shares for result in results if result.mode_shares}
    if shares:
        text = "The share of the samples in each mode, on images that have all classes that flip."
        figure = mode_frequencies(mode_table(about.flips)[1].tolist(), shares, names)
        yield "mode-frequencies", "Frequency of each mode", text, figure


def _shown_rows(compared: Compared) -> list[tuple[str, list[GridRow]]]:
    """A few images, by name, with a row a method: raters, samples, mean and entropy."""
    shown = []
    for number in shown_images(len(compared.view.indices)):
        seen = Views(compared.view.examples, compared.view.preprocessing)[compared.view.indices[number]]
        labels = seen.labels.numpy()
        if seen.flips:
            happens, probability = mode_table(seen.flips)
            likely = probability.argsort(descending=True)[:4]
            labels = apply_flips(seen.labels[0], seen.flips, happens[likely]).numpy()
        rows = []
        for result in compared.results:
            score = result.rows[number]["ged"]
            caption = "" if math.isnan(score) else f"GED {score:.3f}"
            rows.append(GridRow(result.name, seen.image.numpy(), labels, *result.shown[number], caption))
        shown.append((seen.name, rows))
    return shown


def _sample_figures(shown: Sequence[tuple[str, list[GridRow]]], about: DataDescription) -> Iterator[Named]:
    for part, (name, rows) in enumerate(shown):
        figure = readings_grid(rows, about.class_names, about.has_background)
        text = "What the samples of each method amount to, with the share of the samples that show each reading."
        yield f"readings-{part}", f"Readings: {name}", text, figure
        figure = samples_grid(rows, about.class_names, about.has_background)
        yield f"samples-{part}", f"Samples: {name}", "The same image by each method.", figure


def _readings(name: str, rows: Sequence[GridRow], classes: Classes) -> ShownReadings:
    """The readings of one image by each method, as pictures of one part of it."""
    of_methods = [find_readings(np.asarray(row.samples), classes.counted, len(classes.names)) for row in rows]
    raters = np.asarray(rows[0].raters)
    flat = flattening(torch.from_numpy(raters), classes.counted)
    maps = [row.samples[one.medoid] for row, some in zip(rows, of_methods, strict=True) for one in some]
    image, *planes = (flat.shown(torch.from_numpy(np.asarray(one))) for one in (rows[0].image, raters, *maps))
    pictures = iter(thumbnails(image, planes[1:], classes, READING_SIDE, planes[0]))
    picture, of_raters = next(pictures), next(pictures)
    methods = [
        MethodReadings(row.name, row.caption, [(next(pictures), reading_caption(one, classes)) for one in some])
        for row, some in zip(rows, of_methods, strict=True)
    ]
    return ShownReadings(name, picture, of_raters, methods)


# ---- every image --------------------------------------------------------------------------------------------------


def _gallery(compared: Compared, classes: Classes, watcher: Watcher) -> list[GalleryItem]:
    watcher.stage("drawing every image", len(compared.view.indices))
    items: list[GalleryItem] = []
    cell: tuple[int, int] | None = None
    for number, index in enumerate(compared.view.indices):
        seen = Views(compared.view.examples, compared.view.preprocessing)[index]
        flat = flattening(seen.labels, compared.view.counted_classes)  # of a volume the plane that was measured
        image, raters = flat.shown(seen.image), flat.shown(seen.labels)
        cell = cell or cell_size(*image.shape[-2:])
        predictions = {}
        for result in compared.results:
            scores = {key: result.rows[number][key] for key in SHOWN_SCORES}
            predictions[result.name] = GalleryPrediction(
                result.maps[number], result.entropies[number], scores, result.samples[number]
            )
        row = GalleryRow(seen.name, image, raters, predictions)
        items.append(gallery_item(row, classes, cell))
        watcher.image()
    return items
