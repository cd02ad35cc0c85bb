"""Every method, small, in float32 and in bf16, with something to learn."""

from __future__ import annotations

import pytest
import torch
from contract import CASES, B, K, R, built, seeded, spatial_of
from torch import Tensor

from plurimask.method import SegmentationMethod


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def method(case: str, precision: str) -> SegmentationMethod:
    torch.manual_seed(0)
    return built(case)


@pytest.fixture
def rounding(precision: str) -> float:
    """How far probabilities may differ that are the same but for the order of operations."""
    return 1e-5 if precision == "float32" else 2e-2


@pytest.fixture
def images(request: pytest.FixtureRequest) -> Tensor:
    """Of the size of the test's case, if it has one."""
    case = request.getfixturevalue("case") if "case" in request.fixturenames else ""
    return torch.randn(B, K, *spatial_of(case), generator=seeded(1))


@pytest.fixture
def labels(images: Tensor) -> Tensor:
    """Four raters who threshold the image at different levels."""
    levels = torch.linspace(-0.6, 0.6, R).view(1, R, *[1] * (images.ndim - 2))
    return ((images[:, :1] > levels) * 2 + (images[:, 1:2] > levels)).to(torch.uint8)
