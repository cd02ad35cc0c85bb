"""Image2Image VAE: a conditional variational autoencoder whose prior does not look at the image.

    prior       p(z)        = N(0, I)                              z in R^3, one vector for the whole image
    posterior   q(z | x, y) = N(mu(x, y), diag sigma(x, y)^2)      y as one-hot minus 1/2; 0 where nobody judged
    likelihood  p(y | x, z) = prod_i Cat(y_i | softmax f([x; z])_i)
    loss        = E_q[ - sum_i log p(y_i | x, z) ] + beta KL( q(z | x, y) || N(0, I) )

z is tiled and joined to the image at the input of the U-Net, so each sample is a pass through the whole network. It is
the variational part of BicycleGAN (Zhu et al., "Toward Multimodal Image-to-Image Translation", NeurIPS 2017) as a
baseline of Kohl et al., "A Probabilistic U-Net", NeurIPS 2018.
"""

from __future__ import annotations

import math

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from plurimask.distribution import Noise, RandomSource, SegmentationDistribution, normal_noise
from plurimask.method import Loss, MethodConfig, SegmentationMethod
from plurimask.nn.initialisation import Initialisation, initialise
from plurimask.nn.latent import Gaussian, GaussianEncoder
from plurimask.nn.losses import judgements, maps_of_raters, summed_cross_entropy, with_labels
from plurimask.nn.precision import current_autocast
from plurimask.nn.unet import Normalisation, Style, UNetFeatures, class_scores


class TiledLatentSegmentation(SegmentationDistribution):
    """B images, and the network that takes them together with a latent vector."""

    def __init__(self, method: Image2ImageVAE, images: Tensor) -> None:
        self.method, self.images = method, images
        self.autocast = current_autocast(images.device)

    @property
    def logits_shape(self) -> torch.Size:
        return torch.Size([len(self.images), self.method.config.num_classes, *self.images.shape[2:]])

    @property
    def draw_elements(self) -> int:
        widest = sum(self.method.config.channels[:2])  # where the finest decoder block begins
        return max(super().draw_elements, len(self.images) * widest * math.prod(self.images.shape[2:]))

    @property
    def prior(self) -> Gaussian:
        """N(0, I) for each image, `(B, L)`."""
        zeros = torch.zeros(len(self.images), self.method.config.latent_dim, device=self.images.device)
        return Gaussian(zeros, zeros)

    def draw_noise(self, num_samples: int, generator: RandomSource = None) -> Tensor:
        return normal_noise(num_samples, len(self.images), (self.method.config.latent_dim,), generator)

    def latents(self, noise: Tensor) -> Tensor:
        """Standard normal noise `(N, B, L)` -> draws z from the prior, which are the same."""
        return noise.to(self.images)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents `(N, B, L)` -> logits `(N, B, C, *spatial)`."""
        repeated = self.images.repeat(len(latents), *[1] * (self.images.ndim - 1))
        with self.autocast():
            scores = self.method.scores_of(repeated, latents.flatten(0, 1))
        return scores.float().view(len(latents), *self.logits_shape)

    def logits(self, noise: Noise) -> Tensor:
        assert isinstance(noise, Tensor)
        return self.decode(self.latents(noise))


class Image2ImageVAEConfig(MethodConfig):
    channels: tuple[PositiveInt, ...] = Field(
        (32, 64, 128, 192), min_length=2, description="channels of each scale, finest first"
    )
    convs_per_scale: int = Field(3, ge=1, description="3x3 convolutions at each scale of each network")
    latent_dim: int = Field(3, ge=1, description="dimensions of z")
    beta: float = Field(10.0, ge=0, description="weight of the KL term")
    normalisation: Normalisation = Field("none", description="after each 3x3 convolution")
    initialisation: Initialisation = Field("he_normal", description="initial weights")


class Image2ImageVAE(SegmentationMethod):
    Config = Image2ImageVAEConfig
    summary = "conditional VAE with a fixed prior: the latent vector joins the image at the U-Net's input"
    paper = "Zhu et al., Toward Multimodal Image-to-Image Translation, NeurIPS 2017; baseline of Kohl et al. 2018"
    config: Image2ImageVAEConfig

    def __init__(self, config: Image2ImageVAEConfig) -> None:
        super().__init__(config)
        images, scales, convs = config.image_channels, config.channels, config.convs_per_scale
        style = Style(config.normalisation)
        self.unet = UNetFeatures(images + config.latent_dim, scales, convs, style)
        self.scores = class_scores(scales[0], config.num_classes)
        self.posterior_net = GaussianEncoder(images + config.num_classes, scales, config.latent_dim, convs, style)
        initialise(self, config.initialisation)

    def scores_of(self, images: Tensor, latents: Tensor) -> Tensor:
        """Class scores `(P, C, *spatial)` of images `(P, K, *spatial)`, each with a latent vector `(P, L)`."""
        tiled = latents.view(*latents.shape, *[1] * (images.ndim - 2)).expand(-1, -1, *images.shape[2:])
        joined = torch.cat([images, tiled.to(images)], dim=1)
        if images.ndim == 4:
            joined = joined.contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.scores(self.unet(joined))
        return scores

    def forward(self, images: Tensor) -> TiledLatentSegmentation:
        return TiledLatentSegmentation(self, images)

    def posterior(self, images: Tensor, labels: Tensor) -> Gaussian:
        """q(z | image, label map) for images `(P, K, *spatial)` and label maps `(P, *spatial)`: shape `(P, L)`."""
        posterior: Gaussian = self.posterior_net(with_labels(images, labels, self.config.num_classes))
        return posterior

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters = judgements(labels)  # P label maps, each of one of the B images
        seen = images[raters.image]
        posterior = self.posterior(seen, raters.labels)
        z = posterior.transform(torch.randn(posterior.mean.shape, generator=generator))
        logits = self.scores_of(seen, z)
        reconstruction = (raters.weight * summed_cross_entropy(logits, raters.labels)).sum()
        standard = Gaussian(torch.zeros_like(posterior.mean), torch.zeros_like(posterior.mean))
        kl = (raters.weight * posterior.kl(standard)).sum()
        terms = {"reconstruction": reconstruction.detach(), "kl": kl.detach()}
        return Loss(reconstruction + self.config.beta * kl, terms)

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        raters = judgements(labels)
        seen = images[raters.image]
        z = self.posterior(seen, raters.labels).mean
        return maps_of_raters(self.scores_of(seen, z), raters, labels)
