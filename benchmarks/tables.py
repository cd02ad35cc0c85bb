"""Write docs/benchmarks.md, and the tables of docs/bayesian.md, from the records in benchmarks/results.

python benchmarks/tables.py              (writes the pages)
python benchmarks/tables.py --check      (exits with 1 if a page is not what the records give)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adf_tables import adf
from bayesian_tables import PAGE as BAYESIAN
from bayesian_tables import bayesian, with_tables
from energy_tables import energy_score
from folder_tables import folders
from hierarchy_tables import hierarchy
from page_parts import load, method_table, number, over, prose, provenance
from training_tables import training
from volume_tables import volumes

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
PUBLISHED_WORMS = {"dropout-unet": 0.905, "unet": 0.924}
"""Median Dice on the test wells."""


def curve_table(methods: dict[str, Any], published: Mapping[str, tuple[float, ...]], oracle: dict[int, float]) -> str:
    """GED at n samples, in brackets over that of as many draws from the raters, and the published beside it."""
    lines = ["| method | " + " | ".join(f"n = {n} | paper" for n in NUMBERS) + " |", "|---|" + "---:|" * 8]
    for name, result in methods.items():
        own, theirs = dict(result["curve"]), published.get(name, (None,) * 4)
        cells = [
            f"{over(own[n], oracle[n])} | {theirs_at or '-'}" for n, theirs_at in zip(NUMBERS, theirs, strict=True)
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    cells = [f"{oracle[n]:.3f} | -" for n in NUMBERS]
    lines.append("| draws from the raters themselves | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def stratified(oracle: float) -> list[str]:
    record = load("stratified")
    if record is None:
        return []
    lines = ["| | GED of 16 samples | over that of the raters |", "|---|---:|---:|"]
    lines += [f"| {name} | {value:.4f} | {value / oracle:.2f} |" for name, value in record["results"].items()]
    return [
        prose("""Methods differ in their distributions, and in how samples are chosen from them. M-heads gives each of
            its 16 heads once, a set that represents its distribution better than independent draws do; the
            Probabilistic U-Net draws z independently. The same two runs with the other way of choosing (`python
            benchmarks/stratified.py`); [spread draws](metrics.md#spread-draws) of z are Sobol points:"""),
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
        "GED squared at n samples, in brackets over that of as many draws from the raters, beside the paper's figure 4 "
        "(read off the figure, about 0.01):",
        curve_table(results["methods"], PUBLISHED_LIDC, oracle),
        *stratified(results["ged_oracle"]),
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
        "GED squared at n samples, in brackets over that of as many draws from the raters, beside the paper's on "
        "Cityscapes (read off figure 4, about 0.01):",
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


def page() -> str:
    """The whole page."""
    head = [
        "# Benchmarks",
        prose("""This page is made from the records in `benchmarks/results` by `python benchmarks/tables.py`. GED is the
            squared generalised energy distance; what the columns mean is in [metrics](metrics.md). "GED over that of
            the raters" divides it by what as many draws from the raters themselves score on the same images
            (`ged_ratio`), so that figures of other data and crops can be held against it. Where a distribution is wrong
            the ratio still grows with n. What differs from a published protocol is said below each table."""),
    ]
    compared = [*lidc(), *street_flips(), *bbbc010(), *mc_dropout(), *hierarchy()]
    return (
        "\n\n".join([*head, *folders(), *compared, *energy_score(), *volumes(), *adf(), *bayesian(), *training()])
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    pages = {PAGE: page(), BAYESIAN: with_tables(BAYESIAN.read_text())}
    if parser.parse_args().check:
        sys.exit(int(any(not path.exists() or path.read_text() != text for path, text in pages.items())))
    for path, text in pages.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
