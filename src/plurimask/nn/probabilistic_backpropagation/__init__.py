"""Gaussian weights learnt by closed-form updates, without an optimiser: `Regression` fits and predicts."""

from plurimask.nn.probabilistic_backpropagation.evidence import class_evidence, evidence_curvature
from plurimask.nn.probabilistic_backpropagation.gamma import Gamma, matched
from plurimask.nn.probabilistic_backpropagation.prior_factors import PriorFactors, fan_in
from plurimask.nn.probabilistic_backpropagation.regression import Regression
from plurimask.nn.probabilistic_backpropagation.updates import after_one, step_share, update_

__all__ = [
    "Gamma",
    "PriorFactors",
    "Regression",
    "after_one",
    "class_evidence",
    "evidence_curvature",
    "fan_in",
    "matched",
    "step_share",
    "update_",
]
