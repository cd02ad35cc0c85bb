"""Propagated variances made to agree with those of noisy passes: what independence gets wrong, learned once.

A sum of dependent values has another variance than the sum of their variances: more where neighbours move together, as
behind a smoothing filter, less where they move against each other. Which of the two it is, and how much, lies in the
weights of a trained network more than in the image. So each squared weight gets a factor,

    variance of sum_i w_i x_i  =  sum_i w_i^2 exp(g_i) v_i,

and the g are fitted once, so that on some images the variances at all convolutions are those which passes of noisy
images have. With g = 0 it is assumed density filtering as it stands; the means are untouched, and one pass costs the
same as before.

The variance s^2 of n draws from a Gaussian of variance v follows a gamma law, whose deviance s^2 / v - ln(s^2 / v) - 1
is minimised at each layer, beside the squared error of the last layer's variances.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx

from plurimask.errors import InputError
from plurimask.nn.moments.affine import WEIGHTED_LAYERS
from plurimask.nn.moments.moments import Moments
from plurimask.nn.moments.network import MomentNetwork

_CHUNK = 25
"""Noisy images that pass together."""
_BATCH = 4
"""Images of a step of the fit."""
_LEARNING_RATE = 0.05
_LAST_LAYER, _OTHER_LAYERS = 3.0, 0.3
"""Weights of their parts of the loss."""
_LEAST = 1e-20


def calibrate_moments(
    network: MomentNetwork,
    images: Tensor,
    noise_variance: float,
    num_passes: int = 100,
    num_steps: int = 300,
    seed: int = 0,
) -> MomentNetwork:
    """Fit the factors of a moment network's squared weights; from then on it propagates variances with them.

    The weights stay as they are. After they were trained further, calibrate again: it begins anew. Factors are stored
    with the network (`state_dict`, `torch.save`). The variances at all convolutions are held in memory: of large
    images, give crops.

    Args:
        network: of a trained network, with convolutions; its floor should be 0, which noisy passes do not have.
        images: `(N, K, *spatial)`, some ten that are like those to come, prepared as for the network.
        noise_variance: of the Gaussian noise of each value, above 0.
        num_passes: of each image with noise, at least 2.
        num_steps: of the fit, of four images each.
        seed: of the noise and the order.

    Returns:
        The network itself.

    Raises:
        InputError: no images, no such noise or passes, or nothing to calibrate.
    """
    if not len(images) or not noise_variance > 0 or num_passes < 2 or num_steps < 1:
        raise InputError(
            "calibration needs images, noise_variance > 0, num_passes >= 2 and num_steps >= 1, "
            f"not {len(images)} images, {noise_variance}, {num_passes} and {num_steps}"
        )
    generator = torch.Generator().manual_seed(seed)
    with _frozen(network):
        network.factors.set({})
        drawn = [drawn_variances(network, image[None], noise_variance, num_passes, generator) for image in images]
        factors = {
            path: torch.zeros_like(network.network.get_parameter(f"{path}.weight")).requires_grad_()
            for path in (str(node.target) for node in drawn[0])
        }
        if not factors:
            raise InputError("nothing to calibrate: the network has no convolution and no linear layer")
        network.factors.set(factors)
        _level(network, images, noise_variance, drawn)
        _fit(network, images, noise_variance, drawn, num_steps, generator)
        network.factors.set({path: factor.detach() for path, factor in factors.items()})
    return network


def drawn_variances(
    network: MomentNetwork, image: Tensor, noise_variance: float, num_passes: int, generator: torch.Generator
) -> dict[fx.Node, Tensor]:
    """The variance of each weighted layer's output over passes of an image `(1, K, *spatial)` with Gaussian noise."""
    sums = _Sums(network.network)
    with torch.no_grad():
        sums.run(image)
        for start in range(0, num_passes, _CHUNK):
            shape = (min(_CHUNK, num_passes - start), *image.shape[1:])
            sums.run(image + torch.randn(shape, generator=generator).to(image) * noise_variance**0.5)
    variances = {}
    for node, (origin, values, squares) in sums.totals.items():
        spread = squares / num_passes - (values / num_passes).square()
        variances[node] = (spread * (num_passes / (num_passes - 1))).clamp(min=0).to(origin.dtype)
    return variances


class _Sums(fx.Interpreter):
    """Runs the ordinary network and adds up what its weighted layers give, less what they gave in the first run."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.totals: dict[fx.Node, tuple[Tensor, Tensor, Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.op == "call_module" and type(self.fetch_attr(str(n.target))) in WEIGHTED_LAYERS:
            nothing = torch.zeros_like(result, dtype=torch.float64)
            origin, values, squares = self.totals.setdefault(n, (result.clone(), nothing, nothing.clone()))
            change = result.double() - origin
            values.add_(change.sum(0, keepdim=True))
            squares.add_(change.square().sum(0, keepdim=True))
        return result


@torch.no_grad()
def _level(network: MomentNetwork, images: Tensor, noise_variance: float, drawn: list[dict[fx.Node, Tensor]]) -> None:
    """One factor for each layer, the first one first, that makes the mean variance right: where the fit begins."""
    for node in drawn[0]:
        propagated: dict[fx.Node, Moments] = {}
        network.run(Moments(images, torch.full_like(images, noise_variance)), propagated)
        right = torch.stack([one[node].mean() for one in drawn]).mean()
        factors = network.factors.of(str(node.target))
        assert factors is not None
        factors += (right / propagated[node].variance.mean().clamp(min=_LEAST)).clamp(min=_LEAST).log()


def _fit(
    network: MomentNetwork,
    images: Tensor,
    noise_variance: float,
    drawn: list[dict[fx.Node, Tensor]],
    num_steps: int,
    generator: torch.Generator,
) -> None:
    factors = list(network.factors.buffers())
    optimizer = torch.optim.Adam(factors, lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=num_steps + 1)
    last = list(drawn[0])[-1]
    for _ in range(num_steps):
        chosen = torch.randperm(len(images), generator=generator)[:_BATCH].tolist()
        batch = images[chosen]
        propagated: dict[fx.Node, Moments] = {}
        network.run(Moments(batch, torch.full_like(batch, noise_variance)), propagated)
        loss = torch.zeros(())
        for node in drawn[0]:
            right, got = torch.cat([drawn[one][node] for one in chosen]), propagated[node].variance
            ratio, sigma = right / got.clamp(min=_LEAST), right.sqrt()
            deviance = (ratio - ratio.clamp(min=_LEAST).log() - 1) * sigma / sigma.mean().clamp(min=_LEAST)
            loss = loss + deviance.mean() * (_LAST_LAYER if node is last else _OTHER_LAYERS)
            if node is last:
                loss = loss + _LAST_LAYER * (got - right).square().mean() / right.var().clamp(min=_LEAST)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


@contextmanager
def _frozen(network: MomentNetwork) -> Iterator[None]:
    """In evaluation, its parameters without gradients; afterwards as before."""
    modes = {module: module.training for module in network.modules()}
    asked = {parameter: parameter.requires_grad for parameter in network.parameters()}
    network.eval().requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter, ask in asked.items():
            parameter.requires_grad_(ask)
