"""Pooling and kernels along each axis: those that nnU-Net's rule gives for scans of known kinds."""

from __future__ import annotations

import pytest
import torch

from plurimask.nn.space import Space, pooling_of
from plurimask.nn.unet import Style, UNetFeatures


def test_alike_axes_are_pooled_alike_until_they_are_short() -> None:
    space = pooling_of((32, 64, 64), None, 5)
    assert space.strides == ((2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert space.kernels == ((3, 3, 3),) * 5


def test_few_slices_are_pooled_fewer_times() -> None:
    """8 slices: 8 -> 4, and a further halving would leave 2."""
    assert pooling_of((8, 64, 64), None, 4).strides == ((2, 2, 2), (1, 2, 2), (1, 2, 2))
    assert pooling_of((8, 64, 64), None, 7, least_size=1).strides[:4] == ((2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert pooling_of((7, 64, 64), None, 2).strides == ((1, 2, 2),)


def test_distant_slices_are_joined_late() -> None:
    """5 mm and 0.7 mm: within a factor of 2 after two halvings in the plane, 5 / 2.8."""
    space = pooling_of((16, 128, 128), (5.0, 0.7, 0.7), 5)
    assert space.kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert space.strides == ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))


def test_a_spacing_of_twice_the_finest_is_not_near() -> None:
    space = pooling_of((64, 64, 64), (2.0, 1.0, 1.0), 3)
    assert space.kernels[0] == (1, 3, 3)
    assert space.strides == ((1, 2, 2), (2, 2, 2))
    assert pooling_of((64, 64, 64), (1.99, 1.0, 1.0), 3).kernels[0] == (3, 3, 3)


def test_a_short_axis_holds_no_other_back() -> None:
    """The finest axis is too short to be halved: the others go on, compared with each other."""
    assert pooling_of((4, 64, 64), (0.2, 1.0, 1.0), 3).strides == ((1, 2, 2), (1, 2, 2))
    assert pooling_of((4, 5, 6), None, 3).strides == ((1, 1, 1), (1, 1, 1))


def test_units_do_not_matter_and_two_dimensions_are_the_same_rule() -> None:
    assert pooling_of((16, 96, 96), (3.0, 1.0, 1.0), 4) == pooling_of((16, 96, 96), (3e3, 1e3, 1e3), 4)
    assert pooling_of((64, 64), None, 4) == Space(2, ((2, 2),) * 3, ((3, 3),) * 4)


def test_sizes_and_strides_of_scales() -> None:
    space = Space(3, ((2, 2, 2), (1, 2, 2)))
    assert space.sizes((5, 9, 6), 3) == [(5, 9, 6), (3, 5, 3), (3, 3, 2)]
    assert space.total_strides(3) == [(1, 1, 1), (2, 2, 2), (2, 4, 4)]
    assert space.coarser(1).stride(0) == (1, 2, 2)
    assert Space().sizes((5, 9), 3) == [(5, 9), (3, 5), (2, 3)]


def test_what_does_not_fit_is_said() -> None:
    assert Space(3, ((2, 2, 2), (1, 2, 2)), ((3, 3, 3),) * 3).fault(3) is None
    assert Space().fault(9) is None
    for wrong in (Space(3, ((2, 2, 2),)), Space(3, ((2, 2), (2, 2))), Space(3, ((4, 2, 2), (1, 2, 2)))):
        assert "strides must be 2 times 3 numbers, each 1 or 2" in str(wrong.fault(3))
    assert "kernels must be 3 times 3 numbers, each 1 or 3" in str(Space(3, (), ((2, 3, 3),) * 3).fault(3))


@pytest.mark.parametrize("style", [Style(), Style("batch", "max", "nearest"), Style(blocks="residual")])
@pytest.mark.parametrize("size", [(5, 9, 7), (1, 2, 11), (8, 16, 16)])
def test_a_network_of_any_odd_size(style: Style, size: tuple[int, int, int]) -> None:
    space = pooling_of((8, 64, 64), (4.0, 1.0, 1.0), 4)
    network = UNetFeatures(2, (3, 4, 5, 6), 1, style, space)
    features = network.encoder(torch.randn(2, 2, *size))
    assert [one.shape[2:] for one in features] == [torch.Size(one) for one in space.sizes(size, 4)]
    assert network(torch.randn(2, 2, *size)).shape == (2, 3, *size)


def test_a_kernel_of_1_sees_no_neighbour_along_its_axis() -> None:
    torch.manual_seed(0)
    network = UNetFeatures(1, (3, 4), 1, space=Space(3, ((1, 2, 2),), ((1, 3, 3), (1, 3, 3))))
    volume = torch.randn(1, 1, 5, 8, 8)
    changed = volume.clone()
    changed[:, :, 2] += 1
    differs = (network(volume) != network(changed)).any(1).flatten(2).any(2)[0]
    assert differs.tolist() == [False, False, True, False, False]
