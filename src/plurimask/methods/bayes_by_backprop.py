"""Bayes by Backprop: a Gaussian over every weight of a U-Net, learnt by gradients.

    q(w | mu, rho) = N(mu, softplus(rho)^2)                    each weight and bias on its own
    p(w) = pi N(0, sigma1^2) + (1 - pi) N(0, sigma2^2)         the prior, or a single Gaussian
    p(y | x, w) = prod_i Cat(y_i | softmax f(x; w)_i)
    p(y | x)    ~ 1/T sum_t p(y | x, w_t)                      w_t ~ q, for each of T samples
    loss        = E_q[- sum_i log p(y_i | x, w)]               summed over pixels, averaged over raters and images
                  + beta pi_i M / N KL(q || p)                 N images, M batches; pi_i: `nn/bayesian/weighting.py`

The expectation is estimated by one pass, whose randomness is that of weights, or of the values that they lead to
(`nn/bayesian/estimators.py`). With beta = 1 the sum over an epoch is the variational free energy, a bound on the
evidence; beta < 1 is a posterior colder than Bayes' rule gives.

Blundell, Cornebise, Kavukcuoglu and Wierstra, "Weight Uncertainty in Neural Networks", ICML 2015. The U-Net is the
ordinary one of `nn/`, turned by `bayesian_network`.

A sample is one draw of all weights, the same for all images and all places of an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from plurimask.distribution import SegmentationDistribution
from plurimask.method import Loss, SegmentationMethod, TrainingStep
from plurimask.nn.bayesian import (
    DivergenceWeight,
    Estimator,
    GaussianPrior,
    Prior,
    ScaleMixturePrior,
    Shares,
    bayesian_network,
)
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements, summed_cross_entropy
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import PixelScores
from plurimask.noise import Noise, NoisePart


class WeightDraws(SegmentationDistribution):
    """The images, and the Gaussians that each sample's network is drawn from."""

    def __init__(self, method: BayesByBackprop, images: Tensor) -> None:
        shape = (len(images), method.config.num_classes, *images.shape[2:])
        # The weights themselves would be gigabytes for many samples.
        super().__init__(shape, images.device, [NoisePart("weights", "seed")])
        self.network, self.images, self.posterior = method.network, images, method.network.posterior()

    def expand(self, noise: Noise) -> Noise:
        """Standard normal numbers `(N, P)`, one a weight."""
        (given,) = noise
        return noise if given.is_floating_point() else (torch.stack([one.clone() for one in self._normal(given)]),)

    def scores(self, noise: Noise) -> Tensor:
        (given,), (mean, sigma) = noise, self.posterior
        numbers = iter(given) if given.is_floating_point() else self._normal(given)
        if mean.requires_grad:
            draws = (torch.addcmul(mean, sigma, one.to(mean.device)) for one in numbers)
            return torch.stack([self.network.run(self.images, weights) for weights in draws])
        # All draws in one place: new memory for each would take longer than the draw itself.
        row, kind, maps = torch.empty_like(mean), mean.device.type, []
        # Rounded once to what the layers compute in.
        weights = row.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else row
        drawn = self.network.with_weights(weights)
        for one in numbers:
            weights.copy_(torch.addcmul(mean, sigma, one.to(mean.device), out=row))
            with drawn:
                maps.append(self.network.network(self.images))
        return torch.stack(maps)

    def _normal(self, seeds: Tensor) -> Iterator[Tensor]:
        """`(P,)` standard normal numbers of each seed, which last until the next are drawn."""
        generator, numbers = torch.Generator(), torch.empty(len(self.posterior.mean))
        for seed in seeds.tolist():
            yield torch.randn(len(numbers), generator=generator.manual_seed(seed), out=numbers)


class BayesByBackpropConfig(UNetSettings):
    estimator: Estimator = Field("local", description="how a training step draws: values, or weights in two ways")
    prior: Literal["scale-mixture", "gaussian"] = Field("scale-mixture", description="of each weight")
    prior_sigma: float = Field(0.1, gt=0, le=1e3, description="gaussian: its standard deviation")
    mixture_share: float = Field(0.5, gt=0, lt=1, description="scale-mixture: pi, the share of the wider Gaussian")
    mixture_sigmas: tuple[float, float] = Field((0.3, 0.01), description="scale-mixture: the wider, then the narrower")
    initial_sigma: float = Field(0.01, gt=0, le=1e3, description="standard deviation that each weight begins with")
    rho_learning_rate: float = Field(1e-2, gt=0, le=10, description="peak learning rate of the standard deviations")
    kl_shares: Shares = Field("uniform", description="how an epoch's batches share the divergence from the prior out")
    kl_warmup: float = Field(0.0, ge=0, le=1, description="share of the training in which it rises from 0")
    kl_scale: float = Field(1.0, ge=0, le=1e6, description="beta, times the divergence: 1 is the bound on the evidence")

    @model_validator(mode="after")
    def _has_a_wider_one(self) -> BayesByBackpropConfig:
        wide, narrow = self.mixture_sigmas
        if not 0 < narrow < wide <= 1e3:
            raise ValueError(f"mixture_sigmas are two numbers above 0, the larger first, not {wide} and {narrow}")
        return self


class BayesByBackprop(SegmentationMethod):
    Config = BayesByBackpropConfig
    summary = "a U-Net with a Gaussian over every weight: a sample is a draw of all weights"
    paper = "Blundell et al., Weight Uncertainty in Neural Networks, ICML 2015"
    config: BayesByBackpropConfig

    def __init__(self, config: BayesByBackpropConfig) -> None:
        super().__init__(config)
        unet = PixelScores(
            config.image_channels, config.channels, config.convs_per_scale, config.style, config.num_classes
        )
        initialise(unet, config.initialisation)
        self.network = bayesian_network(unet, config.initial_sigma)
        self.kl_weight = DivergenceWeight(config.kl_shares, config.kl_warmup, config.kl_scale)

    @property
    def prior(self) -> Prior:
        """What is believed of each weight before the data."""
        if self.config.prior == "gaussian":
            return GaussianPrior(self.config.prior_sigma)
        return ScaleMixturePrior(self.config.mixture_share, *self.config.mixture_sigmas)

    def forward(self, images: Tensor) -> WeightDraws:
        return WeightDraws(self, images)

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters = judgements(labels)
        logits = self.network(images, self.config.estimator, generator)[raters.image]
        cross_entropy = (raters.weight * summed_cross_entropy(logits, raters.labels)).sum()
        kl = self.network.kl(self.prior, generator)
        total = cross_entropy + self.kl_weight(len(images)) * kl
        return Loss(total, {"cross_entropy": cross_entropy.detach(), "kl": kl.detach()})

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Nothing decays: the prior does that. Standard deviations learn at their own rate, to change by factors."""
        rho = list(self.network.rho.parameters())
        others = [p for p in self.parameters() if p.requires_grad and not any(p is one for one in rho)]
        return [
            {"params": others, "lr": learning_rate, "weight_decay": 0.0},
            {"params": rho, "lr": self.config.rho_learning_rate, "weight_decay": 0.0},
        ]

    def begin(self, num_images: int, num_batches: int) -> None:
        self.kl_weight.begin(num_images, num_batches)

    def after_step(self, step: TrainingStep) -> None:
        self.kl_weight.count(step)
