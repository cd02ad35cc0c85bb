"""Features in strips: those of the whole image, whatever the strips, sizes and styles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from plurimask.nn import strips
from plurimask.nn.place import Place, placed
from plurimask.nn.strips import coarsest_features, pixel_features, upsampled_rows
from plurimask.nn.unet import Encoder, Style, UNetFeatures

STYLES = {
    "plain": Style(),
    "published": Style(normalisation="batch", pooling="max", upsampling="nearest"),
    "residual": Style(blocks="residual", convs_per_block=2),
}


@pytest.fixture(autouse=True)
def small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips of 8 rows at the finest scale of 53 columns."""
    monkeypatch.setattr(strips, "MAX_PIXELS", 2 * 53 * 9)
    monkeypatch.setattr(strips, "STRIP_PIXELS", 2 * 53 * 9)
    monkeypatch.setattr(strips, "MIN_STRIP", 4)


def network(style: str, widths: tuple[int, ...]) -> UNetFeatures:
    torch.manual_seed(3)
    unet = UNetFeatures(1, widths, 2, STYLES[style])
    for module in unet.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = (
                torch.rand(module.num_features),
                torch.rand(module.num_features) + 0.5,
            )
    return unet.eval()


@pytest.mark.parametrize("height", [67, 96])
@pytest.mark.parametrize("widths", [(5,), (4, 6), (4, 6, 7, 8)])
@pytest.mark.parametrize("style", STYLES)
def test_strips_give_what_the_whole_image_gives(style: str, widths: tuple[int, ...], height: int) -> None:
    unet, images, seen = network(style, widths), torch.randn(2, 1, height, 53), []

    def of_pixels(features: Tensor) -> Tensor:
        seen.append(features.shape[2])
        return 2 * features[:, :3] + 1

    with torch.no_grad():
        expected = 2 * unet(images)[:, :3] + 1
        found = pixel_features(unet, images, of_pixels)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            coarsest_features(unet.encoder, images), unet.encoder(images)[-1], rtol=1e-5, atol=1e-5
        )
    assert len(seen) > 5 and max(seen) == 8 and sum(seen) == height


def test_small_images_and_training_take_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    unet, images, seen = network("plain", (4, 6)), torch.randn(2, 1, 40, 53), []
    for prepare in (lambda: unet.train(), lambda: monkeypatch.setattr(strips, "MAX_PIXELS", 10_000)):
        prepare()
        with torch.no_grad():
            pixel_features(unet, images, lambda features: seen.append(features.shape[2]) or features)
        unet.eval()
    pixel_features(unet, images, lambda features: seen.append(features.shape[2]) or features).sum().backward()
    assert seen == [40, 40, 40]


@pytest.mark.parametrize("style", ["plain", "published"])
@pytest.mark.parametrize("size", [(41, 30), (64, 31), (2, 3), (1, 1)])
def test_rows_of_an_upsampled_map(style: str, size: tuple[int, int]) -> None:
    decoder, coarse = network(style, (4, 6)).decoder, torch.randn(2, 6, -(-size[0] // 2), -(-size[1] // 2))
    expected = decoder.upsample(coarse, size)
    for start, stop in ((0, 1), (size[0] // 2, size[0]), (size[0] // 3, size[0] // 2 + 1)):
        torch.testing.assert_close(upsampled_rows(decoder, coarse, size, start, stop), expected[:, :, start:stop])


def test_in_bf16_tiles_and_strips_of_the_whole_are_interpolated_alike() -> None:
    decoder, size = network("plain", (4, 6)).decoder, (302, 301)
    coarse = torch.randn(1, 16, 151, 151, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.inference_mode():
        whole = upsampled_rows(decoder, coarse, size, 0, size[0])
        rows = upsampled_rows(decoder, coarse, size, 9, 200)
        with placed(Place((8, 0), (204, 301), size)):
            tile = decoder.upsample(coarse[:, :, 4:106], (204, 301))
    assert torch.equal(rows, whole[:, :, 9:200])
    assert torch.equal(tile[:, :, 2:200], whole[:, :, 10:208])  # the first and last rows look beyond the tile


def test_the_halo_counts_every_convolution() -> None:
    """With one row less of it, the edges of strips would show."""
    encoder, images = Encoder(1, (3, 4), 3).eval(), torch.randn(1, 1, 64, 53)
    impulse = images.clone()
    impulse[0, 0, 35] += 10
    with torch.no_grad():
        changed = (encoder(impulse)[0] - encoder(images)[0]).abs().amax((0, 1, 3)).nonzero().flatten()
    assert changed.min() >= 32 and changed.max() <= 38
