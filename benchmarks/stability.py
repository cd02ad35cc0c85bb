"""Five seeds, 300 steps each on LIDC-IDRI crops: no NaN, and no collapse of the latent space.

    python benchmarks/stability.py --out benchmarks/results/stability.json
    python benchmarks/stability.py --method hierarchical-probabilistic-unet \
        --out benchmarks/results/stability_hierarchical.json

A run has collapsed if its KL term is below 0.5 nats at the end, or its samples do not differ. Exits with code 1 then.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import data_folder, record, write

from plurimask import Plan, open_data, train_run
from plurimask.training.log import read_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="probabilistic-unet")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    source = open_data(data_folder() / "lidc")
    settings: dict[str, Any] = {"center_crop": 64, "max_steps": options.steps, "num_validations": 1}
    rows: list[dict[str, float]] = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            train_run(Plan(options.method, "small", settings, seed), source, Path(folder) / "run")
            history = read_metrics(Path(folder) / "run" / "metrics.csv")
        last = [row for row in history if "kl" in row][-1]
        validated = [row for row in history if "val_ged" in row][-1]
        terms: dict[str, float] = {name: last[name] for name in ("kl", "reconstruction", "lambda") if name in last}
        rows.append({"seed": seed, **terms, **{k: validated[f"val_{k}"] for k in ("ged", "diversity")}})
        print(rows[-1], flush=True)
    config = {"method": options.method, "preset": "small", **settings, "data": "LIDC-IDRI, 64 x 64 centre crops"}
    write(options.out, record("stability", config, {"seeds": rows}))
    if any(row["kl"] < 0.5 or row["diversity"] <= 0 for row in rows):
        sys.exit("a run collapsed")


if __name__ == "__main__":
    main()
