"""Residual blocks with pre-activation, without normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from plurimask.nn.convolution import CONVOLUTION, padded_convolution


class ResidualBlock(nn.Module):
    """`(B, in_channels, *spatial)` -> `(B, out_channels, *spatial)`: shortcut + residual.

    The residual is ReLU, `num_convs` 3x3 convolutions of half as many channels with ReLUs between them, and a 1x1
    convolution to all channels. The shortcut is a 1x1 convolution where the number of channels changes, else the
    identity (Kohl et al., "A Hierarchical Probabilistic U-Net", 2019, appendix).

    `on_images`: the residual begins without a ReLU, which would cut off all that is darker than the mean.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_convs: int = 3,
        kernel: Sequence[int] = (3, 3),
        on_images: bool = False,
    ) -> None:
        super().__init__()
        self.on_images = on_images
        conv, inner = CONVOLUTION[len(kernel)], half_width(out_channels)
        self.convs = nn.Sequential(padded_convolution(in_channels, inner, kernel))
        for _ in range(num_convs - 1):
            self.convs.extend([nn.ReLU(inplace=True), padded_convolution(inner, inner, kernel)])
        self.widen = conv(inner, out_channels, kernel_size=1) if inner != out_channels else nn.Identity()
        changes = in_channels != out_channels
        self.shortcut = conv(in_channels, out_channels, kernel_size=1) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.widen(self.convs(x if self.on_images else x.relu()))
        return out


def half_width(channels: int) -> int:
    """Channels inside a residual block of so many channels."""
    return max(1, channels // 2)


def residual_blocks(
    in_channels: int,
    out_channels: int,
    num_blocks: int,
    convs_per_block: int = 3,
    kernel: Sequence[int] = (3, 3),
    on_images: bool = False,
) -> nn.Sequential:
    """`num_blocks` residual blocks, of which the first changes the number of channels and may be the one on images."""
    widths = [in_channels, *[out_channels] * num_blocks][:num_blocks]
    return nn.Sequential(
        *(
            ResidualBlock(width, out_channels, convs_per_block, kernel, on_images and number == 0)
            for number, width in enumerate(widths)
        )
    )
