"""The section of docs/benchmarks.md about volumes."""

from __future__ import annotations

from page_parts import load, number, prose

COLUMNS = (
    "method",
    "GED",
    "over that of the raters",
    "Dice",
    "diversity",
    "CRPS of the volume, voxels",
    "coverage of 90 %",
    "IoU of neighbouring slices",
)


def volumes() -> list[str]:
    """Volumes in 3-D and slice by slice."""
    record = load("volumes")
    if record is None:
        return []
    config, machine, rows = record["config"], record["hardware"], record["results"]["rows"]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    for name, row in rows.items():
        cells = [number(row["ged"]), f"{row['ged_ratio']:.2f}", number(row["dice"]), number(row["diversity"])]
        cells += [f"{row['volume_crps_voxels']:.0f}", f"{row['volume_coverage']:.2f}", number(row["neighbour_iou"])]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    raters = next(iter(rows.values()))
    own = [number(raters["ged_oracle"]), "1", "-", number(raters["rater_diversity"])]
    own += [f"{raters['volume_crps_voxels_raters']:.0f}", "-", number(raters["neighbour_iou_raters"])]
    lines.append("| " + " | ".join(["raters", *own]) + " |")
    depth, height, width = config["crop"]
    return [
        "## Volumes: in 3-D, and slice by slice",
        "`python benchmarks/volumes.py --work volumes --out benchmarks/results/volumes.json`",
        f"{config['data']}. Preset `{config['preset']}`, {config['steps']} steps, {config['samples']} samples, seed "
        f"{config['seed']}. {machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, torch "
        f"{machine['torch']}, {record['date'][:10]}.",
        "\n".join(lines),
        prose(f"""A step sees {config["crops_per_step"]} crops of {depth} x {height} x {width} voxels in 3-D, and
            {config["slices_per_step"]} slices with `--slices 0`: as many slices. Both rows of slices are of one run;
            with shared draws all slices of a sample are decoded from one latent vector, with independent ones each has
            its own, which is a 2-D model applied slice by slice. The last column tells how samples hang together from
            slice to slice, and is best near that of the raters. So few steps show the ways apart, not what the methods
            can do."""),
    ]
