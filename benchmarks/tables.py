"""Write docs/benchmarks.md from the records in benchmarks/results.

python benchmarks/tables.py              (writes the page)
python benchmarks/tables.py --check      (exits with 1 if the page is not what the records give)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adf_tables import adf
from folder_tables import folders
from page_parts import load, method_table, number, prose, provenance
from training_tables import training

from plurimask.compare.table import markdown_table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"

NUMBERS = (1, 4, 8, 16)
PUBLISHED_LIDC = {
    "dropout-unet": (1.16, 0.60, 0.51, 0.47),
    "ensemble": (0.69, 0.53, 0.50, 0.49),
    "m-heads": (0.875, 0.41, 0.39, 0.34),
    "image2image-vae": (1.03, 0.53, 0.455, 0.41),
    "probabilistic-unet": (0.81, 0.39, 0.32, 0.29),
}
PUBLISHED_CITYSCAPES = {
    "dropout-unet": (1.03, 0.48, 0.39, 0.34),
    "ensemble": (0.74, 0.45, 0.40, 0.375),
    "m-heads": (0.76, 0.39, 0.325, 0.285),
    "image2image-vae": (0.915, 0.40, 0.315, 0.277),
    "probabilistic-unet": (0.875, 0.34, 0.25, 0.207),
}
"""Mean GED squared at n samples, read off figure 4 of Kohl et al. 2018, to about 0.01."""
PUBLISHED_FLIPS = {"sidewalk": 0.435, "person": 0.316, "car": 0.304, "vegetation": 0.202, "road": 0.221}
"""Frequency of the flips among the samples, of the released code on Cityscapes (the evaluation's notebook)."""
PUBLISHED_RECONSTRUCTION = {"probabilistic-unet": 0.75, "hierarchical-probabilistic-unet": 0.97}
"""IoU_rec on LIDC, table 1 of Kohl et al. 2019; Hungarian IoU there: 0.50 and 0.53."""
PUBLISHED_WORMS = {"dropout-unet": 0.905, "unet": 0.924}
"""Median Dice on the test wells."""


def curve_table(methods: dict[str, Any], published: Mapping[str, tuple[float, ...]], oracle: dict[int, float]) -> str:
    """GED at n samples, ours and the published beside it."""
    lines = ["| method | " + " | ".join(f"n = {n} | paper" for n in NUMBERS) + " |", "|---|" + "---:|" * 8]
    for name, result in methods.items():
        own, theirs = dict(result["curve"]), published.get(name, (None,) * 4)
        cells = [f"{own[n]:.3f} | {'-' if other is None else other}" for n, other in zip(NUMBERS, theirs, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    cells = [f"{oracle[n]:.3f} | -" for n in NUMBERS]
    lines.append("| draws from the raters themselves | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def stratified() -> list[str]:
    record = load("stratified")
    if record is None:
        return []
    lines = ["| GED of 16 samples | |", "|---|---:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in record["results"].items()]
    return [
        prose("""Methods differ in their distributions, and in how samples are chosen from them. M-heads gives each of
            its 16 heads once, a set that represents its distribution better than independent draws do; the
            Probabilistic U-Net draws z independently. The same two runs with the other way of choosing (`python
            benchmarks/stratified.py`):"""),
        "\n".join(lines),
    ]


def lidc() -> list[str]:
    record = load("lidc")
    if record is None:
        return []
    results = record["results"]
    oracle = {n: results["mu"] * (1 / n + 1 / 4) for n in NUMBERS}
    return [
        "## LIDC-IDRI: the Probabilistic U-Net and its paper's baselines",
        "`python benchmarks/lidc.py --minutes-per-method 15 --work cmp --out benchmarks/results/lidc.json`",
        provenance(record),
        method_table(record),
        "GED squared at n samples, beside the paper's figure 4 (read off the figure, about 0.01):",
        curve_table(results["methods"], PUBLISHED_LIDC, oracle),
        *stratified(),
        prose(f"""What differs from the paper: 64 x 64 centre crops in place of 128 x 128 random crops of 180 x 180;
            widths 16-32-64-96 in place of 32 doubling to 512; minutes on a processor in place of 240,000 steps of
            batch 32; validation in place of test patients, of another release of the data, where two raters of an image
            differ by {results["mu"]:.3f} on average; four raters of an image in each step in place of one; 4 members in
            place of 16, which share one budget; one network of 16 heads in place of one network for each n."""),
    ]


def street_flips() -> list[str]:
    record = load("street_flips")
    if record is None:
        return []
    results = record["results"]
    oracle = {n: results["mu"] / n for n in NUMBERS}
    names = list(next(iter(results["methods"].values()))["flips"])
    first = next(iter(results["methods"].values()))["flips"]
    flips = ["| | " + " | ".join(names) + " | mean error |", "|---|" + "---:|" * (len(names) + 1)]
    flips.append("| true | " + " | ".join(f"{first[name]['probability']:.3f}" for name in names) + " | |")
    for method, result in results["methods"].items():
        cells = [number(result["flips"][name]["frequency"]) for name in names]
        flips.append(f"| {method} | " + " | ".join(cells) + f" | {number(result['flip_error'])} |")
    theirs = ", ".join(f"{name} {value}" for name, value in PUBLISHED_FLIPS.items())
    return [
        "## Street scenes with stochastic class flips",
        "`python benchmarks/street_flips.py --minutes-per-method 7 --work flips --out "
        "benchmarks/results/street_flips.json`",
        provenance(record),
        method_table(record),
        "How often samples show each class flipped:",
        "\n".join(flips),
        f"The released code of the Probabilistic U-Net measured on Cityscapes, after 240,000 steps: {theirs}.",
        "GED squared at n samples, beside the paper's on Cityscapes (read off figure 4, about 0.01):",
        curve_table(results["methods"], PUBLISHED_CITYSCAPES, oracle),
        prose("""The Probabilistic U-Net draws no pedestrians at all, flipped or not: they are 0.7 % of the pixels, and
            a class that no sample shows counts as one that never flips."""),
        prose("""What differs from the paper: CamVid (367 training images, 72 x 96 pixels) in place of Cityscapes
            (quarter resolution, 256 x 512); minutes on a processor; batch norm in all methods; beta 2 in place of 1,
            and of 10 in the Image2Image VAE. Images of which the annotator marked none of the five classes are left
            out, as there. The published numbers are for orientation, not for comparison."""),
    ]


def bbbc010() -> list[str]:
    record = load("bbbc010")
    if record is None:
        return []
    lines = [
        "| method | median Dice (validation) | paper (test wells) | AUROC of the entropy for errors | steps | minutes |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for name, result in record["results"]["methods"].items():
        lines.append(
            f"| {name} | {result['median_dice']:.4f} | {PUBLISHED_WORMS.get(name, '-')} | "
            f"{number(result['error_auroc'])} | {result['steps']:,} | {result['minutes']:.1f} |"
        )
    return [
        "## C. elegans (BBBC010): the Monte-Carlo-dropout U-Net",
        "`python benchmarks/bbbc010.py --minutes-per-method 40 --work worms --out benchmarks/results/bbbc010.json` "
        "(or, of runs that are trained, `--methods --runs RUN RUN`)",
        provenance(record),
        "\n".join(lines),
        prose("""What differs from the published experiment: the learning rate falls as a cosine and the weights with
            the best validation GED are kept, in place of a constant rate and the best validation loss; inputs are
            normalised by the training set's mean and deviation after each image was divided by its maximum; rotations
            of up to 15 degrees and flips for every image; some of the hundred wells are missing in the copy of the
            data."""),
    ]


def mc_dropout() -> list[str]:
    record = load("mc_dropout")
    if record is None:
        return []
    lines = ["| precision | 20 separate forwards, s | 20 passes, s | ratio |", "|---|---:|---:|---:|"]
    for precision, values in record["results"].items():
        lines.append(f"| {precision} | {values['separate']:.3f} | {values['shared']:.3f} | {values['ratio']:.3f} |")
    return [
        "## Twenty passes with dropout",
        "`python benchmarks/mc_dropout.py --out benchmarks/results/mc_dropout.json`",
        provenance(record),
        "\n".join(lines),
    ]


def lidc_hierarchical() -> list[str]:
    record = load("lidc_hierarchical")
    if record is None:
        return []
    results = record["results"]
    theirs = ", ".join(f"{name} {value}" for name, value in PUBLISHED_RECONSTRUCTION.items())
    return [
        "## LIDC-IDRI: the Hierarchical Probabilistic U-Net",
        "`python benchmarks/lidc.py --methods probabilistic-unet hierarchical-probabilistic-unet "
        "--minutes-per-method 25 --work cmp --out benchmarks/results/lidc_hierarchical.json`",
        provenance(record),
        method_table(record),
        prose(f"""IoU of reconstructions as published, on 128 x 128 crops after 240,000 steps: {theirs}. The mean over
            all raters' maps counts an empty map that is rebuilt empty as 1; the column "marked" leaves empty maps out.
            Draws from the raters themselves score a GED of {results["ged_oracle"]:.3f}."""),
    ]


def many_objects() -> list[str]:
    record = load("many_objects")
    if record is None:
        return []
    config, results = record["config"], record["results"]
    own = config["own"]["hierarchical-probabilistic-unet"]
    titles = {
        "frequency_error": "error of the cells' frequencies",
        "mean_absolute_correlation": "mean absolute correlation of two cells",
        "distinct_modes": "distinct combinations",
        "distinct_modes_share": "as a share of those of the law",
        "constant_objects": "cells that never vary",
        "clear_share": "cells drawn whole or not at all",
        "ged_of_16": "GED of 16 samples",
    }
    rows = [
        {"method": name, **{title: _short(result[key]) for key, title in titles.items()}}
        for name, result in {**results["methods"], "draws from the law": results["law"]}.items()
    ]
    return [
        "## Twelve independent cells in an image",
        f"`python benchmarks/many_objects.py --minutes-per-method {config['max_minutes']:g} --work cells --out "
        "benchmarks/results/many_objects.json`",
        provenance(
            {
                **record,
                "config": {key: config[key] for key in ("data", "preset", "max_minutes", "samples", "images", "seed")},
            }
        ),
        markdown_table(rows),
        prose(f"""Each cell counts with a probability that can be seen, independently of the others: 4,096 combinations.
            Two cells that are independent have a mean absolute correlation of {results["chance_correlation"]:.3f} among
            {config["samples"]:,} samples by chance. A guess of 1/2 for every cell would err by 0.15 in its
            frequencies. A share of the combinations above 1 means that samples vary more than the readers do. The
            plain Probabilistic U-Net has 6 latents for the whole image and beta 1; the hierarchical one has a map of
            latents at each of four scales and is trained by the ELBO with beta {own["beta"]:g}."""),
    ]


def hierarchy_ablation() -> list[str]:
    record = load("hierarchy_ablation")
    if record is None:
        return []
    rows = []
    for name, result in record["results"]["methods"].items():
        kept = ("ged", "diversity", "reconstruction_iou", "reconstruction_iou_marked", "parameters", "steps")
        kls = {f"KL of the levels, {when}": _nats(result[f"kl_{when}"]) for when in ("early", "late")}
        rows.append({"method": name, **{key: result[key] for key in kept}, **kls})
    config = record["config"]
    return [
        "## Parts of the Hierarchical Probabilistic U-Net",
        f"`python benchmarks/hierarchy_ablation.py --minutes-per-method {config['max_minutes']:g} --work ablation "
        "--out benchmarks/results/hierarchy_ablation.json`",
        provenance({**record, "config": {key: value for key, value in config.items() if key != "variants"}}),
        markdown_table(rows),
        prose(
            """KL in nats, coarse to fine, averaged over the second tenth of the training (early) and the last one."""
        ),
    ]


def hierarchical() -> list[str]:
    record = load("hierarchical")
    if record is None:
        return []
    lines = ["| preset, precision | step, ms | prior alone, ms | ratio | 16 masks, ms | 16 networks, ms | ratio |"]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for name, row in record["results"].items():
        lines.append(
            f"| {name} | {row['step_ms']:.0f} | {row['prior_alone_ms']:.0f} | {row['training_step']:.2f} | "
            f"{row['one_image_to_16_masks_ms']:.0f} | {row['network_16_times_ms']:.0f} | {row['sampling']:.2f} |"
        )
    return [
        "## What a step and samples of the Hierarchical Probabilistic U-Net cost",
        "`python benchmarks/hierarchical.py --out benchmarks/results/hierarchical.json`",
        provenance(record),
        "\n".join(lines),
        prose("""A training step with one rater against forward and gradient of prior core and stitching decoder alone;
            one image to 16 masks against 16 calls of the whole network."""),
    ]


def hierarchy() -> list[str]:
    """All about the Hierarchical Probabilistic U-Net."""
    return [*lidc_hierarchical(), *many_objects(), *hierarchy_ablation(), *hierarchical()]


def _short(value: float | int | None) -> float | int | str | None:
    """Three digits behind the point, of what has any."""
    return f"{value:.3f}" if isinstance(value, float) else value


def _nats(values: list[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)


def page() -> str:
    """The whole page."""
    head = [
        "# Benchmarks",
        prose("""This page is made from the records in `benchmarks/results` by `python benchmarks/tables.py`. GED is the
            squared generalised energy distance; what the columns mean is in [metrics](metrics.md). Numbers at different
            n, data or budgets do not compare; what differs from a published protocol is said below each table."""),
    ]
    compared = [*lidc(), *street_flips(), *bbbc010(), *mc_dropout(), *hierarchy(), *adf()]
    return "\n\n".join([*head, *folders(), *compared, *training()]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        sys.exit(int(not PAGE.exists() or PAGE.read_text() != page()))
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
