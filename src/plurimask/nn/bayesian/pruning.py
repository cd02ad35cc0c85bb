"""Weights that are more noise than signal, taken away.

Blundell et al. 2015, section 5.1: weights are ordered by |mean| / sigma, and those of the lowest are set to 0.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from plurimask.errors import InputError
from plurimask.nn.bayesian.network import BayesianNetwork, gaussian_parameters, of_parameters

Module = TypeVar("Module", bound=nn.Module)

_REMOVED = -40.0
"""rho of a weight that was taken away: its sigma is 4e-18."""


def signal_to_noise(module: nn.Module) -> Tensor:
    """|mean| / sigma of each Gaussian weight of a module, `(P,)`, of all Bayesian networks in it."""
    ratios = [(q.mean.abs() / q.sigma).detach() for q in (network.posterior() for network in _networks(module))]
    return torch.cat(ratios)


def pruned(module: Module, share: float) -> Module:
    """A copy of a module, such as a trained method, in which the weights of the lowest |mean| / sigma are 0 for sure.

    Args:
        module: it has one or several Bayesian networks in it; their weights are ordered together.
        share: of the weights, from 0 to 1, that are taken away.

    Returns:
        The copy, for predictions: what was taken away has too little noise to learn again.

    Raises:
        InputError: there is no Bayesian network in the module, or the share is none.
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share} of the weights cannot be taken away: give one from 0 to 1")
    module = copy.deepcopy(module)
    ratios = signal_to_noise(module)
    gone = torch.zeros_like(ratios, dtype=torch.bool)
    gone[ratios.argsort()[: round(share * len(ratios))]] = True
    with torch.no_grad():
        remaining = iter(torch.split(gone, [network.num_weights for network in _networks(module)]))
        for network in _networks(module):
            means = gaussian_parameters(network.network)
            of_network = of_parameters(next(remaining), list(means.values()))
            for (key, mean), removed in zip(means.items(), of_network, strict=True):
                mean.masked_fill_(removed, 0)
                network.rho[key].masked_fill_(removed, _REMOVED)
    return module


def _networks(module: nn.Module) -> list[BayesianNetwork]:
    networks = [one for one in module.modules() if isinstance(one, BayesianNetwork)]
    if not networks:
        raise InputError(f"{type(module).__name__} has no Bayesian network in it, whose weights could be pruned")
    return networks
