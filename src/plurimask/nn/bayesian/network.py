"""An ordinary network with a Gaussian in place of each weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from plurimask.errors import InputError
from plurimask.nn.bayesian.estimators import DrawnWeights, Estimator, GaussianLayers, flipout, local
from plurimask.nn.bayesian.prior import Gaussian, Prior

_LAYERS = (
    nn.Linear,
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
_RULES = {"local": local, "flipout": flipout}


class BayesianNetwork(nn.Module):
    """A network whose weights are independent Gaussians N(mean, softplus(rho)^2). Made by `bayesian_network`.

    Attributes:
        network: the ordinary network. Its parameters are the means.
        rho: one for each Gaussian parameter, in its shape, by its path with / for the dots.
    """

    def __init__(self, network: nn.Module, initial_sigma: float) -> None:
        super().__init__()
        self.network = network
        # softplus of this is sigma; written so that it does not overflow.
        rho = initial_sigma + math.log(-math.expm1(-initial_sigma))
        self.rho = nn.ParameterDict()
        for key, mean in gaussian_parameters(network).items():
            self.rho[key] = nn.Parameter(torch.full_like(mean, rho))

    def forward(self, x: Tensor, estimator: Estimator = "local", generator: torch.Generator | None = None) -> Tensor:
        """One pass with random weights, to learn by: `estimators.py` says how they are random.

        Args:
            x: what the network takes, its first dimension the B images.
            estimator: how weights or values are drawn.
            generator: on the CPU; None for torch's own.
        """
        if estimator == "plain":
            return self.run(x, self.posterior().draw(generator))
        means = gaussian_parameters(self.network)
        sigmas = {id(mean): softplus(self.rho[key]) for key, mean in means.items()}
        with GaussianLayers(sigmas, _RULES[estimator], generator):
            y: Tensor = self.network(x)
        return y

    @property
    def num_weights(self) -> int:
        """P: how many Gaussians there are."""
        return sum(rho.numel() for rho in self.rho.values())

    def posterior(self) -> Gaussian:
        """All Gaussians side by side, `(P,)`, in the order of `gaussian_parameters` and `in_a_row`."""
        means = gaussian_parameters(self.network)
        rho = torch.cat([in_a_row(self.rho[key]) for key in means])
        return Gaussian(torch.cat([in_a_row(mean) for mean in means.values()]), softplus(rho))

    def run(self, x: Tensor, weights: Tensor) -> Tensor:
        """The output of the ordinary network with weights `(P,)` in place of its own."""
        return run_with(self.network, x, weights)

    def kl(self, prior: Prior, generator: torch.Generator | None = None) -> Tensor:
        """KL(q || prior) of all weights in nats, `()`: a closed form, or by one draw of each (`prior.py`)."""
        return prior.kl(self.posterior(), generator)


def bayesian_network(network: nn.Module, initial_sigma: float = 0.01) -> BayesianNetwork:
    """The Bayesian network of an ordinary one: a Gaussian over each weight and bias of its layers.

    It shares the network's modules: their weights are the means, trained or not. Layers are linear ones, convolutions
    and transposed convolutions; what else has parameters, such as batch norm, keeps them as they are. Any `forward`
    will do: nothing is traced.

    Args:
        network: one tensor in, one out.
        initial_sigma: the standard deviation of each weight, above 0.

    Raises:
        InputError: there is no such layer, or `initial_sigma` is not above 0.

    Source: Blundell, Cornebise, Kavukcuoglu and Wierstra, "Weight Uncertainty in Neural Networks", ICML 2015.
    """
    if not initial_sigma > 0:
        raise InputError(f"initial_sigma must be above 0, not {initial_sigma}")
    if not gaussian_parameters(network):
        raise InputError(
            f"{type(network).__name__} has no linear layer or convolution, whose weights could be Gaussian; layers "
            "with weight norm or other parametrisations are not taken: remove those first"
        )
    return BayesianNetwork(network, initial_sigma)


def run_with(network: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
    """The output of an ordinary network with `weights`, `(P,)`, in place of its `gaussian_parameters`."""
    with with_weights(network, weights):
        y: Tensor = network(x)
    return y


def with_weights(network: nn.Module, weights: Tensor) -> DrawnWeights:
    """A context in which a network has `weights`, `(P,)`, in place of its `gaussian_parameters`: whatever they are when
    it is entered."""
    means = list(gaussian_parameters(network).values())
    return DrawnWeights({id(mean): own for mean, own in zip(means, of_parameters(weights, means), strict=True)})


def gaussian_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Weights and biases of its layers, by path with / for the dots; shared ones once."""
    found: dict[int, tuple[str, nn.Parameter]] = {}
    for path, module in network.named_modules():
        if type(module) in _LAYERS:
            for name, parameter in module.named_parameters(path, recurse=False):
                found.setdefault(id(parameter), (name.replace(".", "/"), parameter))
    return dict(found.values())


def in_a_row(parameter: Tensor) -> Tensor:
    """A parameter `(O, I, ...)` as `(O * ... * I,)`: its second dimension innermost, as fast convolutions have it.

    So the weights of a draw are views, and the order is the same for networks in any memory layout.
    """
    return parameter.movedim(1, -1).flatten() if parameter.ndim > 2 else parameter.flatten()


def of_parameters(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """What is `(P,)`, side by side, in the shapes of parameters: views."""
    shares: tuple[Tensor, ...] = torch.split(row, [one.numel() for one in like])
    return [
        own.view(one.movedim(1, -1).shape).movedim(-1, 1) if one.ndim > 2 else own.view(one.shape)
        for own, one in zip(shares, like, strict=True)
    ]
