"""Probabilistic backpropagation: a Gaussian over every weight of a U-Net, learnt by closed-form updates.

    q(w) = prod_j N(w_j | m_j, v_j)                             each weight and bias on its own
    (mu_i, s_i) = moments of the class scores of pixel i        through uncertain weights and activations: `nn/moments`
    ln Z_i = ln E[softmax(f_i)_y]                               f_i ~ N(mu_i, s_i), in closed form
    g_j = sum_i t d ln Z_i / d m_j                              over the pixels i of a mini-batch
    c_j = sum_ik t (- d^2 ln Z_i / d mu_ik^2) d s_ik / d v_j
    1 / v_j <- 1 / v_j + c_j,    m_j <- m_j + v_j g_j

and after each epoch the factors of the prior N(w_j | 0, 1 / (l d_j)), l ~ Gam(6, 6), by expectation propagation, where
d_j is the number of inputs of the weight's unit. There is no optimiser and no learning rate: how far a weight moves is
how uncertain it is.

t is what a pixel counts. The pixels of an image share the weights and are alike over whole objects, and their evidence
is not the product of the Z_i: each is raised to the power t (a tempered likelihood), so that an image counts for t
times its pixels.

Hernandez-Lobato and Adams, "Probabilistic Backpropagation for Scalable Learning of Bayesian Neural Networks", ICML
2015, for one real number; the updates, the evidence of a class and the prior's factors, with what is different here:
`nn/probabilistic_backpropagation`. The U-Net is the ordinary one of `nn/`, turned by `moment_network`.

A sample is one draw of all weights, the same for all images and all places of an image.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.method import Loss, SegmentationMethod, TrainingStep
from plurimask.nn.bayesian import Gaussian, WeightDraws
from plurimask.nn.bayesian.network import gaussian_parameters, in_a_row, of_parameters
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements
from plurimask.nn.moments import Moments, Propagation, moment_network
from plurimask.nn.probabilistic_backpropagation import (
    PriorFactors,
    after_many,
    class_evidence,
    evidence_curvature,
    fan_in,
)
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import PixelScores


class ProbabilisticBackpropagationConfig(UNetSettings):
    pixel_weight: float = Field(0.01, gt=0, le=1, description="t: the power of each pixel's likelihood")
    initial_spread: float = Field(
        0.1, gt=0, le=10, description="standard deviation that each weight begins with, times the root of its inputs"
    )
    compiled: bool | None = Field(None, description="compile the activations; not given: in training, where possible")


class _Evidence(NamedTuple):
    """Of a mini-batch."""

    log_z: Tensor  # (): ln Z summed over pixels, averaged over raters, then images, nats
    curvature: Tensor  # (): its gradient by the variances of weights is their c, averaged alike
    num_images: Tensor  # (): how many images somebody judged


class ProbabilisticBackpropagation(SegmentationMethod):
    Config = ProbabilisticBackpropagationConfig
    summary = "a Gaussian over every weight, learnt by closed-form updates without an optimiser"
    paper = "Hernandez-Lobato and Adams, Probabilistic Backpropagation, ICML 2015"
    config: ProbabilisticBackpropagationConfig

    def __init__(self, config: ProbabilisticBackpropagationConfig) -> None:
        super().__init__(config)
        self.network = PixelScores(
            config.image_channels, config.channels, config.convs_per_scale, config.style, config.num_classes
        )
        initialise(self.network, config.initialisation)
        moments = moment_network(self.network, Propagation(compiled=config.compiled), weight_variance=1.0)
        self.variances = moments.variances
        # Its layers are those of `network`: registered here too, they would be stored twice.
        self._moments = (moments,)
        self.prior = PriorFactors(fan_in([mean.shape for mean in self._means()]))
        inputs = torch.from_numpy(self.prior.inputs).float()
        self._set(self._posterior().mean.detach(), config.initial_spread**2 / inputs)
        self.num_batches, self.undone = 0, 0.0

    def moments(self, images: Tensor) -> Moments:
        """Mean and variance of the class scores, `(B, C, *spatial)`, of images `(B, K, *spatial)`, without a draw."""
        scores: Moments = self._moments[0](images, torch.zeros_like(images))
        return scores.moved(Tensor.float)

    def forward(self, images: Tensor) -> WeightDraws:
        mean, variance = self._posterior()
        return WeightDraws(self.network, Gaussian(mean, variance.sqrt()), images, self.config.num_classes)

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        """- ln Z, as it is before the batch is taken in: what is judged, and what `update` has the gradients of."""
        total = -self._evidence(images, labels).log_z
        return Loss(total, {"evidence": total.detach()})

    def update(self, images: Tensor, labels: Tensor, step: TrainingStep) -> Loss:
        evidence = self._evidence(images, labels)
        means, variances = self._means(), self._variances()
        gradients = torch.autograd.grad(evidence.log_z, means, retain_graph=True)
        curvatures = torch.autograd.grad(evidence.curvature, variances)
        count = self.config.pixel_weight * evidence.num_images
        undone = 0
        with torch.no_grad():
            for mean, variance, g, c in zip(means, variances, gradients, curvatures, strict=True):
                new_mean, new_variance, is_sound = after_many(mean, variance, count * g, count * c)
                mean.copy_(new_mean)
                variance.copy_(new_variance)
                undone += int((~is_sound).sum())
        share = undone / sum(mean.numel() for mean in means)
        terms = {"evidence": -evidence.log_z.detach(), "undone": torch.tensor(share)}
        return Loss(-evidence.log_z.detach(), terms)

    def _evidence(self, images: Tensor, labels: Tensor) -> _Evidence:
        raters, moments = judgements(labels), self.moments(images)
        with torch.autocast(images.device.type, enabled=False):
            mean, variance = moments.moved(lambda values: values[raters.image])
            is_judged = raters.labels != IGNORE
            label = raters.labels.masked_fill(~is_judged, 0)
            log_z = class_evidence(mean, variance, label).masked_fill(~is_judged, 0).flatten(1).sum(1)
            with torch.no_grad():
                seed = evidence_curvature(mean, variance, label).masked_fill(~is_judged.unsqueeze(1), 0)
            curvature = (seed * variance).flatten(1).sum(1)
            num_images = raters.image.unique().numel()
            return _Evidence(
                (raters.weight * log_z).sum(), (raters.weight * curvature).sum(), torch.tensor(float(num_images))
            )

    def begin(self, num_images: int, num_batches: int) -> None:
        self.num_batches = num_batches

    def after_step(self, step: TrainingStep) -> None:
        """After each epoch the prior's factors are refined."""
        if self.num_batches and (step.index + 1) % self.num_batches == 0:
            mean, variance = (part.detach().cpu().double().numpy() for part in self._posterior())
            new = self.prior.refine(mean, variance)
            self._set(*(torch.from_numpy(one).float() for one in new))

    def training_state(self) -> dict[str, Any]:
        state = self.prior.state()
        return {name: torch.tensor(value) for name, value in state.items()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.prior.restore({name: value.numpy() for name, value in state.items()})

    def _means(self) -> list[torch.nn.Parameter]:
        return list(gaussian_parameters(self.network).values())

    def _variances(self) -> list[Tensor]:
        return [self.variances[key] for key in gaussian_parameters(self.network)]

    def _posterior(self) -> Moments:
        """All weights side by side, `(P,)`."""
        rows = [torch.cat([in_a_row(one) for one in part]) for part in (self._means(), self._variances())]
        return Moments(*rows)

    @torch.no_grad()
    def _set(self, mean: Tensor, variance: Tensor) -> None:
        for row, parameters in ((mean, self._means()), (variance, self._variances())):
            for own, parameter in zip(of_parameters(row.to(parameters[0].device), parameters), parameters, strict=True):
                parameter.copy_(own)
