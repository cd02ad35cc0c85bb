"""What the parts of the Hierarchical Probabilistic U-Net do, one changed at a time, on LIDC-IDRI crops.

    python benchmarks/hierarchy_ablation.py --work ablation --out benchmarks/results/hierarchy_ablation.json

Residual blocks against plain convolutions, latents at 3, 4 and 5 scales, GECO against the ELBO: each is trained with
the same budget and seed and evaluated on the validation images; the KL term of each level is taken from the training.
Figures go to WORK/figures. `--variants` trains some of them only, so that several calls can share a WORK folder one
after the other; `--runs` takes variants that were trained elsewhere, named by their folders.
"""

from __future__ import annotations

import sys
from statistics import fmean
from typing import Any

from compared import arguments
from level_charts import level_kl_of_variants
from record import data_folder, record, write
from rich.console import Console

from plurimask import open_data
from plurimask.commands.compare import Bars
from plurimask.compare.contenders import Contender, evaluate_contenders, run_folder, table_rows, train_contenders
from plurimask.compare.table import markdown_table
from plurimask.figures.scales.training import hierarchy_training, level_columns
from plurimask.figures.style import save_figure
from plurimask.prediction.predict import Sampling
from plurimask.runs.plan import Plan
from plurimask.runs.record import read_record
from plurimask.training.log import read_metrics

NAME = "hierarchical-probabilistic-unet"
SETTINGS: dict[str, Any] = {
    "center_crop": 64,
    "num_validations": 4,
    "batch_size": 8,
    "raters_per_step": 2,
    "multiplier_rate": 8e-3,
}
"""Smaller steps, more of them, and a lambda that moves faster than the preset's: its way up and down must fit in."""
VARIANTS: dict[str, dict[str, Any]] = {
    "residual-4-scales-geco": {},
    "plain-convolutions": {"blocks": "plain"},
    "3-scales": {"latent_dims": (1, 1, 1)},
    "5-scales": {"latent_dims": (1, 1, 1, 1, 1)},
    "elbo": {"objective": "elbo"},
}
EARLY, LATE = (0.1, 0.2), (0.9, 1.0)
"""Shares of the training over which KL terms are averaged."""


def level_kls(rows: list[dict[str, float]], part: tuple[float, float]) -> list[float]:
    """The mean KL of each level in nats, coarse to fine, over a part of the training."""
    last = max(row["step"] for row in rows)
    chosen = [row for row in rows if "kl_0" in row and part[0] * last <= row["step"] <= part[1] * last]
    return [round(fmean(row[column] for row in chosen), 4) for column in level_columns(rows)]


def main() -> None:
    parser = arguments(__doc__, 4, [])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    source, settings = open_data(data_folder() / "lidc"), {**SETTINGS, "max_minutes": options.minutes_per_method}
    contenders = [Contender(path.name, run=path) for path in options.runs]
    contenders += [
        Contender(name, Plan(NAME, "small", {**settings, **VARIANTS[name]}, options.seed)) for name in options.variants
    ]
    with Bars(Console(stderr=True)) as watcher:
        if not train_contenders(contenders, source, options.work, watcher):
            sys.exit(130)
        sampling = Sampling(options.samples, options.seed)
        compared = evaluate_contenders(contenders, source, options.work, "val", sampling, watcher)
    rows = table_rows(compared)
    histories = {one.name: read_metrics(run_folder(one, options.work) / "metrics.csv") for one in contenders}
    for row in rows:
        history = histories[str(row["method"])]
        row["kl_early"], row["kl_late"] = level_kls(history, EARLY), level_kls(history, LATE)
    print(
        markdown_table(
            [{key: str(value) if isinstance(value, list) else value for key, value in row.items()} for row in rows]
        )
    )
    folder = options.work / "figures"
    save_figure(level_kl_of_variants(histories), folder / "levels.png")
    for one, (name, history) in zip(contenders, histories.items(), strict=True):
        config = read_record(run_folder(one, options.work)).config
        kappa = config["kappa"] if config["objective"] == "geco" else None
        save_figure(hierarchy_training(history, kappa), folder / f"training-{name}.png")
    config = {
        "preset": "small", **settings, "samples": options.samples, "seed": options.seed, "variants": VARIANTS,
        "data": "LIDC-IDRI, 64 x 64 centre crops",
    }  # fmt: skip
    results = {
        "ged_oracle": compared.results[0].totals["ged_oracle"],
        "methods": {str(row["method"]): row for row in rows},
    }
    write(options.out, record("hierarchy_ablation", config, results))


if __name__ == "__main__":
    main()
