"""Dropout masks, and many passes of a U-Net against one pass at a time."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from plurimask.methods import build_method
from plurimask.methods.dropout_unet import DropoutUNet
from plurimask.methods.presets import PRESETS
from plurimask.nn.convolution import doubling_kernel
from plurimask.nn.dropout import draw_masks, dropped_features, innermost_blocks, mask_shapes

N, B, K = 5, 2, 3


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("probability", [0.5, 0.1, 0.83])
def test_masks_drop_as_often_as_they_should(probability: float) -> None:
    (mask,) = draw_masks(40, [(5, 17, 31)], probability, seeded())
    assert mask.shape == (40, 5, 17, 31)
    assert mask.dtype == torch.bool
    error = (probability * (1 - probability) / mask.numel()) ** 0.5
    assert float((~mask).float().mean()) == pytest.approx(probability, abs=4 * error)
    # neighbours, which share random bits, are independent: in every direction
    for axis in range(4):
        first, second = mask.narrow(axis, 0, mask.shape[axis] - 1), mask.narrow(axis, 1, mask.shape[axis] - 1)
        both = float((~first & ~second).float().mean())
        assert both == pytest.approx(probability**2, abs=5 * error)


def test_the_innermost_blocks_are_dropped_and_never_the_image() -> None:
    sites = innermost_blocks(5, 3, 2)
    assert list(sites.encoder) == [2, 3, 4]
    assert list(sites.decoder) == [2, 3]
    assert list(innermost_blocks(2, 3, 3).encoder) == [1]
    assert list(innermost_blocks(2, 3, 3).decoder) == [0]
    shapes = mask_shapes((4, 5, 6, 7, 8), (33, 20), sites)
    assert shapes == [(5, 17, 10), (6, 9, 5), (7, 5, 3), (8, 3, 2), (7, 5, 3)]


@pytest.mark.parametrize("size", [(32, 48), (33, 20)])
@pytest.mark.parametrize("settings", ["bbbc010", "plain"])
@pytest.mark.parametrize("blocks", [(3, 2), (1, 0), (0, 2), (4, 4)])
def test_many_passes_give_what_single_passes_give(
    size: tuple[int, int], settings: str, blocks: tuple[int, int]
) -> None:
    """Sharing, folding and transposing are exact: the same masks give the same scores as the plain network's pass."""
    torch.manual_seed(1)
    own = {**PRESETS["dropout-unet"]["bbbc010"].method, "channels": (4, 5, 6, 7, 9)} if settings == "bbbc010" else {}
    own |= {"dropout_encoder_blocks": blocks[0], "dropout_decoder_blocks": blocks[1], "dropout": 0.3}
    own.setdefault("channels", (5, 6, 7))
    method = build_method("dropout-unet", image_channels=K, num_classes=2, **own)
    assert isinstance(method, DropoutUNet)
    method.train()
    for _ in range(3):  # batch norm with statistics of its own
        method.loss(torch.randn(4, K, *size), torch.randint(0, 2, (4, 1, *size), dtype=torch.uint8))
    method.eval()
    images = torch.randn(B, K, *size)
    with torch.no_grad():
        prediction = method(images)
        noise = prediction.draw_noise(N, seeded())
        together = prediction.logits(noise)
        drawn = prediction.expand(noise)
        assert torch.equal(prediction.logits(drawn), together)
        assert [mask.shape[2:] for mask in drawn] == [tuple(s) for s in method.mask_shapes(torch.Size(size))]
        for number in range(N):
            masks = [mask[number].expand(B, -1, -1, -1) for mask in drawn]
            alone = method.scores(dropped_features(method.features, images, masks, method.sites, 0.3))
            if own.get("sigmoid"):
                alone = torch.cat([torch.zeros_like(alone), alone], dim=1)
            torch.testing.assert_close(together[number], alone, atol=1e-4, rtol=1e-4)
    assert float((together[0] - together[1]).abs().max()) > 0


@pytest.mark.parametrize("spatial", [(7, 4), (3, 5, 4)])
def test_a_transposed_convolution_replaces_doubling_and_convolution(spatial: tuple[int, ...]) -> None:
    dims = len(spatial)
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    transposed = functional.conv_transpose2d if dims == 2 else functional.conv_transpose3d
    coarse, weight = torch.randn(2, 3, *spatial), torch.randn(5, 3, *[3] * dims)
    want = convolve(functional.interpolate(coarse, scale_factor=2, mode="nearest"), weight, padding=1)
    got = transposed(coarse, doubling_kernel(weight), stride=2, padding=1)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["unet", "dropout-unet"])
def test_the_preset_bbbc010_has_the_published_number_of_parameters(name: str) -> None:
    method = build_method(name, image_channels=2, num_classes=2, **PRESETS[name]["bbbc010"].method)
    trainable = sum(parameter.numel() for parameter in method.parameters())
    statistics = sum(value.numel() for key, value in method.named_buffers() if "running" in key)
    assert trainable == 492_537
    assert trainable + statistics == 494_009


def test_a_seed_keeps_the_masks_across_images_of_one_size() -> None:
    method = build_method("dropout-unet", image_channels=1, num_classes=2, channels=(4, 5, 6)).eval()
    first, second = (method(torch.randn(count, 1, 24, 40)) for count in (1, 3))
    pairs = zip(*(one.expand(one.draw_noise(4, seeded(7))) for one in (first, second)), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    masks = first.expand(first.draw_noise(4, seeded(8)))
    assert not torch.equal(masks[0][0], masks[0][1])
