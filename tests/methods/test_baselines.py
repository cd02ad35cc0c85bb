"""What is particular to each baseline of the Probabilistic U-Net paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plurimask.distribution import IGNORE, MixtureSegmentation
from plurimask.methods import build_method
from plurimask.methods.dropout_unet import DropoutUNet
from plurimask.methods.image2image_vae import Image2ImageVAE
from plurimask.methods.m_heads import MHeads
from plurimask.nn.losses import summed_cross_entropy

B, K, C, H, W = 2, 3, 4, 21, 14


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(B, K, H, W, generator=seeded())


@pytest.fixture
def labels() -> Tensor:
    return torch.randint(0, C, (B, 5, H, W), dtype=torch.uint8, generator=seeded(1))


def heads(num_heads: int, epsilon: float = 0.05) -> MHeads:
    torch.manual_seed(0)
    settings = {"channels": (4, 6), "num_heads": num_heads, "epsilon": epsilon}
    method = build_method("m-heads", image_channels=K, num_classes=C, **settings)
    assert isinstance(method, MHeads)
    return method


@pytest.mark.parametrize("num_heads", [1, 3])
def test_m_heads_weigh_the_best_head_of_each_rater(num_heads: int, images: Tensor, labels: Tensor) -> None:
    """Against a loop over images, raters and heads."""
    method, epsilon = heads(num_heads, 0.2), 0.2
    labels[1, 3] = IGNORE  # a rater who is absent
    scores = method.hypotheses(images)
    assert scores.shape == (num_heads, B, C, H, W)
    total, best_total = 0.0, 0.0
    for image in range(B):
        present = [rater for rater in range(5) if bool((labels[image, rater] != IGNORE).any())]
        for rater in present:
            each = [
                float(summed_cross_entropy(scores[head, image : image + 1], labels[image, rater][None]))
                for head in range(num_heads)
            ]
            best = min(each)
            others = sum(each) - best
            share = best if num_heads == 1 else (1 - epsilon) * best + epsilon / (num_heads - 1) * others
            total += share / len(present) / B
            best_total += best / len(present) / B
    loss = method.loss(images, labels)
    assert float(loss.total) == pytest.approx(total, rel=1e-4)
    assert float(loss.terms["best_head"]) == pytest.approx(best_total, rel=1e-4)


def test_heads_do_not_share_weights(images: Tensor) -> None:
    """The gradient of one head's scores reaches no other head."""
    method = heads(3)
    method.hypotheses(images)[1].sum().backward()
    last = method.heads[-1]
    gradient = last.weight.grad.view(3, -1).abs().amax(1)
    assert gradient[0] == 0 and gradient[2] == 0 and gradient[1] > 0


def test_each_head_comes_once_before_any_repeats(images: Tensor) -> None:
    method = heads(3).eval()
    with torch.no_grad():
        prediction = method(images)
        assert sorted(prediction.draw_noise(6, seeded())[0].tolist()) == [0, 0, 1, 1, 2, 2]
        mixture = prediction.freeze(16)
        assert isinstance(mixture, MixtureSegmentation)
        assert mixture.num_components == 3
        torch.testing.assert_close(mixture.mean(), method.hypotheses(images).softmax(2).mean(0))


def vae() -> Image2ImageVAE:
    torch.manual_seed(0)
    method = build_method("image2image-vae", image_channels=K, num_classes=C, channels=(4, 6))
    assert isinstance(method, Image2ImageVAE)
    return method


def test_the_prior_of_the_image2image_vae_is_standard_normal_whatever_the_image(images: Tensor) -> None:
    prediction = vae()(images)
    assert bool((prediction.prior.mean == 0).all()) and bool((prediction.prior.log_sigma == 0).all())
    (noise,) = prediction.draw_noise(7, seeded())
    assert noise.shape == (7, B, 3)
    assert torch.equal(prediction.latents((noise,))[0], noise)


def test_its_latents_are_tiled_at_the_input(images: Tensor) -> None:
    method = vae()
    z = torch.randn(4, B, 3, generator=seeded())
    got = method(images).decode([z])
    for number in range(4):
        for image in range(B):
            tiled = z[number, image].view(1, 3, 1, 1).expand(1, 3, H, W)
            alone = method.scores(method.unet(torch.cat([images[image : image + 1], tiled], dim=1)))
            torch.testing.assert_close(got[number, image], alone[0], atol=1e-5, rtol=1e-4)


def test_its_loss_is_reconstruction_and_ten_times_the_divergence(images: Tensor, labels: Tensor) -> None:
    method = vae()
    loss = method.loss(images, labels, seeded())
    assert float(loss.total) == pytest.approx(float(loss.terms["reconstruction"] + 10 * loss.terms["kl"]), rel=1e-5)
    kl = torch.zeros(())
    for rater in range(5):
        posterior = method.posterior(images, labels[:, rater])
        normal = torch.distributions.Normal(posterior.mean, posterior.log_sigma.exp())
        standard = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
        kl = kl + torch.distributions.kl_divergence(normal, standard).sum(1).mean() / 5
    assert float(loss.terms["kl"]) == pytest.approx(float(kl), rel=1e-4)


def test_training_drops_elements_of_each_image_by_itself(images: Tensor, labels: Tensor) -> None:
    torch.manual_seed(0)
    method = build_method("dropout-unet", image_channels=K, num_classes=C, channels=(4, 6))
    assert isinstance(method, DropoutUNet)
    first, again, other = (float(method.loss(images, labels, seeded(seed)).total) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    twice = images[:1].expand(2, -1, -1, -1)
    same = labels[:1].expand(2, -1, -1, -1)
    alone = float(method.loss(images[:1], labels[:1], seeded(3)).total)
    assert float(method.loss(twice, same, seeded(3)).total) != pytest.approx(alone, rel=1e-6)


def test_dropping_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no block is dropped"):
        build_method("dropout-unet", dropout_encoder_blocks=0, dropout_decoder_blocks=0)
