"""Probabilistic backpropagation on BBBC010 with batch norm and with a memory, by the protocol of `bayesian.py`.

python benchmarks/many_trainings.py backpropagation_jobs --work WORK --out OUT
python benchmarks/backpropagation_jobs.py OUT/results.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import energy_jobs
from bayesian import DATA, SETTINGS
from energy_jobs import Job

from plurimask.methods.presets import find_preset
from plurimask.runs.plan import settings_for

METHOD = "probabilistic-backpropagation"
RECORD = Path(__file__).parent / "results" / "backpropagation_bbbc010.json"
TRIALS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "batch norm": {"normalisation": "batch"},
    "memory of 10 epochs": {"memory": 10.0},
    "memory of 3 epochs, image weight 1000": {"memory": 3.0, "image_weight": 1000.0},
    "batch norm, memory of 10 epochs": {"memory": 10.0, "normalisation": "batch"},
}
KEPT = ("dice", "iou", "ece", "nll", "diversity", "steps", "minutes", "parameters")


def _jobs() -> list[Job]:
    common = {**SETTINGS, **DATA["bbbc010"].settings}
    training = {**find_preset(METHOD, "small").training, **settings_for(METHOD, common), "compiled": False}
    training.pop("learning_rate", None)  # there is no optimiser
    jobs = [Job(f"bbbc010/{words}", "bbbc010", METHOD, {**training, **own}) for words, own in TRIALS.items()]
    return [*jobs, Job("bbbc010/unet", "bbbc010", "unet", settings_for("unet", common))]


JOBS = _jobs()
run_job = energy_jobs.run_job


def main() -> None:
    told = json.loads(Path(sys.argv[1]).read_text())
    methods = {
        name.split("/")[1]: {key: job["result"][key] for key in KEPT}
        for name, job in told["jobs"].items()
        if name in {one.name for one in JOBS}
    }
    about = {key: told[key] for key in ("hardware", "date", "commit")}
    config = {"settings": JOBS[0].settings, "data": DATA["bbbc010"].about, "samples": energy_jobs.SAMPLES}
    made = {"benchmark": "backpropagation_jobs", "config": config, "results": {"methods": methods}, **about}
    RECORD.write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    main()
