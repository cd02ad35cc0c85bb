"""The sections of docs/benchmarks.md about assumed density filtering."""

from __future__ import annotations

from page_parts import load, method_table, prose, provenance

PUBLISHED_YEAST = {
    "U-Net with batch norm": (0.9626, 0.8839),
    "ADF U-Net": (0.9544, 0.9033),
    "ADF DeepLabV3+": (0.9492, 0.8941),
}
"""Dice and IoU of the slides, on the real data set; how they are averaged is not said there."""


def adf() -> list[str]:
    """All about assumed density filtering."""
    return [*yeast(), *moments(), *costs()]


def yeast() -> list[str]:
    record = load("yeast")
    if record is None:
        return []
    theirs = "; ".join(f"{name} {dice} and {iou}" for name, (dice, iou) in PUBLISHED_YEAST.items())
    config = {key: value for key, value in record["config"].items() if key != "variants"}
    return [
        "## Trapped yeast: assumed density filtering",
        "`python benchmarks/yeast.py --work yeast --out benchmarks/results/yeast.json`",
        provenance({**record, "config": config}),
        method_table(record),
        prose(f"""Dice and IoU are means over the classes trap and cell of each image, then over images; the mean class
            figures pool all pixels first. On the real data set, which its authors give on request only, slides report
            Dice and IoU of {theirs}: another world, so not to be compared."""),
    ]


def moments() -> list[str]:
    record = load("moments")
    if record is None:
        return []
    lines = [
        "| network | correlation of the variances | of their logarithms | ratio of the means | correlation of means |"
    ]
    lines.append("|---|---:|---:|---:|---:|")
    for name, row in record["results"].items():
        lines.append(
            f"| {name} | {row['correlation_of_variances']:.3f} | {row['correlation_of_log_variances']:.3f} | "
            f"{row['ratio_of_mean_variances']:.2f} | {row['correlation_of_means']:.4f} |"
        )
    return [
        "## Propagated moments against noisy passes",
        "`python benchmarks/moments.py --runs yeast/runs/unet --out benchmarks/results/moments.json`",
        provenance(record),
        "\n".join(lines),
        prose("""Class scores of trained networks, propagated variance over that of 2,000 passes of noisy images. What
            the propagation neglects is that values which share inputs depend on each other: calibrated, each squared
            weight has a factor, fitted on training images, that makes up for what of this lies in the weights. What
            remains depends on the image."""),
    ]


def costs() -> list[str]:
    record = load("adf")
    if record is None:
        return []
    lines = ["| network | one pass, ms | ADF | ADF, compiled | T = 20 with dropout over ADF | over ADF, compiled |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    results = dict(record["results"])
    activation = results.pop("activation")
    for name, row in results.items():
        cells = [f"{1000 * row['deterministic']:.0f}"]
        keys = ("adf_ratio", "adf_compiled_ratio", "adf_faster_than_dropout_20", "adf_compiled_faster_than_dropout_20")
        cells += [f"{row[key]:.2f}" if key in row else "-" for key in keys]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [
        "## What a pass of assumed density filtering costs",
        "`python benchmarks/adf.py --out benchmarks/results/adf.json`",
        provenance(record),
        "\n".join(lines),
        prose(
            f"""In units of the ordinary network's pass; the twenty passes with dropout are the project's own, which
            share what they can. The moments of a ReLU alone, in units of a ReLU: as published
            {activation["published_ratio"]:.0f}, in blocks {activation["blocks_ratio"]:.0f}"""
            + (f""", compiled {activation["compiled_ratio"]:.0f}.""" if "compiled_ratio" in activation else ".")
        ),
    ]
