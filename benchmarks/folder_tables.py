"""The section of docs/benchmarks.md about the default commands on folders."""

from __future__ import annotations

from page_parts import load, number, prose, ratio


def folders() -> list[str]:
    record = load("folders")
    if record is None:
        return []
    machine, minutes = record["hardware"], record["config"]["minutes"]
    columns = (
        "data",
        "method",
        "plan",
        "steps",
        "Dice",
        "GED",
        "raters' GED",
        "ratio",
        "minutes",
        "share of steps",
        "GB",
        "MB",
    )
    lines = ["| " + " | ".join(columns) + " |", "|---|---|---|" + "---:|" * (len(columns) - 3)]
    for folder, pair in record["results"].items():
        for method, run in pair.items():
            several = run["num_raters"] > 1
            cells = [folder, method, run["plan"][0], f"{run['steps']:,}", number(run["dice"])]
            cells += [number(run[name]) if several else "-" for name in ("ged", "ged_oracle")]
            over_raters = ratio(run["ged"], run["ged_oracle"]) if several else None
            cells.append("-" if over_raters is None else f"{over_raters:.2f}")
            cells += [f"{run['wall_seconds'] / 60:.1f}", f"{run['share_of_steps']:.0%}", f"{run['memory_gb']:.1f}"]
            cells.append(f"{run['run_mb']:.0f}")
            lines.append("| " + " | ".join(cells) + " |")
    return [
        f"## Folders of images, {minutes:g} minutes, no settings",
        f"`python benchmarks/folders.py --minutes {minutes:g} --work folders --out benchmarks/results/folders.json`",
        f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores each, torch {machine['torch']}, "
        f"{record['date'][:10]}." + (f" {record['config']['note']}" if record["config"]["note"] else ""),
        "\n".join(lines),
        prose("""Each line is `plurimask train DATA --method METHOD --max-minutes ...` and `plurimask evaluate`, 16
            samples, on the validation images. Minutes are those on the clock, from the command to its end; the share of
            steps is what is left of them without start, reading, timing and validations; GB is the most memory that the
            training held, MB what the run takes on disk. The raters' GED is the oracle's: what draws from the raters'
            masks score; the ratio is of the two."""),
    ]
