"""The Probabilistic U-Net: a conditional variational autoencoder around a U-Net.

    prior       p(z | x)    = N(mu(x), diag sigma(x)^2)            z in R^6, one vector for the whole image
    posterior   q(z | x, y) = N(mu(x, y), diag sigma(x, y)^2)      y as one-hot minus 1/2; 0 where nobody judged
    likelihood  p(y | x, z) = prod_i Cat(y_i | softmax f_comb(f_unet(x), z)_i)
    loss        = E_q[ - sum_i log p(y_i | x, z) ] + beta KL( q(z | x, y) || p(z | x) )

The cross entropy is summed over the pixels of a map and averaged over maps: with its mean over pixels, the KL term
would be thousands of times too strong and the latent space would collapse. To sample, z ~ p(z | x) is drawn and only
the last 1x1 convolutions f_comb run again.

The hybrid of Sohn, Lee and Yan (NeurIPS 2015) also decodes z from the prior, with a share s > 0 of the loss:

    loss        = (1 - s) (E_q[ ... ] + beta KL) + s E_{z ~ p(z | x)}[ - sum_i log p(y_i | x, z) ]

With a weight, the energy score of draws from the prior is added (`nn/energy_score.py`): it asks of them what the bound
does not, to be as spread as the raters are.

Kohl et al., "A Probabilistic U-Net for Segmentation of Ambiguous Images", NeurIPS 2018 (arXiv:1806.05034).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from plurimask.latent import Gaussian, LatentSegmentation
from plurimask.method import Loss, SegmentationMethod, Tiling
from plurimask.nn.energy_score import EnergySamples, EnergyWeight, HasBackground, charge_of_draws
from plurimask.nn.head import LatentHead
from plurimask.nn.initialisation import initialise
from plurimask.nn.latent import GaussianEncoder
from plurimask.nn.losses import judgements, maps_of_raters, summed_cross_entropy, with_labels
from plurimask.nn.settings import UNetSettings
from plurimask.nn.strips import pixel_features
from plurimask.nn.unet import UNetFeatures
from plurimask.noise import Noise, NoisePart


class ImageLatentSegmentation(LatentSegmentation):
    """The features of B images, the prior over their latents, and the head that joins the two."""

    def __init__(self, method: ProbabilisticUNet, images: Tensor) -> None:
        self.method, self.images = method, images
        self.prior: Gaussian = method.prior_net(images)  # (B, L)
        # the features' share in the head's first layer
        self.projected = pixel_features(method.unet, images, method.head.project)
        shape = (len(images), method.config.num_classes, *images.shape[2:])
        super().__init__(shape, images.device, [NoisePart("image", "normal", (method.config.latent_dim,))])

    def latents(self, noise: Noise) -> tuple[Tensor]:
        return (self.prior.transform(noise[0]),)

    def posteriors_of(self, images: Tensor, labels: Tensor) -> tuple[Gaussian]:
        return (self.method.posterior(images, labels),)

    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        z = self.latents(noise)[0] if latents[0] is None else latents[0].to(self.prior.mean)
        return self.method.head.of_samples(self.projected, z)


class ProbabilisticUNetConfig(UNetSettings):
    latent_dim: int = Field(6, ge=1, le=4096, description="dimensions of z")
    head_convs: int = Field(3, ge=1, le=32, description="1x1 convolutions with ReLU in f_comb")
    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the KL term")
    prior_share: float = Field(
        0.0, ge=0, lt=1, description="share of the loss that is of maps decoded from the prior, not the posterior"
    )
    energy_weight: EnergyWeight = 0.0
    energy_samples: EnergySamples = 8
    has_background: HasBackground = True


class ProbabilisticUNet(SegmentationMethod):
    Config = ProbabilisticUNetConfig
    summary = "conditional VAE around a U-Net: one global latent vector per sample"
    paper = "Kohl et al., A Probabilistic U-Net for Segmentation of Ambiguous Images, NeurIPS 2018"
    tiling = Tiling(is_exact=True, averages=("prior_net",))
    dimensions = (2, 3)
    for_single_raters = {"prior_share": 0.5}
    config: ProbabilisticUNetConfig

    def __init__(self, config: ProbabilisticUNetConfig) -> None:
        super().__init__(config)
        images, classes, scales = config.image_channels, config.num_classes, config.channels
        convs, style, space = config.convs_per_scale, config.style, config.space
        self.unet = UNetFeatures(images, scales, convs, style, space)
        self.prior_net = GaussianEncoder(images, scales, config.latent_dim, convs, style, space)
        self.posterior_net = GaussianEncoder(images + classes, scales, config.latent_dim, convs, style, space)
        self.head = LatentHead(scales[0], config.latent_dim, classes, config.head_convs)
        initialise(self, config.initialisation)

    def forward(self, images: Tensor) -> ImageLatentSegmentation:
        return ImageLatentSegmentation(self, images)

    def posterior(self, images: Tensor, labels: Tensor) -> Gaussian:
        """q(z | image, label map) for images `(P, K, *spatial)` and label maps `(P, *spatial)`: shape `(P, L)`."""
        posterior: Gaussian = self.posterior_net(with_labels(images, labels, self.config.num_classes))
        return posterior

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters = judgements(labels)  # P label maps, each of one of the B images
        of_images: Gaussian = self.prior_net(images)
        prior = of_images.take(raters.image)
        posterior = self.posterior(images[raters.image], raters.labels)
        z = posterior.transform(torch.randn(posterior.mean.shape, generator=generator))
        projected, share = self.head.project(self.unet(images)), self.config.prior_share

        def cross_entropy(z: Tensor) -> Tensor:
            logits = self.head(projected, z, raters.image)
            return (raters.weight * summed_cross_entropy(logits, raters.labels)).sum()

        reconstruction, kl = cross_entropy(z), (raters.weight * posterior.kl(prior)).sum()
        bound, terms = reconstruction + self.config.beta * kl, {"reconstruction": reconstruction, "kl": kl}
        if share:
            terms["prediction"] = cross_entropy(prior.transform(torch.randn(z.shape, generator=generator)))
            bound = (1 - share) * bound + share * terms["prediction"]
        if weight := self.config.energy_weight:
            shape = (self.config.energy_samples, *of_images.mean.shape)
            draws = self.head.of_samples(projected, of_images.transform(torch.randn(shape, generator=generator)))
            charge = charge_of_draws(draws, labels, self.config.has_background)
            bound, terms = bound + weight * charge.total, terms | charge.terms
        return Loss(bound, {name: term.detach() for name, term in terms.items()})

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        raters = judgements(labels)
        z = self.posterior(images[raters.image], raters.labels).mean
        return maps_of_raters(self.head(self.head.project(self.unet(images)), z, raters.image), raters, labels)
