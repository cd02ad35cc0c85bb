"""Averages and resizing against their own matrices; the largest of a window against the exact one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from naive_moments import EAGER, SYMMETRIC, assert_same, assert_within_errors, by_matrix, drawn, propagated, uncertain
from torch import Tensor, nn
from torch.nn import functional

from plurimask.nn.moments import Moments, Propagation
from plurimask.nn.moments.pooling import Resizing, resize

AFFINE: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "average": (nn.AvgPool2d(2), (3, 6, 8)),
    "average, odd size": (nn.AvgPool2d(2), (2, 5, 7)),
    "average, rounded up": (nn.AvgPool2d(2, ceil_mode=True), (2, 5, 7)),
    "average, overlapping": (nn.AvgPool2d(3, stride=2, padding=1), (2, 6, 9)),
    "average, padding not counted": (nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), (2, 6, 9)),
    "average, padded and rounded up": (nn.AvgPool2d((3, 2), (2, 3), (1, 0), ceil_mode=True), (2, 6, 7)),
    "average, all of that": (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 6, 8)),
    "sum": (nn.AvgPool2d(2, divisor_override=1), (2, 4, 6)),
    "three dimensions": (nn.AvgPool3d(2, ceil_mode=True), (2, 3, 4, 5)),
    "global": (nn.AdaptiveAvgPool2d(1), (3, 4, 6)),
    "global in three dimensions": (nn.AdaptiveAvgPool3d((1, 1, 1)), (2, 3, 4, 5)),
    "global in one dimension": (nn.AdaptiveAvgPool1d(1), (2, 7)),
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), (2, 4, 5)),
    "bilinear, aligned corners": (nn.UpsamplingBilinear2d(scale_factor=2), (2, 4, 5)),
    "nearest": (nn.Upsample(size=(7, 9)), (2, 4, 5)),
    "nearest, half the size": (nn.UpsamplingNearest2d(scale_factor=0.5), (2, 4, 6)),
    "nearest-exact": (nn.Upsample(size=(7, 9), mode="nearest-exact"), (2, 4, 5)),
    "linear": (nn.Upsample(scale_factor=3, mode="linear"), (2, 5)),
    "trilinear": (nn.Upsample(size=(5, 4, 7), mode="trilinear", align_corners=True), (1, 3, 2, 4)),
}


@pytest.mark.parametrize("name", list(AFFINE))
def test_a_layer_is_its_matrix_and_the_squares_of_its_matrix(name: str) -> None:
    layer, images = AFFINE[name]
    x = uncertain(2, *images)
    expected = by_matrix(layer, x)
    assert_same(propagated(layer, x), expected)
    single = propagated(layer, x.moved(Tensor.float))
    assert single.mean.dtype == single.variance.dtype == torch.float32
    assert_same(single.moved(Tensor.double), expected, tolerance=1e-5)


SIZES = [(4, 5), (7, 9), (8, 10), (3, 4), (2, 2), (1, 1), (4, 9), (1, 13), (11, 5)]
RESIZINGS = [
    *[Resizing(size=size, mode="bilinear", align_corners=aligned) for size in SIZES for aligned in (True, False)],
    *[
        Resizing(scale_factor=factor, mode="bilinear", align_corners=aligned, recompute_scale_factor=recompute)
        for factor in (2, 1.7, 0.6, 1.1, (1.1, 2.3), (0.5, 1.0), [2.0, 0.9])
        for aligned in (True, False)
        for recompute in (True, False)
    ],
    *[Resizing(scale_factor=factor, mode=mode) for factor in (2, 1.7, 0.6) for mode in ("nearest", "nearest-exact")],
]


@pytest.mark.parametrize("to", RESIZINGS, ids=str)
def test_interpolation_of_variances_has_the_squares_of_the_weights(to: Resizing) -> None:
    x = uncertain(2, 3, 4, 5)
    expected = by_matrix(lambda images: functional.interpolate(images, **to._asdict()), x)
    assert_same(resize(x, to, EAGER), expected)
    in_other_layout = x.moved(lambda values: values.contiguous(memory_format=torch.channels_last))
    assert_same(resize(in_other_layout, to, EAGER), expected)


def test_interpolating_variances_as_if_they_were_means_would_fail() -> None:
    x = uncertain(2, 3, 4, 5)
    to = Resizing(size=(8, 10), mode="bilinear", align_corners=True)
    unsquared = functional.interpolate(x.variance, **to._asdict())
    assert float((unsquared / resize(x, to, EAGER).variance).mean()) > 1.5


def test_interpolation_is_within_four_standard_errors_of_draws() -> None:
    x = uncertain(2, 4, 5)
    to = Resizing(size=(7, 6), mode="bilinear", align_corners=False)
    samples = drawn(lambda images: functional.interpolate(images, **to._asdict()), x, 20_000)
    moments = resize(x.moved(lambda values: values[None]), to, EAGER).moved(lambda values: values[0])
    assert_within_errors(moments, samples)


def test_what_is_not_supported_is_refused() -> None:
    x = uncertain(1, 2, 4, 5)
    with pytest.raises(ValueError, match="bicubic"):
        propagated(nn.Upsample(scale_factor=2, mode="bicubic"), x)
    with pytest.raises(ValueError, match="antialias"):
        resize(x, Resizing(size=(2, 2), mode="bilinear", antialias=True), EAGER)
    with pytest.raises(ValueError, match="only the global one"):
        propagated(nn.AdaptiveAvgPool2d((2, 1)), x)
    with pytest.raises(ValueError, match="returns indices"):
        propagated(nn.MaxPool2d(2, return_indices=True), x)
    with pytest.raises(ValueError, match="2 x 2"):
        propagated(nn.MaxPool2d(3), uncertain(1, 2, 6, 7), SYMMETRIC)


# ---- the largest of a window --------------------------------------------------------------------------------------

WINDOWS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "2x2": (nn.MaxPool2d(2), (6, 8)),
    "2x2, odd size": (nn.MaxPool2d(2), (5, 7)),
    "2x2, rounded up": (nn.MaxPool2d(2, ceil_mode=True), (5, 7)),
    "2x2, rounded up, one row": (nn.MaxPool2d(2, ceil_mode=True), (1, 7)),
    "2x2, overlapping": (nn.MaxPool2d(2, stride=1), (5, 7)),
    "2x2, dilated": (nn.MaxPool2d(2, stride=1, dilation=2), (5, 7)),
    "2x2, padded": (nn.MaxPool2d(2, padding=1), (5, 8)),
    "2x2, apart and rounded up": (nn.MaxPool2d(2, stride=3, ceil_mode=True), (6, 7)),
    "3x3": (nn.MaxPool2d(3), (6, 9)),
    "3x3 as residual networks": (nn.MaxPool2d(3, stride=2, padding=1), (7, 10)),
    "3x3, rounded up": (nn.MaxPool2d(3, ceil_mode=True), (7, 8)),
    "3x3, overlapping and rounded up": (nn.MaxPool2d(3, stride=2, ceil_mode=True), (6, 8)),
    "3x3, padded and rounded up": (nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True), (6, 9)),
    "3x2": (nn.MaxPool2d((3, 2), stride=(1, 2), padding=(1, 0)), (5, 8)),
    "3x3, dilated and padded": (nn.MaxPool2d(3, stride=1, padding=1, dilation=2), (7, 8)),
}


def largest_of(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the largest along the last dimension: from its distribution function, by summing."""
    sigma = variances.sqrt()
    low, high = (means - 9 * sigma).amin(-1), (means + 9 * sigma).amax(-1)
    places = low + (high - low) * torch.linspace(0, 1, 6001, dtype=torch.float64).view(-1, *[1] * (means.ndim - 1))
    below = torch.special.ndtr((places.unsqueeze(-1) - means) / sigma).prod(-1)
    share, middle = below.diff(dim=0), (places[1:] + places[:-1]) / 2
    mean = (share * middle).sum(0)
    return mean, (share * (middle - mean).square()).sum(0)


@pytest.mark.parametrize("how", [EAGER, SYMMETRIC], ids=["pairwise", "symmetric"])
@pytest.mark.parametrize("name", list(WINDOWS))
def test_windows_are_those_of_the_layer(name: str, how: Propagation) -> None:
    """With so little variance that the largest is nearly sure, its mean and variance are its own."""
    layer, size = WINDOWS[name]
    if how is SYMMETRIC and not name.startswith("2x2"):
        return
    x = uncertain(2, 3, *size)
    expected, where = functional.max_pool2d(
        x.mean, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode, return_indices=True
    )
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        got = propagated(layer, Moments(x.mean.to(dtype), (1e-14 * x.variance).to(dtype)), how)
        torch.testing.assert_close(got.mean, expected.to(dtype), rtol=tolerance, atol=1e-6)
        own = 1e-14 * x.variance.flatten(2).gather(2, where.flatten(2)).view(expected.shape)
        torch.testing.assert_close(got.variance, own.to(dtype), rtol=1e-4, atol=0)


def test_padding_is_never_the_largest() -> None:
    """Nor does it take part: under windows of one value and padding its moments come through unchanged."""
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for mean in (-1e6, -1.0, 0.0, 1e6):
            for variance in (0.0, 1e-12, 1.0, 1e6):
                x = Moments(
                    torch.full((1, 1, 2, 2), mean, dtype=dtype), torch.full((1, 1, 2, 2), variance, dtype=dtype)
                )
                got = propagated(nn.MaxPool2d(2, padding=1), x)
                assert torch.equal(got.variance, x.variance)
                torch.testing.assert_close(got.mean, x.mean, rtol=1e-7, atol=1e-15)


def test_the_larger_of_two_is_exact_along_one_axis() -> None:
    x = uncertain(3, 4, 2, 5)
    got = propagated(nn.MaxPool2d((2, 1)), x)
    mean, variance = largest_of(x.mean.movedim(2, -1), x.variance.movedim(2, -1))
    assert_same(got, Moments(mean.unsqueeze(2), variance.unsqueeze(2)), tolerance=2e-5)


def four(spread: float) -> Moments:
    """600 windows of 2 x 2: variances that differ by up to `spread`, means by up to three of their deviations."""
    generator = torch.Generator().manual_seed(0)
    variance = spread ** torch.rand(120, 5, 2, 2, generator=generator, dtype=torch.float64)
    mean = 3 * torch.rand(120, 5, 2, 2, generator=generator, dtype=torch.float64)
    return Moments(mean * variance.mean((2, 3), keepdim=True).sqrt(), variance)


BOUNDS = {
    # By which factor variances differ; errors of a mean, in standard deviations; of a variance, as a share; on average.
    "pairwise": (EAGER, [(1.0, 0.003, 0.09, 0.06), (10.0, 0.06, 0.33, 0.1), (1e4, 0.2, 1.0, 0.25)]),
    "symmetric": (SYMMETRIC, [(1.0, 0.003, 0.08, 0.06), (10.0, 0.04, 0.28, 0.1), (1e4, 0.16, 0.7, 0.26)]),
}


@pytest.mark.parametrize("kind", list(BOUNDS))
def test_the_largest_of_four_is_an_approximation(kind: str) -> None:
    """Variances alike: 0.003 standard deviations, and 9 % of the variance. Up to 10 times apart: 0.06 and a third."""
    how, bounds = BOUNDS[kind]
    for spread, of_mean, of_variance, on_average in bounds:
        x = four(spread)
        got = propagated(nn.MaxPool2d(2), x, how)
        mean, variance = largest_of(x.mean.flatten(2), x.variance.flatten(2))
        away = ((got.mean[..., 0, 0] - mean).abs() / variance.sqrt()).flatten()
        ratio = (got.variance[..., 0, 0] / variance - 1).abs().flatten()
        assert float(away.max()) < of_mean
        assert float(ratio.max()) < of_variance
        assert float(ratio.mean()) < on_average


def test_the_largest_of_four_alike_is_nearly_right() -> None:
    """Four standard normal values: mean 1.0294, variance 0.4917 (tables of order statistics)."""
    x = Moments(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))
    for how in (EAGER, SYMMETRIC):
        got = propagated(nn.MaxPool2d(2), x, how)
        assert float(got.mean) == pytest.approx(1.0294, abs=0.003)
        assert float(got.variance) == pytest.approx(0.4917, rel=0.06)


TURNS: dict[str, Callable[[Tensor], Tensor]] = {
    "left-right": lambda values: values.flip(3),
    "up-down": lambda values: values.flip(2),
    "half turn": lambda values: values.flip(2, 3),
    "transposed": lambda values: values.transpose(2, 3),
    "quarter turn": lambda values: values.rot90(1, (2, 3)),
    "other quarter turn": lambda values: values.rot90(-1, (2, 3)),
    "other diagonal": lambda values: values.rot90(1, (2, 3)).flip(3),
}


@pytest.mark.parametrize("turn", list(TURNS))
def test_turned_images_give_turned_moments_only_if_it_is_symmetric(turn: str) -> None:
    x, pool = uncertain(2, 3, 6, 8), nn.MaxPool2d(2)
    expected = propagated(pool, x, SYMMETRIC).moved(TURNS[turn])
    assert_same(propagated(pool, x.moved(TURNS[turn]), SYMMETRIC), expected, tolerance=1e-13)
    pairwise = propagated(pool, x).moved(TURNS[turn])
    away = (propagated(pool, x.moved(TURNS[turn])).variance - pairwise.variance).abs().max()
    # Flips leave the pairs together; what swaps the axes does not.
    assert (float(away) > 1e-3) == (turn in ("transposed", "quarter turn", "other quarter turn", "other diagonal"))


def test_gradients_of_max_pools() -> None:
    x = uncertain(1, 2, 3, 5)
    inputs = tuple(one.requires_grad_() for one in x)
    for layer, how in ((nn.MaxPool2d(2, ceil_mode=True), SYMMETRIC), (nn.MaxPool2d(3, 2, 1), EAGER)):
        assert torch.autograd.gradcheck(
            lambda mean, variance, layer=layer, how=how: tuple(propagated(layer, Moments(mean, variance), how)), inputs
        )


def test_three_dimensions() -> None:
    x = uncertain(2, 3, 3, 4, 6)
    got = propagated(nn.MaxPool3d(2, ceil_mode=True), Moments(x.mean, 0 * x.variance))
    torch.testing.assert_close(got.mean, functional.max_pool3d(x.mean, 2, ceil_mode=True))
    got = propagated(nn.MaxPool3d((1, 1, 2)), x)
    pairs = Moments(x.mean[:, :, 0], x.variance[:, :, 0])
    assert_same(got.moved(lambda values: values[:, :, 0]), propagated(nn.MaxPool2d((1, 2)), pairs))
