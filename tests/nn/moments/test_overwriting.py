"""Activations save memory by overwriting what they get, where nobody else reads it."""

from __future__ import annotations

import pytest
import torch
from naive_moments import EAGER, assert_same
from torch import Tensor, nn

from plurimask.nn.moments import activation, fused, moment_network


def images(*size: int) -> Tensor:
    return torch.randn(4, 2, *size, generator=torch.Generator().manual_seed(1))


SHARED = {
    "a shortcut": lambda own, c: own.shortcut(c) + own.after(own.relu(c)),
    "a dropped shortcut": lambda own, c: own.dropout(c) + own.relu(c),
    "a part": lambda own, c: c[:, :2] + own.relu(c)[:, 1:],
    "another shape": lambda own, c: own.relu(c).flatten(1) + c.flatten(1),
    "a constant": lambda own, c: own.relu(c) * 2 + (c + 1),
    "read twice": lambda own, c: own.relu(own.relu(c)) - own.after(c),
}


class Shared(nn.Module):
    """A convolution whose result is read at two places."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function, self.relu = function, nn.ReLU()
        self.before, self.after = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.shortcut, self.dropout = nn.Identity(), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.function(self, self.before(x))  # type: ignore[operator]
        return out


@pytest.mark.parametrize("name", list(SHARED))
def test_what_others_read_is_not_overwritten(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, x = Shared(SHARED[name]).eval(), images(9, 7)
    converted = moment_network(network, EAGER)
    with_gradients = converted(x, torch.full_like(x, 0.1))
    monkeypatch.setattr(fused, "BLOCK", 16)
    with torch.no_grad():
        assert_same(converted(x, torch.full_like(x, 0.1)), with_gradients, tolerance=1e-6)
        torch.testing.assert_close(converted(x, torch.zeros_like(x)).mean, network(x))


def test_what_only_an_activation_reads_is_overwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    overwritten = []

    def noting(mean: Tensor, variance: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
        overwritten.append(rest[-1])
        return mean, variance

    monkeypatch.setattr(activation, "fused_leaky", noting)
    network = nn.Sequential(
        nn.ReLU(), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Flatten(), nn.ReLU(), nn.Linear(3, 2), nn.ReLU()
    )
    x = images(1, 1)
    moment_network(network, EAGER)(x, torch.ones_like(x))
    assert overwritten == [False, True, False, True]
