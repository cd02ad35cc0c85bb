"""SWAG: a Gaussian over weights from the way that SGD goes around a minimum, on top of a trained method.

    w_1, w_2, ...               weights of SGD with a constant or cyclic learning rate, every c steps
    m = mean of w_i             (this alone is SWA)
    v = mean of w_i^2 - m^2     element by element
    D = [w_i - m_i]             the last K deviations, each from the mean m_i of the weights up to it
    q(w) = N(m, diag(v) / 2 + D D^T / (2 (K - 1)))
    w    = m + v^(1/2) z_1 / sqrt(2) + D z_2 / sqrt(2 (K - 1))         z_1, z_2 standard normal
    p(y | x) ~ 1/S sum_s p(y | x, w_s)                                 S draws, with their own batch-norm statistics

The loss is that of the method underneath, divided by the pixels of an image so that a learning rate means the same for
all sizes. The diagonal form is N(m, diag(v)). The draws are made once, when training ends: each is a network, as the
members of an ensemble are.

Maddox, Garipov, Izmailov, Vetrov and Wilson, "A Simple Baseline for Bayesian Uncertainty in Deep Learning", NeurIPS
2019; the mean alone: Izmailov, Podoprikhin, Garipov, Vetrov and Wilson, "Averaging Weights Leads to Wider Optima and
Better Generalization", UAI 2018. Several of them, as an ensemble: Wilson and Izmailov, "Bayesian Deep Learning and a
Probabilistic Perspective of Generalization", NeurIPS 2020.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Literal, cast

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from plurimask.errors import InputError
from plurimask.method import Loss, MethodConfig, SegmentationMethod, TrainingStep
from plurimask.nn.ensemble import EnsembleSegmentation, tiling_of_members

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
SGD_RATE = "sgd_learning_rate"
"""The term of a loss that tells SGD's learning rate: the training's own moves nothing then."""
NEEDED_WEIGHTS = 3
"""With fewer there is no covariance: the first weights deviate from nothing, and one column has no spread."""


class Trajectory:
    """The moments of the weights that a training came through, and their last deviations from the running mean.

    Args:
        rank: K, of how many deviations are kept.
    """

    def __init__(self, rank: int) -> None:
        self.rank, self.steps, self.count, self.seed = rank, 0, 0, 0
        self.mean, self.scatter = torch.zeros(()), torch.zeros(())  # (P,) from the first weights on
        self.deviations: list[Tensor] = []  # K of (P,)

    def collect(self, weights: Tensor) -> None:
        """Take in weights `(P,)`."""
        # Squares are summed around the mean (Welford): E[w^2] - E[w]^2 has no digits left where weights hardly move.
        self.count += 1
        before = weights - self.mean.to(weights.device)
        self.mean = self.mean.to(weights.device) + before / self.count
        after = weights - self.mean
        self.scatter = self.scatter.to(weights.device) + before * after
        if self.count > 1:
            self.deviations = [*self.deviations, after][-self.rank :]

    @property
    def variance(self) -> Tensor:
        """v, `(P,)`."""
        return self.scatter / self.count

    def draw(self, low_rank: bool, generator: torch.Generator) -> Tensor:
        """Weights `(P,)` from the Gaussian; without its low-rank part from the diagonal one."""
        normal = torch.randn(self.mean.shape, generator=generator).to(self.mean.device)
        own = self.variance.sqrt() * normal
        if not low_rank:
            return self.mean + own
        shares = torch.randn(len(self.deviations), generator=generator).tolist()
        common = sum(share * column.to(own.device) for share, column in zip(shares, self.deviations, strict=True))
        drawn: Tensor = self.mean + own / math.sqrt(2) + common / math.sqrt(2 * (len(self.deviations) - 1))
        return drawn

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: getattr(self, name) for name in vars(self).keys() - {"rank"}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        vars(self).update(state)


class SWAGConfig(MethodConfig):
    base: str = Field("unet", description="the method underneath; that of the run which --from names")
    base_settings: dict[str, dict[str, Any]] = Field({}, description="its settings, by the name of the method")
    warm_up: float = Field(
        0.75, ge=0, lt=1, description="share of the budget of ordinary training ahead of SGD; with --from none"
    )
    sgd_learning_rate: float = Field(0.01, gt=0, le=10, description="of SGD, for the loss divided by an image's pixels")
    sgd_momentum: float = Field(0.9, ge=0, lt=1, description="of SGD")
    sgd_weight_decay: float = Field(1e-4, ge=0, le=1000, description="of SGD, on weights, not on biases")
    sgd_schedule: Literal["constant", "cyclic"] = Field(
        "constant", description="cyclic: falls linearly from each collected weights to the next"
    )
    cycle_end: float = Field(
        0.1, gt=0, le=1, description="cyclic: the share of the learning rate at the end of a cycle"
    )
    burn_in: int = Field(50, ge=0, le=10**9, description="steps of SGD before weights are collected")
    collect_every: int = Field(10, ge=1, le=10**9, description="steps of SGD from collected weights to the next")
    covariance: Literal["low-rank", "diagonal", "none"] = Field(
        "low-rank", description="of the weights; none: the mean alone (SWA), one network"
    )
    rank: int = Field(20, ge=2, le=256, description="deviations of weights that are kept for the covariance")
    draws: int = Field(20, ge=1, le=256, description="networks that are drawn and kept, where there is a covariance")
    batch_norm_batches: int = Field(
        20, ge=1, le=100, description="batches of training images for the batch-norm statistics of each network"
    )

    @field_validator("base")
    @classmethod
    def _is_one_network(cls, base: str) -> str:
        if base in ("ensemble", "swag"):
            raise ValueError(f"{base} has several networks already: train swag on each, and join them to an ensemble")
        return base


class SWAG(SegmentationMethod):
    """It is given the built method underneath too."""

    Config = SWAGConfig
    summary = "networks drawn from a Gaussian around SGD's way, on top of a trained method: a sample is a network's map"
    paper = "Maddox et al., A Simple Baseline for Bayesian Uncertainty in Deep Learning, NeurIPS 2019"
    made_at_end = True
    config: SWAGConfig
    is_drawn: Tensor

    def __init__(self, config: SWAGConfig, base: SegmentationMethod) -> None:
        super().__init__(config)
        if type(base).update is not SegmentationMethod.update:
            raise InputError(f"{config.base} learns by updates of its own, where swag needs a loss for SGD to descend")
        self.base = base
        """It is trained; when training is over it has the mean of the weights."""
        count = 0 if config.covariance == "none" else config.draws
        self.members = nn.ModuleList(_without_parameters(base) for _ in range(count))
        self.tiling = tiling_of_members("members", [base] * count) if count else tiling_of_members("base", [base])
        self.register_buffer("is_drawn", torch.tensor(False))
        self.trajectory = Trajectory(config.rank)
        rate, decay = config.sgd_learning_rate, config.sgd_weight_decay
        self.descent = torch.optim.SGD(base.parameter_groups(rate), rate, config.sgd_momentum, weight_decay=decay)

    def forward(self, images: Tensor) -> EnsembleSegmentation:
        """Of the networks that were drawn; until then, of the one that is trained."""
        networks = self.members if len(self.members) and bool(self.is_drawn) else [self.base]
        return EnsembleSegmentation([network(images) for network in networks])

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        return self.base.loss(images, labels, generator)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return self.base.parameter_groups(learning_rate)

    def begin(self, num_images: int, num_batches: int) -> None:
        self.base.begin(num_images, num_batches)

    def update(self, images: Tensor, labels: Tensor, step: TrainingStep) -> Loss | None:
        """A step of SGD once the ordinary training is over; it stays over if the budget grows."""
        if self.trajectory.steps == 0 and step.progress < self.config.warm_up:
            return None
        rate = self.rate(self.trajectory.steps)
        for group in self.descent.param_groups:
            group["lr"] = rate
        self.descent.zero_grad()
        loss = self.base.loss(images, labels, step.generator)
        with torch.autocast(images.device.type, enabled=False):
            torch.autograd.backward(loss.total / images[0, 0].numel())
        self.descent.step()
        self.trajectory.steps += 1
        return Loss(loss.total.detach(), {**loss.terms, SGD_RATE: torch.tensor(rate)})

    def rate(self, step: int) -> float:
        """The learning rate of a step of SGD, from 0."""
        config = self.config
        if config.sgd_schedule == "constant":
            return config.sgd_learning_rate
        share = ((step - config.burn_in) % config.collect_every + 1) / config.collect_every  # of the cycle that is over
        return config.sgd_learning_rate * (1 - share * (1 - config.cycle_end))

    @torch.no_grad()
    def after_step(self, step: TrainingStep) -> None:
        self.base.after_step(step)
        past = self.trajectory.steps - self.config.burn_in
        if past > 0 and past % self.config.collect_every == 0:
            self.trajectory.collect(torch.cat([p.detach().flatten() for p in self.base.parameters()]))
            self.trajectory.seed = int(torch.randint(2**62, (), generator=step.generator))

    @torch.no_grad()
    def finish(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Draw the networks, and take the batch-norm statistics of each."""
        if self.trajectory.count < NEEDED_WEIGHTS:
            raise InputError(
                f"swag collected weights {self.trajectory.count} times in {self.trajectory.steps} steps of SGD, and "
                f"needs {NEEDED_WEIGHTS}: continue with --resume and a larger budget, or start with a smaller "
                "--collect-every or --burn-in"
            )
        generator = torch.Generator().manual_seed(self.trajectory.seed)
        members, low_rank = (
            [cast(SegmentationMethod, one) for one in self.members],
            self.config.covariance == "low-rank",
        )
        _give_weights(self.base, self.base, self.trajectory.mean)
        for member in members:
            _give_weights(member, self.base, self.trajectory.draw(low_rank, generator))
        _renormalise([self.base, *members], islice(batches, self.config.batch_norm_batches), generator)
        self.is_drawn.fill_(True)

    def training_state(self) -> dict[str, Any]:
        trajectory, descent = self.trajectory.state(), self.descent.state_dict()
        return {"trajectory": trajectory, "descent": descent, "base": self.base.training_state()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.trajectory.restore(state["trajectory"])
        self.descent.load_state_dict(state["descent"])
        self.base.load_training_state(state["base"])


def _without_parameters(method: SegmentationMethod) -> SegmentationMethod:
    """A copy whose weights are buffers, which no optimiser trains and no count of parameters counts."""
    fixed = copy.deepcopy(method)
    for module in fixed.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach())
    return fixed


def _give_weights(network: nn.Module, base: nn.Module, weights: Tensor) -> None:
    """Give a network of the kind of `base` the base's buffers, and `weights` `(P,)` in the base's order."""
    state, parameters = base.state_dict(), dict(base.named_parameters())
    shares: tuple[Tensor, ...] = torch.split(weights, [parameter.numel() for parameter in parameters.values()])
    own = {name: share.view_as(parameters[name]) for name, share in zip(parameters, shares, strict=True)}
    network.load_state_dict({**state, **own})


def _renormalise(
    networks: Sequence[SegmentationMethod], batches: Iterable[tuple[Tensor, Tensor]], generator: torch.Generator
) -> None:
    """The running statistics of batch norm become the means over the batches, which are passed as in training."""
    layers = [layer for network in networks for layer in network.modules() if isinstance(layer, BATCH_NORMS)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    for images, labels in batches if layers else ():
        for network in networks:
            network.loss(images, labels, generator)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
