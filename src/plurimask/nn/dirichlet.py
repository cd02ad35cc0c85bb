"""A Dirichlet distribution over the class probabilities of each pixel, from the moments of its class scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from plurimask.distribution import IGNORE
from plurimask.nn.losses import one_hot
from plurimask.nn.moments import Moments

ScaleForm = Literal["expected-variance", "released-code"]
OffTargets = Literal["expected", "random", "uniform"]

RELEASED_LEAST_SCALE = 1e-4
_SHARES = (0.1, 1.0)
"""Between which the random shares of the other classes lie before they are made to sum to 1."""
_LARGEST = 1e30
"""Of 1 / shape: a draw of so small a shape is 0 beside any other."""
_TRIES = 5
"""A proposal is refused with a probability below 0.05, whatever the concentration: all are in 3e-7 of the draws."""


class Dirichlet(NamedTuple):
    """Concentrations alpha = m / s of every pixel, kept as logarithms: a class's may be far below what floats hold."""

    log_mean: Tensor
    """`(B, C, *spatial)`, float32: log m, the logarithms of probabilities that sum to 1."""
    log_scale: Tensor
    """`(B, *spatial)`, float32: log s. All concentrations together are 1 / s."""

    @property
    def log_concentration(self) -> Tensor:
        """log alpha, `(B, C, *spatial)`."""
        return self.log_mean - self.log_scale.unsqueeze(1)

    def variance(self) -> Tensor:
        """Of each class's probability, `(B, C, *spatial)`: m (1 - m) s / (1 + s)."""
        mean, scale = self.log_mean.exp(), self.log_scale.exp().unsqueeze(1)
        return mean * -torch.expm1(self.log_mean) * (scale / (1 + scale))

    def entropy(self) -> Tensor:
        """Of the mean, `(B, *spatial)`, nats: - sum m ln m."""
        return -(self.log_mean.exp() * self.log_mean).sum(1)

    def expected_entropy(self) -> Tensor:
        """Of the entropy of drawn probabilities, `(B, *spatial)`, nats: psi(1 / s + 1) - sum m psi(alpha + 1)."""
        total = torch.digamma((-self.log_scale).exp() + 1)
        return total - (self.log_mean.exp() * torch.digamma(self.log_concentration.exp() + 1)).sum(1)

    def log_density(self, log_targets: Tensor) -> Tensor:
        """ln Dir(t | alpha), `(B, *spatial)`, of probabilities t given as logarithms `(B, C, *spatial)`.

        ln Gamma(alpha) is taken as ln Gamma(1 + alpha) - ln alpha, which is finite however small alpha is.
        """
        log_alpha = self.log_concentration
        alpha = log_alpha.exp()
        terms = (alpha - 1) * log_targets + log_alpha - torch.lgamma(1 + alpha)
        return torch.lgamma((-self.log_scale).exp()) + terms.sum(1)


def dirichlet_of(scores: Moments, base: Tensor, slope: Tensor, form: ScaleForm) -> Dirichlet:
    """The Dirichlet of class scores with mean mu and variance v: m = softmax(mu), alpha = m / s.

    Args:
        scores: `(B, C, *spatial)`.
        base: c1 > 0, a scalar.
        slope: c2 > 0, a scalar.
        form: "expected-variance": s = c1 + c2 sqrt(sum_j m_j v_j). "released-code", that of Gast and Roth:
            s = 1e-4 + c1 + c2 sqrt(sum_j m_j^2 v_j).
    """
    log_mean = scores.mean.float().log_softmax(1)
    mean, variance = log_mean.exp(), scores.variance.float()
    released = form == "released-code"
    spread = ((mean.square() if released else mean) * variance).sum(1)
    # The root of 0 has no finite gradient.
    scale = base + slope * (spread + 1e-20).sqrt() + (RELEASED_LEAST_SCALE if released else 0.0)
    return Dirichlet(log_mean, scale.log())


def smoothed_targets(
    labels: Tensor, num_classes: int, smoothing: float, off_targets: OffTargets, generator: torch.Generator | None
) -> Tensor:
    """Logarithms of labels moved off the corners of the simplex, where a Dirichlet has no density.

    Args:
        labels: `(P, *spatial)`, uint8; what stands at IGNORE pixels has no meaning.
        num_classes: C.
        smoothing: epsilon, between 0 and 1.
        off_targets: "random", the released code's: 1 - epsilon for the label, epsilon for the others in random shares,
            uniform from 0.1 to 1 and made to sum to 1. "expected": the mean of the logarithms over those shares; the
            density's logarithm is linear in them, so this is the same objective without its noise. "uniform":
            (1 - epsilon) one-hot + epsilon / C.
        generator: of the random shares.

    Returns:
        `(P, C, *spatial)`, float32.
    """
    hot = one_hot(labels.masked_fill(labels == IGNORE, 0), num_classes)
    if off_targets == "uniform":
        return ((1 - smoothing) * hot + smoothing / num_classes).log()
    if off_targets == "expected":
        off = math.log(smoothing) + expected_log_share(num_classes - 1)
        return hot * (math.log1p(-smoothing) - off) + off
    low, high = _SHARES
    shares = torch.rand(hot.shape, generator=generator).to(hot.device) * (high - low) + low
    shares = shares * (1 - hot)
    return ((1 - smoothing) * hot + smoothing * shares / shares.sum(1, keepdim=True)).log()


@cache
def expected_log_share(count: int) -> float:
    """E[ln(u_1 / (u_1 + ... + u_n))] of n independent numbers, uniform from 0.1 to 1.

    By Frullani's integral, E[ln S] = int_0^inf (exp(-t) - E[exp(-t S)]) / t dt, with E[exp(-t S)] = E[exp(-t u)]^n.
    """
    low, high = _SHARES
    of_one = (high * math.log(high) - low * math.log(low)) / (high - low) - 1
    log_t = torch.linspace(-30, 12, 20001, dtype=torch.float64)  # dt / t is the step of ln t
    t = log_t.exp()
    transform = torch.exp(-low * t) * -torch.expm1(-(high - low) * t) / ((high - low) * t)
    of_sum = torch.trapezoid(torch.exp(-t) - transform**count, log_t)
    return of_one - float(of_sum)


def gamma_numbers(shape: Sequence[int], generator: torch.Generator) -> Iterator[Tensor]:
    """The random numbers of `log_gamma_draws`, `shape` each: uniform ones, then normal and uniform ones of each try."""
    yield torch.rand(shape, generator=generator)
    for _ in range(_TRIES):
        yield torch.randn(shape, generator=generator)
        yield torch.rand(shape, generator=generator)


def log_gamma_draws(log_shape: Tensor, numbers: Iterable[Tensor]) -> Tensor:
    """Logarithms of draws from Gamma distributions of given shapes, of any smallness.

    Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", ACM TOMS 2000, for shape + 1, times a uniform
    number to the power of 1 / shape. Every element has random numbers of its own, so that a rounding that turns one
    decision changes one element alone; of five refused proposals the last is taken.

    Args:
        log_shape: any shape, float32, on the CPU.
        numbers: `gamma_numbers` of that shape; of later tries only those that are needed are asked for.
    """
    remaining = iter(numbers)
    d = log_shape.exp().flatten() + (1 - 1 / 3)
    uniform = next(remaining)
    log_draw, open_ = torch.empty_like(d), torch.arange(len(d))
    for normal, height in zip(remaining, remaining, strict=True):
        x, log_height = normal.flatten()[open_], (1 - height.flatten()[open_]).log()
        of_open = d[open_]
        root = 1 + x / (3 * of_open.sqrt())
        log_v = 3 * root.clamp(min=1e-6).log()
        accepted = (root > 0) & (log_height < 0.5 * x.square() + of_open * (1 - log_v.exp() + log_v))
        log_draw[open_] = of_open.log() + log_v
        open_ = open_[~accepted]
        if not len(open_):
            break
    log_draw = log_draw.view(log_shape.shape)
    return log_draw + (1 - uniform).log() * torch.exp(-log_shape).clamp(max=_LARGEST)
