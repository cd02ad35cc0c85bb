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

from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from plurimask.method import Loss, SegmentationMethod, Tiling, TrainingStep
from plurimask.nn.bayesian import (
    DivergenceWeight,
    Estimator,
    GaussianPrior,
    Prior,
    ScaleMixturePrior,
    Shares,
    WeightDraws,
    bayesian_network,
)
from plurimask.nn.initialisation import initialise
from plurimask.nn.losses import judgements, summed_cross_entropy
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import PixelScores


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
    tiling = Tiling(is_exact=True)
    config: BayesByBackpropConfig

    def __init__(self, config: BayesByBackpropConfig) -> None:
        super().__init__(config)
        unet = PixelScores(
            config.image_channels,
            config.channels,
            config.convs_per_scale,
            config.style,
            config.num_classes,
            config.space,
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
        network = self.network
        return WeightDraws(network.network, network.posterior(), images, self.config.num_classes)

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
