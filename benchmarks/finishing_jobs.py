"""Trainings of a finishing stage by the energy score on LIDC, and of probabilistic backpropagation on BBBC010, to be
run by `many_trainings.py`."""

from __future__ import annotations

from typing import Any

import energy_jobs
from bayesian import DATA as BAYESIAN
from bayesian import SETTINGS as BAYESIAN_SETTINGS
from energy_jobs import HIERARCHICAL, LIDC, NAME, PROBABILISTIC, SMALL, VIEWS, Job, _variants
from energy_score import WORLD

from plurimask.methods.presets import find_preset
from plurimask.runs.plan import settings_for

PBP = "probabilistic-backpropagation"
FINISHED = {
    PROBABILISTIC: "finishing_variants:Finished",
    HIERARCHICAL: "finishing_variants:HierarchicalFinished",
}
HEAD = "energy_variants:LatentsInTheHead"
OF_HEAD: dict[str, Any] = {**SMALL, "sampled_scales": 1}
STAGES: dict[str, dict[str, Any]] = {
    "score beside the bound, 1000": {"is_beside": True, "energy_weight": 1000.0, "keeps_bound": True},
    "score alone in the last half": {"finish_share": 0.5},
    "score beside the bound, 10000": {"is_beside": True, "energy_weight": 10_000.0, "keeps_bound": True},
}
FINISHING_STEPS = {PROBABILISTIC: 2500, HIERARCHICAL: 1500}


def _head() -> list[Job]:
    """z in the head on every data set, as `energy_jobs` has the method as it is."""
    jobs = [
        Job(f"lidc/z in the head/seed-{seed}", "lidc", HEAD, {**LIDC, **OF_HEAD, "raters_per_step": 4}, seed, seed == 1)
        for seed in (1, 2)
    ]
    for data in ("camvid", "stare", "bubil", "brain_growth"):
        own = {**settings_for(HEAD, VIEWS[data]), **OF_HEAD}
        jobs.append(Job(f"{data}/z in the head", data, HEAD, own))
    return jobs


def _finishing() -> list[Job]:
    jobs = []
    for base, method in FINISHED.items():
        preset = find_preset(base, "small")
        common = {**preset.method, **preset.training, **LIDC, "raters_per_step": 4, "num_validations": 2}
        common |= {"max_steps": FINISHING_STEPS[base]}
        jobs.append(Job(f"finish/{base}/bound alone", "lidc", base, common))
        stages = list(STAGES.items())[: 2 if base == HIERARCHICAL else 3]
        jobs += [Job(f"finish/{base}/{words}", "lidc", method, {**common, **own}) for words, own in stages]
    return jobs


def _backpropagation() -> list[Job]:
    common = {**BAYESIAN_SETTINGS, **BAYESIAN["bbbc010"].settings}
    plain = {**find_preset(PBP, "small").training, **settings_for(PBP, common), "compiled": False}
    plain.pop("learning_rate", None)
    forgetting = "backpropagation_variants:Forgetting"
    trials: dict[str, tuple[str, dict[str, Any]]] = {
        "memory of 10 epochs": (forgetting, {"memory": 10.0}),
        "memory of 3 epochs, image weight 1000": (forgetting, {"memory": 3.0, "image_weight": 1000.0}),
        "batch norm, memory of 10 epochs": (forgetting, {"memory": 10.0, "normalisation": "batch"}),
    }
    return [Job(f"pbp/{words}", "bbbc010", method, {**plain, **own}) for words, (method, own) in trials.items()]


def _lesions() -> list[Job]:
    trials: dict[str, tuple[str, dict[str, Any]]] = {
        "z in the head": (HEAD, OF_HEAD),
        "z in the head, likelihood 10": (HEAD, {**OF_HEAD, "likelihood_weight": 10.0}),
        "z in the head, 16 samples": (HEAD, {**OF_HEAD, "samples_per_step": 16}),
        f"{NAME}, likelihood 10": (NAME, {"likelihood_weight": 10.0}),
        PROBABILISTIC: (PROBABILISTIC, {}),
    }
    jobs = []
    for words, (method, own) in trials.items():
        for readers in (4, 1) if words == "z in the head" else (4,):
            of_all = {**WORLD, "raters_per_step": readers, "max_steps": 2400}
            name = f"lesions/{words}, {'four readers' if readers == 4 else 'one reader'}/2400"
            jobs.append(Job(name, f"lesions-{readers}", method, {**of_all, **own, "channels": (16, 32, 64)}))
    return jobs


WANTED = (
    *("product distance", "hard samples", "4 samples", "16 samples", "no likelihood at all"),
    *("Brier in place of likelihood", "prior by the image", "learning rate 2e-3", "2 latents", "twice as wide"),
)
LONG = [*_head()[:5], *_finishing(), *_backpropagation()]
SHORT = [*_lesions(), *_head()[5:], *(job for job in _variants(0) if job.name.split("/")[1] in WANTED)]
JOBS: list[Job] = [*LONG, *SHORT]
"""Those that take long first."""
run_job = energy_jobs.run_job
