"""The split, tiled head computes what 1x1 convolutions on repeated latents compute."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from plurimask.nn import head as head_module
from plurimask.nn import tiles
from plurimask.nn.bayesian.estimators import DrawnWeights
from plurimask.nn.head import LatentHead

B, F, L, C, H, W = 3, 8, 5, 4, 9, 7


def naive(head: LatentHead, features: Tensor, latents: Tensor, image: Tensor) -> Tensor:
    """f_comb as published: the latent tiled to every pixel, concatenated, then 1x1 convolutions."""
    tiled = latents[:, :, None, None].expand(-1, -1, H, W)
    x = torch.cat([features[image], tiled], dim=1)
    weight = torch.cat([head.of_features.weight, head.of_latents.weight], dim=1)
    x = functional.conv2d(x, weight[..., None, None], head.of_features.bias)
    for layer in [*head.hidden, head.scores]:
        x = functional.conv2d(x.relu(), layer.weight[..., None, None], layer.bias)
    return x


@pytest.mark.parametrize("num_hidden", [1, 3])
@pytest.mark.parametrize("tile", [1, 400, 10**9])
@pytest.mark.parametrize("grad", [False, True])
def test_equals_convolutions_on_tiled_latents(
    monkeypatch: pytest.MonkeyPatch, num_hidden: int, tile: int, grad: bool
) -> None:
    monkeypatch.setattr(head_module, "TILE_BYTES", tile)
    torch.manual_seed(0)
    head = LatentHead(F, L, C, num_hidden)
    features, latents = torch.randn(B, F, H, W), torch.randn(6, L)
    image = torch.tensor([0, 2, 2, 1, 0, 2])
    with torch.set_grad_enabled(grad):
        got = head(head.project(features), latents, image)
    torch.testing.assert_close(got, naive(head, features, latents, image), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tile", [1, 400, 10**9])
def test_gradients_equal_those_of_convolutions(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    monkeypatch.setattr(tiles, "TILE_BYTES", tile)
    torch.manual_seed(0)
    head = LatentHead(F, L, C)
    features, latents = torch.randn(B, F, H, W, requires_grad=True), torch.randn(4, L, requires_grad=True)
    image = torch.tensor([1, 0, 2, 1])
    target = torch.randn(4, C, H, W)
    inputs = [features, latents, *head.parameters()]
    got = torch.autograd.grad((head(head.project(features), latents, image) * target).sum(), inputs)
    want = torch.autograd.grad((naive(head, features, latents, image) * target).sum(), inputs)
    again = torch.autograd.grad((head(head.project(features), latents, image) * target).sum(), inputs)
    for ours, theirs, same in zip(got, want, again, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
        assert torch.equal(ours, same)


@pytest.mark.parametrize("image", [[], [1, 1]])
def test_images_may_have_no_samples(image: list[int]) -> None:
    head, features, latents = LatentHead(F, L, C), torch.randn(B, F, H, W), torch.randn(len(image), L)
    inputs = [features.requires_grad_(), latents.requires_grad_(), *head.parameters()]
    scores = head(head.project(features), latents, torch.tensor(image, dtype=torch.long))
    assert scores.shape == (len(image), C, H, W)
    of_features, *others = torch.autograd.grad(scores.square().sum(), inputs)
    assert of_features.flatten(1).any(1).tolist() == [number in image for number in range(B)]
    assert all(bool(one.any()) == bool(image) for one in others)


def test_weights_drawn_by_others_have_gradients() -> None:
    torch.manual_seed(0)
    head, features, latents = LatentHead(F, L, C), torch.randn(B, F, H, W), torch.randn(B, L)
    drawn = {name: (2 * p).detach().requires_grad_() for name, p in head.named_parameters()}
    with DrawnWeights({id(p): drawn[name] for name, p in head.named_parameters()}):
        head(head.project(features), latents, torch.arange(B)).square().sum().backward()
    assert all(p.grad is None for p in head.parameters())
    head.load_state_dict(drawn)
    head(head.project(features), latents, torch.arange(B)).square().sum().backward()
    for name, p in head.named_parameters():
        torch.testing.assert_close(drawn[name].grad, p.grad, rtol=1e-4, atol=1e-4 * float(p.grad.abs().max()))


def test_works_in_three_dimensions_and_in_bf16() -> None:
    head = LatentHead(F, L, C)
    features, latents = torch.randn(B, F, 3, 5, 4), torch.randn(B, L)
    with torch.no_grad():
        exact = head(head.project(features), latents, torch.arange(B))
        coarse = head(head.project(features.bfloat16()), latents, torch.arange(B))
    assert exact.shape == (B, C, 3, 5, 4)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, exact, atol=0.1, rtol=0.1)
