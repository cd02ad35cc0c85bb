"""Train the Probabilistic U-Net on LIDC-IDRI crops and measure it on the validation patients.

    python benchmarks/lidc.py --minutes 20 --out benchmarks/results/lidc.json

It is `plurimask train DATA/lidc --method probabilistic-unet --preset small --center-crop 64 --max-minutes 20` and then
`plurimask evaluate` with 16 samples. DATA is the folder named by PLURIMASK_DATA, else ../shared/data.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from record import data_folder, record, write

from plurimask import Plan, load_run, open_data, train_run
from plurimask.evaluate import ExampleView, evaluate
from plurimask.inference import Sampling


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    source = open_data(data_folder() / "lidc")
    settings = {"center_crop": 64, "max_minutes": options.minutes}
    plan = Plan("probabilistic-unet", "small", settings, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        training = train_run(plan, source, Path(folder) / "run")
        run = load_run(Path(folder) / "run")
    view = ExampleView(source.splits["val"], range(len(source.splits["val"])), run.record.preprocessing, (1,))
    totals = evaluate(run.method, view, Sampling(options.samples)).totals
    config = {"method": plan.method, "preset": plan.preset, **settings, "samples": options.samples, "seed": plan.seed}
    config |= {"data": "LIDC-IDRI, 64 x 64 centre crops, 565 validation images of 175 patients, 4 raters"}
    write(options.out, record("lidc", config, {**totals, "training": training}))
    for name, value in totals.items():
        print(name, value)


if __name__ == "__main__":
    main()
