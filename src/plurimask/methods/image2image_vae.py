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
from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from plurimask.latent import Gaussian, LatentSegmentation
from plurimask.method import Loss, SegmentationMethod, Tiling
from plurimask.nn.initialisation import initialise
from plurimask.nn.latent import GaussianEncoder
from plurimask.nn.losses import judgements, maps_of_raters, summed_cross_entropy, with_labels
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import pixel_features
from plurimask.nn.unet import UNetFeatures, class_scores
from plurimask.noise import Noise, NoisePart


class TiledLatentSegmentation(LatentSegmentation):
    """B images, and the network that takes them together with a latent vector."""

    def __init__(self, method: Image2ImageVAE, images: Tensor) -> None:
        self.method, self.images = method, images
        batch_size, _, *spatial = images.shape
        zeros = torch.zeros(batch_size, method.config.latent_dim, device=images.device)
        self.prior = Gaussian(zeros, zeros)
        widest = sum(method.config.channels[:2])  # where the finest decoder block begins
        super().__init__(
            (batch_size, method.config.num_classes, *spatial),
            images.device,
            [NoisePart("image", "normal", (method.config.latent_dim,))],
            draw_elements=batch_size * widest * math.prod(spatial),
        )

    def latents(self, noise: Noise) -> tuple[Tensor]:
        """The noise itself."""
        return (noise[0].to(self.images),)

    def posteriors_of(self, images: Tensor, labels: Tensor) -> tuple[Gaussian]:
        return (self.method.posterior(images, labels),)

    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        z = self.latents(noise)[0] if latents[0] is None else latents[0]
        repeated = self.images.repeat(len(z), *[1] * (self.images.ndim - 1))
        return self.method.scores_of(repeated, z.flatten(0, 1))


class Image2ImageVAEConfig(UNetSettings):
    latent_dim: int = Field(3, ge=1, le=4096, description="dimensions of z")
    beta: float = Field(10.0, ge=0, le=1e6, description="weight of the KL term")


class Image2ImageVAE(SegmentationMethod):
    Config = Image2ImageVAEConfig
    summary = "conditional VAE with a fixed prior: the latent vector joins the image at the U-Net's input"
    paper = "Zhu et al., Toward Multimodal Image-to-Image Translation, NeurIPS 2017; baseline of Kohl et al. 2018"
    tiling = Tiling(is_exact=True)
    dimensions = (2, 3)
    config: Image2ImageVAEConfig

    def __init__(self, config: Image2ImageVAEConfig) -> None:
        super().__init__(config)
        images, scales, convs = config.image_channels, config.channels, config.convs_per_scale
        style, space, classes = config.style, config.space, config.num_classes
        self.unet = UNetFeatures(images + config.latent_dim, scales, convs, style, space)
        self.scores = class_scores(scales[0], classes, spatial_dims=space.dims)
        self.posterior_net = GaussianEncoder(images + classes, scales, config.latent_dim, convs, style, space)
        initialise(self, config.initialisation)

    def scores_of(self, images: Tensor, latents: Tensor) -> Tensor:
        """Class scores `(P, C, *spatial)` of images `(P, K, *spatial)`, each with a latent vector `(P, L)`."""
        tiled = latents.view(*latents.shape, *[1] * (images.ndim - 2)).expand(-1, -1, *images.shape[2:])
        joined = torch.cat([images, tiled.to(images)], dim=1)
        scores: Tensor = pixel_features(self.unet, joined, self.scores)
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
