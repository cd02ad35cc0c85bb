"""The sections of docs/benchmarks.md about the Hierarchical Probabilistic U-Net."""

from __future__ import annotations

from typing import Any

from page_parts import load, method_table, prose, provenance, ratio

from plurimask.compare.table import GED_RATIO, markdown_table

PUBLISHED_RECONSTRUCTION = {"probabilistic-unet": 0.75, "hierarchical-probabilistic-unet": 0.97}
"""IoU_rec on LIDC, table 1 of Kohl et al. 2019; Hungarian IoU there: 0.50 and 0.53."""


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
    oracle = results["law"]["ged_oracle"]
    judged = {
        name: {**result, GED_RATIO: ratio(result["ged_of_16"], oracle)}
        for name, result in {**results["methods"], "draws from the law": results["law"]}.items()
    }
    titles = {
        "frequency_error": "error of the cells' frequencies",
        "mean_absolute_correlation": "mean absolute correlation of two cells",
        "distinct_modes": "distinct combinations",
        "distinct_modes_share": "as a share of those of the law",
        "constant_objects": "cells that never vary",
        "clear_share": "cells drawn whole or not at all",
        "ged_of_16": "GED of 16 samples",
        GED_RATIO: "GED over that of draws from the law",
    }
    rows = [
        {"method": name, **{title: _short(result[key]) for key, title in titles.items()}}
        for name, result in judged.items()
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
    rows: list[dict[str, Any]] = []
    same_images = record if "ged_oracle" in record["results"] else load("lidc")
    oracle = None if same_images is None else same_images["results"]["ged_oracle"]
    for name, result in record["results"]["methods"].items():
        kept = ("ged", GED_RATIO, "diversity", "reconstruction_iou", "reconstruction_iou_marked", "parameters", "steps")
        judged = {GED_RATIO: ratio(result["ged"], oracle), **result}
        kls = {f"KL of the levels, {when}": _nats(result[f"kl_{when}"]) for when in ("early", "late")}
        rows.append({"method": name, **{key: judged[key] for key in kept}, **kls})
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


def spread_levels() -> list[str]:
    record = load("spread_levels")
    if record is None:
        return []
    (about,) = record["config"]["runs"].values()
    results = {name.partition(", ")[2]: ged for name, ged in record["results"].items()}
    oracle = results.pop("draws from the raters")
    rows = [{"method": name, "ged": ged, GED_RATIO: ged / oracle} for name, ged in results.items()]
    return [
        "## Which levels of latents to spread",
        "`python benchmarks/stratified.py --maps RUN --images 192 --out benchmarks/results/spread_levels.json`",
        provenance(record),
        markdown_table(rows).replace("| method |", "| 16 samples |", 1),
        prose(f"""A small run of the Hierarchical Probabilistic U-Net ({about}; latent maps of 4 x 4, 8 x 8, 16 x 16 and
            32 x 32) made for this table: what counts is the difference between the rows, which are of the same network
            and images. [Spread draws](metrics.md#spread-draws) of so many levels, the coarsest first, the others
            independent and the same in all rows."""),
    ]


def hierarchy() -> list[str]:
    """All about the Hierarchical Probabilistic U-Net."""
    return [*lidc_hierarchical(), *many_objects(), *hierarchy_ablation(), *spread_levels(), *hierarchical()]


def _short(value: float | int | None) -> float | int | str | None:
    """Three digits behind the point, of what has any."""
    return f"{value:.3f}" if isinstance(value, float) else value


def _nats(values: list[float]) -> str:
    return ", ".join(f"{value:.2g}" for value in values)
