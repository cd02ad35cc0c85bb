"""Probabilistic backpropagation: a Gaussian over every weight of a U-Net, learnt by closed-form updates.

    q(w) = prod_j N(w_j | m_j, v_j)                             each weight and bias on its own
    (mu_i, s_i) = moments of the class scores of pixel i        through uncertain weights and activations: `nn/moments`
    ln Z_i = ln E[softmax(f_i)_y]                               f_i ~ N(mu_i, s_i), in closed form
    g_j = t sum_i d ln Z_i / d m_j                              over the pixels i of a mini-batch
    c_j = t sum_ik (- d^2 ln Z_i / d mu_ik^2) d s_ik / d v_j    k: classes
    1 / v_j <- 1 / v_j + c_j,    m_j <- m_j + a v_j g_j         a <= 1: where all weights together would go too far

and after each epoch the factors of the prior N(w_j | 0, 1 / (l d_j)), l ~ Gam(6, 6), by expectation propagation, where
d_j is the number of inputs of the weight's unit. There is no optimiser and no learning rate: how far a weight moves is
how uncertain it is.

A departure from the paper, which is taken only where `memory` is set: after each mini-batch

    1 / v_j <- (1 - f) / v_j + f / v0_j                         v0: at first; f: 1 over the mini-batches of `memory`

so that precisions come to what the data of about so many epochs say, and means go on learning. Without it each epoch
counts the same data once more, until nothing moves.

t is what a pixel counts. The pixels of an image share the weights and are alike over whole objects: their evidence is
not the product of the Z_i. Each is raised to the power t (a tempered likelihood), so that an image counts for as many
independent pixels as the setting says.

Hernandez-Lobato and Adams, "Probabilistic Backpropagation for Scalable Learning of Bayesian Neural Networks", ICML
2015, for one real number. The updates, the evidence of a class and the prior's factors, and what of them is not in the
paper: `nn/probabilistic_backpropagation`. The U-Net is the ordinary one of `nn/`, turned by `moment_network`.

A sample is one draw of all weights, the same for all images and all places of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd import forward_ad

from plurimask.distribution import IGNORE
from plurimask.method import Loss, SegmentationMethod, Tiling, TrainingStep
from plurimask.nn.bayesian import Gaussian, WeightDraws
from plurimask.nn.bayesian.network import gaussian_parameters, in_a_row, of_parameters, run_with
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements
from plurimask.nn.moments import Moments, Propagation, moment_network
from plurimask.nn.probabilistic_backpropagation import (
    PriorFactors,
    class_evidence,
    evidence_curvature,
    fan_in,
    step_share,
    update_,
)
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import PixelScores


class ProbabilisticBackpropagationConfig(UNetSettings):
    image_weight: float = Field(
        300.0, gt=0, le=1e6, description="how many independent pixels an image counts for (t times its judged pixels)"
    )
    initial_spread: float = Field(
        0.1, gt=0, le=10, description="standard deviation that each weight begins with, times the root of its inputs"
    )
    memory: float | None = Field(
        None, gt=0, le=1e6, description="epochs of data that a weight knows of; not given: of all, as in the paper"
    )
    batch_as: Literal["factors", "datum"] = Field(
        "factors", description="a mini-batch is many data, or, by the paper's formula for one datum, a single one"
    )
    compiled: bool | None = Field(None, description="compile the activations; not given: in training, where possible")


class _Evidence(NamedTuple):
    """Of a mini-batch, of P judgements; each image counts for `image_weight` pixels."""

    log_z: Tensor  # (): t sum_i ln Z_i, nats
    variance: Tensor  # (P, C, *spatial): s
    curvature: Tensor  # (P, C, *spatial): - t d^2 ln Z / d mu^2, 0 where nobody judged
    image: Tensor  # (P,): of each judgement
    surprise: Tensor  # (): - ln Z summed over pixels, averaged over raters, then images


class ProbabilisticBackpropagation(SegmentationMethod):
    Config = ProbabilisticBackpropagationConfig
    summary = "a Gaussian over every weight, learnt by closed-form updates of what is known, without an optimiser"
    paper = "Hernandez-Lobato and Adams, Probabilistic Backpropagation, ICML 2015"
    tiling = Tiling(is_exact=True)
    has_optimiser = False
    config: ProbabilisticBackpropagationConfig

    def __init__(self, config: ProbabilisticBackpropagationConfig) -> None:
        super().__init__(config)
        self.network = PixelScores(
            config.image_channels,
            config.channels,
            config.convs_per_scale,
            config.style,
            config.num_classes,
            config.space,
        )
        initialise(self.network, config.initialisation)
        for layer in _batch_norms(self.network):  # of them nothing is learnt but statistics
            layer.affine, layer.weight, layer.bias = False, None, None  # type: ignore[assignment]
        moments = moment_network(self.network, Propagation(compiled=config.compiled), weight_variance=1.0)
        self.variances = moments.variances
        self._moments = (moments,)  # its layers are those of `network`: registered too, they would be stored twice
        means, _ = self._pairs()
        self.prior = PriorFactors(fan_in([mean.shape for mean in means]))
        inputs = torch.from_numpy(self.prior.inputs).float()
        self._set(self.posterior().mean, config.initial_spread**2 / inputs)
        self._first_variances = [float(one.detach().flatten()[0]) for one in self._pairs()[1]]  # alike within a tensor
        self.num_batches = 0

    def moments(self, images: Tensor) -> Moments:
        """Mean and variance of the class scores, `(B, C, *spatial)`, of images `(B, K, *spatial)`, without a draw."""
        scores: Moments = self._moments[0](images, torch.zeros_like(images))
        return scores.moved(Tensor.float)

    def posterior(self) -> Gaussian:
        """All weights side by side, `(P,)`."""
        mean, variance = (torch.cat([in_a_row(one.detach()) for one in of_all]) for of_all in self._pairs())
        return Gaussian(mean, variance.sqrt())

    def forward(self, images: Tensor) -> WeightDraws:
        return WeightDraws(self.network, self.posterior(), images, self.config.num_classes)

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        """- ln Z of the batch, its pixels counted in full: what is known of it before it is taken in."""
        surprise = self._evidence(images, labels).surprise
        return Loss(surprise, {"surprise": surprise.detach()})

    def update(self, images: Tensor, labels: Tensor, step: TrainingStep) -> Loss:
        evidence, (means, variances) = self._evidence(images, labels), self._pairs()
        gradients = torch.autograd.grad(evidence.log_z, means, retain_graph=True)
        is_datum = self.config.batch_as == "datum"
        spread = evidence.log_z if is_datum else (evidence.curvature * evidence.variance).sum()
        of_variances = torch.autograd.grad(spread, variances)
        with torch.no_grad():
            steps = [v * g for v, g in zip(variances, gradients, strict=True)]
            if is_datum:
                share = torch.ones_like(evidence.surprise)
                brackets = [g.square() - 2 * h for g, h in zip(gradients, of_variances, strict=True)]
                new = [v - v.square() * c for v, c in zip(variances, brackets, strict=True)]
            else:
                share = step_share(steps, variances, self._curved(images, steps, evidence))
                new = [v / (1 + v * c) for v, c in zip(variances, of_variances, strict=True)]
            undone = [
                update_(*of_one) for of_one in zip(means, variances, [share * d for d in steps], new, strict=True)
            ]
            self._forget(variances)
        surprise = evidence.surprise.detach()
        left = torch.stack(undone).sum() / len(self.prior.inputs)
        return Loss(surprise, {"surprise": surprise, "step_share": share, "undone": left})

    def _evidence(self, images: Tensor, labels: Tensor) -> _Evidence:
        raters, moments = judgements(labels), self.moments(images)
        with torch.autocast(images.device.type, enabled=False):
            mean, variance = moments.moved(lambda values: values[raters.image])
            is_judged = raters.labels != IGNORE
            label = raters.labels.masked_fill(~is_judged, 0)
            log_z = class_evidence(mean, variance, label).masked_fill(~is_judged, 0).flatten(1).sum(1)
            num_images = (labels != IGNORE).flatten(1).any(1).sum()
            t = self.config.image_weight * num_images * raters.weight / is_judged.flatten(1).sum(1)
            with torch.no_grad():
                counted = is_judged * t.view(-1, *[1] * (label.ndim - 1))
                curvature = evidence_curvature(mean, variance, label) * counted.unsqueeze(1)
            surprise = -(raters.weight * log_z).sum()
            return _Evidence((t * log_z).sum(), variance, curvature, raters.image, surprise)

    def _curved(self, images: Tensor, steps: Sequence[Tensor], evidence: _Evidence) -> Tensor:
        """t sum_ik (- d^2 ln Z_i / d mu_ik^2) delta_ik^2, `()`; delta: the change of the ordinary network's scores."""
        rows = (torch.cat([in_a_row(one) for one in of_all]) for of_all in (self._pairs()[0], steps))
        with forward_ad.dual_level(), _same_statistics(self.network):
            scores = run_with(self.network, images, forward_ad.make_dual(*rows))  # type: ignore[no-untyped-call]
            change: Tensor = forward_ad.unpack_dual(scores).tangent.float()  # type: ignore[no-untyped-call]
        return (evidence.curvature * change[evidence.image].square()).sum()

    @torch.no_grad()
    def _forget(self, variances: Sequence[Tensor]) -> None:
        """1 / v <- (1 - f) / v + f / v0, in place, where a memory is set."""
        if self.config.memory is None:
            return
        f = 1 / max(1.0, self.config.memory * max(1, self.num_batches))
        for variance, first in zip(variances, self._first_variances, strict=True):
            variance.copy_(variance / (1 - f + f * variance / first))

    def begin(self, num_images: int, num_batches: int) -> None:
        self.num_batches = num_batches

    def after_step(self, step: TrainingStep) -> None:
        """After each epoch the prior's factors are refined."""
        if self.num_batches and (step.index + 1) % self.num_batches == 0:
            mean, sigma = (part.cpu().double().numpy() for part in self.posterior())
            self._set(*(torch.from_numpy(one).float() for one in self.prior.refine(mean, sigma**2)))

    def training_state(self) -> dict[str, Any]:
        return {name: torch.from_numpy(value) for name, value in self.prior.state().items()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.prior.restore({name: value.numpy() for name, value in state.items()})

    def _pairs(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Means and variances, parameter by parameter."""
        means = gaussian_parameters(self.network)
        return list(means.values()), [self.variances[key] for key in means]

    @torch.no_grad()
    def _set(self, mean: Tensor, variance: Tensor) -> None:
        """All of them, side by side, `(P,)`."""
        for row, parameters in zip((mean, variance), self._pairs(), strict=True):
            for own, parameter in zip(of_parameters(row.to(parameters[0].device), parameters), parameters, strict=True):
                parameter.copy_(own)


@contextmanager
def _same_statistics(network: nn.Module) -> Iterator[None]:
    """Within, batch norm in training takes the statistics of the batch and follows none of them."""
    layers = _batch_norms(network)
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            if layer.num_batches_tracked is not None:
                layer.num_batches_tracked.sub_(1)


def _batch_norms(network: nn.Module) -> list[nn.BatchNorm2d | nn.BatchNorm3d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d)]
