"""The section of docs/benchmarks.md about training steps."""

from __future__ import annotations

from page_parts import load, prose

NAMES = {
    "unet": "U-Net",
    "one_rater": "Probabilistic U-Net, 1 rater",
    "four_raters": "Probabilistic U-Net, 4 raters",
}
COLUMNS = (
    "step",
    "threads",
    "precision, layout",
    "ms",
    "in steps of the U-Net",
    "before, ms",
    "times faster",
    "quartiles",
)


def training() -> list[str]:
    record = load("training")
    if record is None:
        return []
    config, machine = record["config"], record["hardware"]
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|---|" + "---:|" * (len(COLUMNS) - 3)]
    for threads, of_threads in record["results"].items():
        kind = "processor_ms" if threads.startswith("1 ") else "clock_ms"
        for name, title in NAMES.items():
            ways = of_threads.get(name, {})
            before = next((row for way, row in ways.items() if way.startswith("before")), None)
            for way, row in ways.items():
                if row is before:
                    continue
                unit = of_threads.get("unet", {}).get(way)
                cells = [title, threads.split()[0], way, f"{row[kind]:.0f}"]
                cells.append(f"{row[kind] / unit[kind]:.2f}" if unit else "-")
                cells.append(f"{before[kind]:.0f}" if before else "-")
                cells.append(f"{row['times_faster']:.2f}" if before else "-")
                cells.append(" to ".join(f"{x:.2f}" for x in row["times_faster_quartiles"]) if before else "-")
                lines.append("| " + " | ".join(cells) + " |")
    size, widths = "x".join(map(str, config["size"])), "-".join(map(str, config["widths"]))
    isa = f", oneDNN held to {config['onednn_max_isa']}" if config["onednn_max_isa"] else ""
    before = f" Before: commit {config['before'][:8]}." if config["before"] else ""
    return [
        "## Training steps on a processor",
        "`python benchmarks/training.py --before CHECKOUT --out benchmarks/results/training.json`",
        f"Widths {widths}, {config['latent_dim']} latents, batch {config['batch']} of {size}; {config['turns']} turns. "
        f"{machine['cpu']}, {machine['cores']} cores, torch's capability {config['capability']}{isa}, torch "
        f"{machine['torch']}, {record['date'][:10]}, load {machine['load_average']:.0f} at the end.{before}",
        "\n".join(lines),
        prose("""Gradient, clipping and optimiser of a batch that is there. Steps of both commits are made by turns,
            each commit in a process of its own; times are medians, the ratio is the median over turns. With one thread,
            bound to a core, it is the processor's time, which other work on the machine lengthens too (its caches), but
            far less than the clock's, which it is with two."""),
        *_floor(),
    ]


def _floor() -> list[str]:
    """What the convolutions alone take."""
    record = load("training_floor")
    if record is None:
        return []
    found, machine = record["results"], record["hardware"]
    before, now = (row["processor_ms"] for row in found["steps"].values())
    kinds = ", ".join(
        f"{row['ms']:.0f} ms {kind} ({row['gigaflops']:.0f} Gflop/s)" for kind, row in found["convolutions"].items()
    )
    return [
        "`python benchmarks/training_floor.py --before CHECKOUT --out benchmarks/results/training_floor.json`",
        f"The least time: the convolutions of a step with one rater, each by itself in the layout that suits it best, "
        f"take {found['floor_ms']:.0f} ms: {kinds}; a matrix product of 2048 x 2048 runs at "
        f"{found['gigaflops_of_a_matrix_product']:.0f} Gflop/s. The step takes {now:.0f} ms, and took {before:.0f} "
        f"before: if all else took no time, it could be {found['times_faster_at_most']:.3f} times faster than before "
        f"({machine['cpu']}, one core, torch's capability {record['config']['capability']}, {record['date'][:10]}).",
    ]
