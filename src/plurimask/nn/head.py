"""The 1x1 head that joins image features with a latent vector, fast for many samples."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from plurimask.nn.tiles import Tiled

TILE_BYTES = 2**21
"""Activations per tile on a processor: small enough to stay in its cache from layer to layer."""

LARGE_TILE_BYTES = 2**28
"""Activations per tile on other devices, where few large products are faster."""


class LatentHead(nn.Module):
    """Features of images and latent vectors -> class scores: 1x1 convolutions on the features with z at every pixel.

    There are `num_hidden` convolutions with ReLU and one without. The first is linear in both: W [f; z] = W_f f +
    W_z z. So W_f f is computed once per image, by `project`; W_z z is a bias per sample, and no repeated latent is ever
    stored.
    """

    def __init__(self, feature_channels: int, latent_dim: int, num_classes: int, num_hidden: int = 3) -> None:
        super().__init__()
        self.of_features = nn.Linear(feature_channels, feature_channels)
        self.of_latents = nn.Linear(latent_dim, feature_channels, bias=False)
        self.hidden = nn.ModuleList(nn.Linear(feature_channels, feature_channels) for _ in range(num_hidden - 1))
        self.scores = nn.Linear(feature_channels, num_classes)

    def project(self, features: Tensor) -> Tensor:
        """The share of the features in the first layer, W_f f: `(B, F, *spatial)` -> `(B, F, *spatial)`."""
        with torch.autocast(features.device.type, enabled=False):
            weight = self.of_features.weight.to(features.dtype)
            projected = torch.bmm(weight.expand(len(features), -1, -1), features.flatten(2))
        return projected.reshape(features.shape)

    def of_samples(self, projected: Tensor, latents: Tensor) -> Tensor:
        """Of projected features `(B, F, *spatial)` and N latents of each image, `(N, B, L)`: `(N * B, C, *spatial)`."""
        image = torch.arange(len(projected), device=projected.device).repeat(len(latents))
        scores: Tensor = self(projected, latents.flatten(0, 1), image)
        return scores

    def forward(self, projected: Tensor, latents: Tensor, image: Tensor) -> Tensor:
        """Projected features `(B, F, *spatial)`, latents `(P, L)` of the images `(P,)` -> scores `(P, C, *spatial)`."""
        with torch.autocast(projected.device.type, enabled=False):
            # (B, F, pixels) and, with the first bias, (P, F)
            pixels, shifts = projected.flatten(2), self.of_latents(latents.float()) + self.of_features.bias
            wanted = any(part.requires_grad for part in (projected, latents, *self.parameters()))
            decode = self._differentiable if torch.is_grad_enabled() and wanted else self._tiled
            scores = decode(pixels, shifts, image)
        return scores.reshape(*scores.shape[:2], *projected.shape[2:])

    def _differentiable(self, pixels: Tensor, shifts: Tensor, image: Tensor) -> Tensor:
        """With gradients: in tiles on a processor in float32, else all samples at once."""
        layers = [part for layer in (*self.hidden, self.scores) for part in _parameters(layer)]
        in_tiles = pixels.device.type == "cpu" and all(part.dtype == torch.float32 for part in (pixels, *layers))
        if in_tiles and not torch._C._len_torch_function_stack():  # nobody computes in the layers' place
            scores: Tensor = Tiled.apply(partial(self._tiled, image=image), image.tolist(), pixels, shifts, *layers)  # type: ignore[no-untyped-call]
            return scores
        x = pixels[image] + shifts.to(pixels.dtype)[..., None]
        for layer in (*self.hidden, self.scores):
            weight, bias = (part.to(x.dtype) for part in _parameters(layer))
            x = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.relu_())
        return x.float()

    def _tiled(self, pixels: Tensor, shifts: Tensor, image: Tensor) -> Tensor:
        """Matrix products over tiles of pixels: a tile goes through all layers of all samples of an image while it is
        in cache, where convolutions would carry each layer of each sample through memory.

        A bias b and a ReLU together are one pass: relu(y + b) = max(y, -b) + b, and the last b moves through the next
        layer's weights into its bias. The first bias differs from sample to sample, hence so do all.
        """
        dtype, layers = pixels.dtype, [_parameters(layer) for layer in (*self.hidden, self.scores)]
        bias, floors = shifts, []
        for weight, own in layers:
            floors.append(-bias.to(dtype)[:, :, None])  # rounded here: what max leaves is what the next bias makes up
            bias = own - floors[-1].flatten(1).float() @ weight.mT
        weights = [weight.to(dtype) for weight, _ in layers]
        members = [(image == number).nonzero().flatten() for number in range(len(pixels))]
        scores = [
            _alternate(of_image, weights, [floor[chosen] for floor in floors])
            for of_image, chosen in zip(pixels, members, strict=True)
        ]
        in_order = scores[0] if len(scores) == 1 else torch.cat(scores)[torch.cat(members).argsort()]
        return in_order.add_(bias[..., None])


def _alternate(features: Tensor, weights: list[Tensor], floors: list[Tensor]) -> Tensor:
    """Features `(F, pixels)` through maximum and product by turns, for floors `(samples, F, 1)`: float32 scores."""
    (num_samples, num_features, _), num_pixels = floors[0].shape, features.shape[1]
    tile_bytes = TILE_BYTES if features.device.type == "cpu" else LARGE_TILE_BYTES
    size = min(num_pixels, max(1, tile_bytes // max(1, floors[0].numel() * floors[0].element_size())))
    scores = torch.empty(num_samples, len(weights[-1]), num_pixels, device=features.device)
    # Fresh memory for each product would cost more time than the product.
    space = features.new_empty(2, num_samples, num_features, size)
    stacks = [weight.expand(num_samples, -1, -1) for weight in weights]
    for start in range(0, num_pixels, size):
        tile = features[:, start : start + size]
        x, spare = space[..., : tile.shape[1]]
        torch.maximum(tile, floors[0], out=x)
        for stack, floor in zip(stacks[:-1], floors[1:], strict=True):
            torch.bmm(stack, x, out=spare)
            x, spare = torch.maximum(spare, floor, out=spare), x
        scores[..., start : start + size] = torch.bmm(stacks[-1], x)
    return scores


def _parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    return layer.weight, layer.bias
