"""Makes the picture of the gap in docs/bayesian.md, docs/images/bayesian-gap.png, and prints the numbers it quotes.

    python docs/figures/gap.py [--quick] [--out FOLDER]

Data on two sides and nothing between, on which one network is learnt in six ways, beside what is right: Hamiltonian
Monte Carlo on the very same model, whose chains are checked (R-hat below 1.05 at every input). All ways know the noise:

    f(x; w) = b2 + w2 . relu(w1 x / sqrt 2 + b1 / sqrt 2) / sqrt 51 ...      50 hidden units
    y = f(x; w) + e,  e ~ N(0, sigma^2),    w ~ N(0, 1 / l),  each weight and bias

The divisions by the root of the number of inputs make it the model of probabilistic backpropagation's paper. Where a
way has its own idea of the prior (dropout's weight decay, the moments' noisy input), it is in its function. Minutes on
one core; `--quick` takes a tenth of the steps, to see that it runs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from plurimask.figures.colours import FAINT, INK
from plurimask.figures.style import canvas, save_figure, style
from plurimask.methods.swag import Trajectory
from plurimask.nn.bayesian import GaussianPrior, bayesian_network
from plurimask.nn.dropout import draw_masks
from plurimask.nn.moments import Propagation, moment_network
from plurimask.nn.probabilistic_backpropagation import Regression

HIDDEN, NOISE, PRECISION = 50, 0.1, 0.25
"""Units; sigma; l."""
GRID = torch.linspace(-2.0, 2.0, 101)
GAP, DATA = (GRID.abs() < 0.35), (GRID.abs() > 0.75) & (GRID.abs() < 1.25)
"""The middle of the gap, and where data are."""


class Data(NamedTuple):
    x: Tensor
    """`(N, 1)`, of mean 0 and variance 1, as is y."""
    y: Tensor


class Bands(NamedTuple):
    """Of f, along `GRID`."""

    mean: Tensor
    sigma: Tensor


class Network(nn.Module):
    """f; weights `(P,)` in the order of its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, HIDDEN), nn.Linear(HIDDEN, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=PRECISION**-0.5)

    def hidden(self, x: Tensor) -> Tensor:
        return torch.relu(self.first(x) / math.sqrt(2))

    def forward(self, x: Tensor) -> Tensor:
        """`(N, 1)` -> `(N, 1)`."""
        y: Tensor = self.second(self.hidden(x)) / math.sqrt(HIDDEN + 1)
        return y


def data() -> Data:
    random = np.random.default_rng(4)
    x = np.sort(np.concatenate([random.uniform(-1.5, -0.9, 20), random.uniform(0.9, 1.5, 20)]))
    y = np.sin(2.5 * x) + 0.4 * x
    x, y = ((one - one.mean()) / one.std() for one in (x, y))
    y += NOISE * random.standard_normal(len(x))
    y = (y - y.mean()) / y.std()
    return Data(*(torch.from_numpy(one).float()[:, None] for one in (x, y)))


def misfit(found: Tensor, y: Tensor) -> Tensor:
    """-ln p(y | f) without constants."""
    return (found - y).square().sum() / (2 * NOISE**2)


def penalty(network: nn.Module) -> Tensor:
    """-ln p(w) without constants."""
    return 0.5 * PRECISION * torch.stack([parameter.square().sum() for parameter in network.parameters()]).sum()


def descend(loss: Callable[[], Tensor], parameters: Iterator[nn.Parameter], steps: int, rate: float = 0.02) -> None:
    optimiser = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward(loss())
        optimiser.step()
        schedule.step()


def bands(draws: list[Tensor]) -> Bands:
    """Of draws of f `(101, 1)`."""
    found = torch.stack(draws)[..., 0]
    return Bands(found.mean(0), found.std(0))


# ---- what is right ------------------------------------------------------------------------------------------------


def hmc(seen: Data, steps: int, chains: int = 8, leaps: int = 80) -> Bands:
    """Hamiltonian Monte Carlo, chains side by side; the first half, in which the step size is found, is left out."""
    random = torch.Generator().manual_seed(5)
    x, y, grid = seen.x.double()[:, 0], seen.y.double()[:, 0], GRID.double()
    w = torch.randn(chains, 3 * HIDDEN + 1, generator=random).double() / PRECISION**0.5

    def f(w: Tensor, x: Tensor) -> Tensor:
        w1, b1, w2, b2 = w[:, None, :HIDDEN], w[:, None, HIDDEN : -HIDDEN - 1], w[:, -HIDDEN - 1 : -1], w[:, -1:]
        hidden = torch.relu((w1 * x[:, None] + b1) / math.sqrt(2))
        return ((hidden @ w2[:, :, None])[..., 0] + b2) / math.sqrt(HIDDEN + 1)

    def energy_and_slope(w: Tensor) -> tuple[Tensor, Tensor]:
        w = w.detach().requires_grad_()
        energy = (f(w, x) - y).square().sum(1) / (2 * NOISE**2) + 0.5 * PRECISION * w.square().sum(1)
        return energy.detach(), torch.autograd.grad(energy.sum(), w)[0]

    size, kept = torch.full((chains, 1), 0.01).double(), []
    energy, slope = energy_and_slope(w)
    for step in range(steps):
        momentum = torch.randn(w.shape, generator=random).double()
        jitter = size * (0.8 + 0.4 * torch.rand(chains, 1, generator=random).double())
        new, speed, new_slope = w, momentum, slope
        for _ in range(leaps):
            speed = speed - jitter / 2 * new_slope
            new = new + jitter * speed
            new_energy, new_slope = energy_and_slope(new)
            speed = speed - jitter / 2 * new_slope
        gain = energy + momentum.square().sum(1) / 2 - new_energy - speed.square().sum(1) / 2
        accept = torch.rand(chains, generator=random).double().log() < gain.nan_to_num(nan=-math.inf)
        w, slope = torch.where(accept[:, None], new, w), torch.where(accept[:, None], new_slope, slope)
        energy = torch.where(accept, new_energy, energy)
        if step < steps // 2:
            size = size * torch.exp(0.1 * (gain.exp().nan_to_num(0.0).clamp(max=1) - 0.8))[:, None]
        else:
            kept.append(f(w, grid))
    draws = torch.stack(kept, 1)  # (chains, draws, 101)
    worst = float(r_hat(draws).max())
    print(
        f"HMC: {draws.shape[1]} draws of each of {chains} chains, R-hat at most {worst:.3f}, steps of {size.mean():.4f}"
    )
    if worst > 1.05:
        print("the chains do not agree: more steps are needed")
    flat = draws.flatten(0, 1).float()
    return Bands(flat.mean(0), flat.std(0))


def r_hat(draws: Tensor) -> Tensor:
    """Split R-hat of `(chains, draws, ...)`: Gelman et al., Bayesian Data Analysis, 3rd edition, section 11.4."""
    half = draws.shape[1] // 2
    halves = torch.cat([draws[:, :half], draws[:, half : 2 * half]])
    within, between = halves.var(1).mean(0), halves.mean(1).var(0)
    return ((half - 1) / half + between / within).sqrt()


# ---- six ways -----------------------------------------------------------------------------------------------------


def dropout(seen: Data, steps: int, probability: float = 0.1) -> Bands:
    """Masks of the hidden units, in training and for each draw."""
    network, random = Network(), torch.Generator().manual_seed(1)

    def passed(x: Tensor, num: int) -> Tensor:
        (kept,) = draw_masks(num, [(HIDDEN,)], probability, random)
        y: Tensor = network.second(network.hidden(x) * kept / (1 - probability)) / math.sqrt(HIDDEN + 1)
        return y

    descend(lambda: misfit(passed(seen.x, len(seen.x)), seen.y) + penalty(network), network.parameters(), steps)
    with torch.no_grad():
        return bands([passed(GRID[:, None], 1) for _ in range(2000)])


def fitted(seen: Data, steps: int) -> Network:
    """The most probable weights near a draw from the prior."""
    network = Network()
    descend(lambda: misfit(network(seen.x), seen.y) + penalty(network), network.parameters(), steps)
    return network


def ensemble(seen: Data, steps: int, members: int = 20) -> Bands:
    networks = [fitted(seen, steps // 2) for _ in range(members)]
    with torch.no_grad():
        return bands([network(GRID[:, None]) for network in networks])


def swag(seen: Data, steps: int, rate: float = 1e-4, batch: int = 10) -> Bands:
    """SGD on batches from the most probable weights on; draws of the Gaussian around its way."""
    network, trajectory, random = fitted(seen, steps), Trajectory(20), torch.Generator().manual_seed(2)
    optimiser = torch.optim.SGD(network.parameters(), rate, momentum=0.9)
    for step in range(steps):
        chosen = torch.randperm(len(seen.x), generator=random)[:batch]
        optimiser.zero_grad()
        loss = misfit(network(seen.x[chosen]), seen.y[chosen]) * len(seen.x) / batch + penalty(network)
        torch.autograd.backward(loss)
        optimiser.step()
        if step >= steps // 4 and step % 10 == 0:
            trajectory.collect(nn.utils.parameters_to_vector(network.parameters()).detach())
    draws = []
    with torch.no_grad():
        for _ in range(1000):
            nn.utils.vector_to_parameters(trajectory.draw(low_rank=True, generator=random), network.parameters())
            draws.append(network(GRID[:, None]))
    return bands(draws)


def bayes_by_backprop(seen: Data, steps: int) -> Bands:
    network, prior = bayesian_network(Network(), 0.05), GaussianPrior(PRECISION**-0.5)
    descend(lambda: misfit(network(seen.x, "local"), seen.y) + network.kl(prior), network.parameters(), 4 * steps)
    with torch.no_grad():
        posterior = network.posterior()
        return bands([network.run(GRID[:, None], posterior.draw()) for _ in range(1000)])


def probabilistic_backpropagation(seen: Data, steps: int) -> Bands:
    model = Regression((HIDDEN,), noise_variance=NOISE**2, weight_precision=PRECISION)
    model.fit(seen.x.numpy(), seen.y[:, 0].numpy(), epochs=80)
    mean, variance = (torch.from_numpy(one).float() for one in model.predict(GRID[:, None].numpy()))
    return Bands(mean, (variance - model.noise_variance).sqrt())


def moments(seen: Data, steps: int, noise: float = 0.05**2) -> Bands:
    """The input's noise through every layer (assumed density filtering), in training and after."""
    plain = Network()
    network = moment_network(plain, Propagation(floor=1e-8))

    def loss() -> Tensor:
        mean, variance = network(seen.x, torch.full_like(seen.x, noise))
        total = variance + NOISE**2
        surprise: Tensor = ((mean - seen.y).square() / (2 * total) + total.log() / 2).sum()
        return surprise + penalty(plain)

    descend(loss, plain.parameters(), steps)
    with torch.no_grad():
        mean, variance = network(GRID[:, None], torch.full_like(GRID[:, None], noise))
    return Bands(mean[:, 0], variance[:, 0].sqrt())


WAYS: dict[str, Callable[[Data, int], Bands]] = {
    "Monte-Carlo dropout": dropout,
    "deep ensemble": ensemble,
    "SWAG": swag,
    "Bayes by Backprop": bayes_by_backprop,
    "probabilistic backpropagation": probabilistic_backpropagation,
    "moments (lightweight)": moments,
}


def draw(axes: Axes, name: str, found: Bands, right: Bands, seen: Data) -> None:
    """Two standard deviations of f to either side."""
    style(axes, name, "x")
    grid = GRID.numpy()
    axes.fill_between(grid, right.mean - 2 * right.sigma, right.mean + 2 * right.sigma, color="#DDDDDD", linewidth=0)
    axes.plot(grid, right.mean, color=FAINT, linewidth=0.9, linestyle="--")
    axes.fill_between(
        grid, found.mean - 2 * found.sigma, found.mean + 2 * found.sigma, color="#0072B2", alpha=0.45, linewidth=0
    )
    axes.plot(grid, found.mean, color="#0072B2", linewidth=1.3)
    axes.plot(seen.x, seen.y, ".", color=INK, markersize=3.5)
    axes.set(xlim=(grid[0], grid[-1]), ylim=(-4.5, 4.5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    share = 10 if options.quick else 1
    seen = data()
    right = hmc(seen, 2000 // share)
    figure = canvas(9.0, 5.4)
    for axes, (name, way) in zip(figure.subplots(2, 3, sharey=True).flat, WAYS.items(), strict=True):
        torch.manual_seed(0)
        found = way(seen, 2000 // share)
        ratios = [float((found.sigma[where] / right.sigma[where]).mean()) for where in (GAP, DATA)]
        print(f"{name}: sigma over that of HMC {ratios[0]:.2f} in the gap, {ratios[1]:.2f} at the data")
        draw(axes, name, found, right, seen)
    save_figure(figure, options.out / "bayesian-gap.png")


if __name__ == "__main__":
    main()
