"""Trainings of a finishing stage by the energy score on LIDC, and of probabilistic backpropagation on BBBC010, to be
run by `many_trainings.py`."""

from __future__ import annotations

from typing import Any

import energy_jobs
from bayesian import DATA as BAYESIAN
from bayesian import SETTINGS as BAYESIAN_SETTINGS
from energy_jobs import HIERARCHICAL, LIDC, PROBABILISTIC, Job

from plurimask.methods.presets import find_preset
from plurimask.runs.plan import settings_for

PBP = "probabilistic-backpropagation"
FINISHED = {
    PROBABILISTIC: "finishing_variants:Finished",
    HIERARCHICAL: "finishing_variants:HierarchicalFinished",
}
STAGES: dict[str, dict[str, Any]] = {
    "score beside the bound, 100": {"is_beside": True, "energy_weight": 100.0, "keeps_bound": True},
    "score beside the bound, 1000": {"is_beside": True, "energy_weight": 1000.0, "keeps_bound": True},
    "score alone in the last quarter": {"finish_share": 0.25},
    "score alone in the last half": {"finish_share": 0.5},
    "score beside the bound in the last half": {"finish_share": 0.5, "keeps_bound": True},
    "score beside the bound, 10000": {"is_beside": True, "energy_weight": 10_000.0, "keeps_bound": True},
}
FINISHING_SEED = 1
"""That of a training of `energy_jobs` without a stage."""


def _finishing() -> list[Job]:
    jobs = []
    of_all = {**LIDC, "raters_per_step": 4}
    for base, method in FINISHED.items():
        preset = find_preset(base, "small")
        common = {**preset.method, **preset.training, **of_all}
        if base == HIERARCHICAL:
            jobs.append(Job(f"finish/{base}/bound alone", "lidc", base, common, FINISHING_SEED))
        for words, own in STAGES.items():
            jobs.append(Job(f"finish/{base}/{words}", "lidc", method, {**common, **own}, FINISHING_SEED))
    return jobs


def _backpropagation() -> list[Job]:
    common = {**BAYESIAN_SETTINGS, **BAYESIAN["bbbc010"].settings}
    preset = find_preset(PBP, "small")
    plain = {**preset.training, **settings_for(PBP, common), "compiled": False}
    plain.pop("learning_rate", None)
    three, two = {"channels": (8, 16, 32)}, {"channels": (16, 32)}
    trials: dict[str, dict[str, Any]] = {
        "as it is, 3000 steps": {"max_steps": 3000},
        "batch norm, 3000 steps": {"max_steps": 3000, "normalisation": "batch"},
        "image weight 3000, 3000 steps": {"max_steps": 3000, "image_weight": 3000.0},
        "batch norm": {"normalisation": "batch"},
        "image weight 1000": {"image_weight": 1000.0},
        "image weight 3000": {"image_weight": 3000.0},
        "image weight 3000, batch norm": {"image_weight": 3000.0, "normalisation": "batch"},
        "image weight 100": {"image_weight": 100.0},
        "initial spread 0.03": {"initial_spread": 0.03},
        "initial spread 0.3": {"initial_spread": 0.3},
        "initial spread 0.3, image weight 3000": {"initial_spread": 0.3, "image_weight": 3000.0},
        "three scales": three,
        "two scales": two,
        "three scales, image weight 3000": {**three, "image_weight": 3000.0},
        "as it is": {},
    }
    jobs = [
        Job(f"pbp/unet, {steps} steps", "bbbc010", "unet", {**settings_for("unet", common), "max_steps": steps})
        for steps in (1500, 3000)
    ]
    return jobs + [Job(f"pbp/{words}", "bbbc010", PBP, {**plain, **own}) for words, own in trials.items()]


def _in_turn(*lists: list[Job]) -> list[Job]:
    """One of each, then the next of each."""
    longest = max(map(len, lists))
    return [own[place] for place in range(longest) for own in lists if place < len(own)]


JOBS: list[Job] = _in_turn(_finishing(), _backpropagation())
run_job = energy_jobs.run_job
