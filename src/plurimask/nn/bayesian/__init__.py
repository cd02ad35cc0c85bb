"""A Gaussian over each weight of a network, learnt by gradients, and what follows from it."""

from plurimask.nn.bayesian.draws import WeightDraws
from plurimask.nn.bayesian.estimators import Estimator
from plurimask.nn.bayesian.network import BayesianNetwork, bayesian_network
from plurimask.nn.bayesian.prior import Gaussian, GaussianPrior, Prior, ScaleMixturePrior
from plurimask.nn.bayesian.pruning import pruned, signal_to_noise
from plurimask.nn.bayesian.weighting import DivergenceWeight, Shares

__all__ = [
    "BayesianNetwork",
    "DivergenceWeight",
    "Estimator",
    "Gaussian",
    "GaussianPrior",
    "Prior",
    "ScaleMixturePrior",
    "Shares",
    "WeightDraws",
    "bayesian_network",
    "pruned",
    "signal_to_noise",
]
