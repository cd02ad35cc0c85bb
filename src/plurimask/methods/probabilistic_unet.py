"""The Probabilistic U-Net: a conditional variational autoencoder around a U-Net.

    prior       p(z | x)    = N(mu(x), diag sigma(x)^2)            z in R^6, one vector for the whole image
    posterior   q(z | x, y) = N(mu(x, y), diag sigma(x, y)^2)      y as one-hot minus 1/2; 0 where nobody judged
    likelihood  p(y | x, z) = prod_i Cat(y_i | softmax f_comb(f_unet(x), z)_i)
    loss        = E_q[ - sum_i log p(y_i | x, z) ] + beta KL( q(z | x, y) || p(z | x) )

The cross entropy is summed over the pixels of a map and averaged over maps: with its mean over pixels, the KL term
would be thousands of times too strong and the latent space would collapse. To sample, z ~ p(z | x) is drawn and only
the last 1x1 convolutions f_comb run again.

Kohl et al., "A Probabilistic U-Net for Segmentation of Ambiguous Images", NeurIPS 2018 (arXiv:1806.05034).
"""

from __future__ import annotations

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from plurimask.distribution import Noise, RandomSource, SegmentationDistribution, normal_noise
from plurimask.method import Loss, MethodConfig, SegmentationMethod
from plurimask.nn.head import LatentHead
from plurimask.nn.initialisation import Initialisation, initialise
from plurimask.nn.latent import Gaussian, GaussianEncoder
from plurimask.nn.losses import judgements, maps_of_raters, summed_cross_entropy, with_labels
from plurimask.nn.unet import Normalisation, Style, UNetFeatures


class LatentSegmentation(SegmentationDistribution):
    """The features of B images, the prior over their latents, and the head that joins the two."""

    def __init__(self, features: Tensor, prior: Gaussian, head: LatentHead) -> None:
        self.projected = head.project(features)  # (B, F, *spatial): the features' share in the head's first layer
        self.prior = prior  # (B, L)
        self.head = head

    @property
    def logits_shape(self) -> torch.Size:
        return torch.Size([len(self.projected), self.head.scores.out_features, *self.projected.shape[2:]])

    def draw_noise(self, num_samples: int, generator: RandomSource = None) -> Tensor:
        batch_size, latent_dim = self.prior.mean.shape
        return normal_noise(num_samples, batch_size, (latent_dim,), generator)

    def latents(self, noise: Tensor) -> Tensor:
        """Standard normal noise `(N, B, L)` -> draws z from the prior `(N, B, L)`."""
        return self.prior.transform(noise)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `(N, B, L)` -> logits `(N, B, C, *spatial)`."""
        num_samples, batch_size, _ = latents.shape
        image = torch.arange(batch_size, device=latents.device).repeat(num_samples)
        scores: Tensor = self.head(self.projected, latents.flatten(0, 1), image)
        return scores.view(num_samples, batch_size, *scores.shape[1:])

    def logits(self, noise: Noise) -> Tensor:
        assert isinstance(noise, Tensor)
        return self.decode(self.latents(noise))


class ProbabilisticUNetConfig(MethodConfig):
    channels: tuple[PositiveInt, ...] = Field(
        (32, 64, 128, 192), min_length=2, description="channels of each scale, finest first"
    )
    convs_per_scale: int = Field(3, ge=1, description="3x3 convolutions at each scale of each network")
    latent_dim: int = Field(6, ge=1, description="dimensions of z")
    head_convs: int = Field(3, ge=1, description="1x1 convolutions with ReLU in f_comb")
    normalisation: Normalisation = Field("none", description="after each 3x3 convolution; the paper has none")
    beta: float = Field(1.0, ge=0, description="weight of the KL term")
    initialisation: Initialisation = Field("he_normal", description="initial weights; the paper: orthogonal")


class ProbabilisticUNet(SegmentationMethod):
    Config = ProbabilisticUNetConfig
    summary = "conditional VAE around a U-Net: one global latent vector per sample"
    paper = "Kohl et al., A Probabilistic U-Net for Segmentation of Ambiguous Images, NeurIPS 2018"
    config: ProbabilisticUNetConfig

    def __init__(self, config: ProbabilisticUNetConfig) -> None:
        super().__init__(config)
        images, classes, scales = config.image_channels, config.num_classes, config.channels
        convs, style = config.convs_per_scale, Style(config.normalisation)
        self.unet = UNetFeatures(images, scales, convs, style)
        self.prior_net = GaussianEncoder(images, scales, config.latent_dim, convs, style)
        self.posterior_net = GaussianEncoder(images + classes, scales, config.latent_dim, convs, style)
        self.head = LatentHead(scales[0], config.latent_dim, classes, config.head_convs)
        initialise(self, config.initialisation)

    def forward(self, images: Tensor) -> LatentSegmentation:
        return LatentSegmentation(self.unet(images), self.prior_net(images), self.head)

    def posterior(self, images: Tensor, labels: Tensor) -> Gaussian:
        """q(z | image, label map) for images `(P, K, *spatial)` and label maps `(P, *spatial)`: shape `(P, L)`."""
        posterior: Gaussian = self.posterior_net(with_labels(images, labels, self.config.num_classes))
        return posterior

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters = judgements(labels)  # P label maps, each of one of the B images
        prior = self.prior_net(images).take(raters.image)
        posterior = self.posterior(images[raters.image], raters.labels)
        z = posterior.transform(torch.randn(posterior.mean.shape, generator=generator))
        logits = self.head(self.head.project(self.unet(images)), z, raters.image)
        reconstruction = (raters.weight * summed_cross_entropy(logits, raters.labels)).sum()
        kl = (raters.weight * posterior.kl(prior)).sum()
        terms = {"reconstruction": reconstruction.detach(), "kl": kl.detach()}
        return Loss(reconstruction + self.config.beta * kl, terms)

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        raters = judgements(labels)
        z = self.posterior(images[raters.image], raters.labels).mean
        return maps_of_raters(self.head(self.head.project(self.unet(images)), z, raters.image), raters, labels)
