"""The Hierarchical Probabilistic U-Net: a conditional variational autoencoder with latents at several scales.

    prior       p(z | x)    = prod_l N(z_l | mu_l(z_<l, x), sigma_l(z_<l, x)^2)         z_l: a map, from coarse to fine
    posterior   q(z | x, y) = prod_l N(z_l | mu_l(z_<l, x, y), sigma_l(z_<l, x, y)^2)   y as one-hot minus 1/2
    likelihood  p(y | x, z) = prod_i Cat(y_i | softmax f(z, x)_i)
    KL_l        = KL( q(z_l | z_<l, x, y) || p(z_l | z_<l, x) ),  z_<l ~ q in both      summed over the places of z_l

    ELBO        E_q[ - sum_i log p(y_i | x, z) ] + beta sum_l KL_l
    GECO        lambda ( average(L) - kappa n ) + sum_l KL_l,   L = - sum of log p(y_i | x, z) over n hard pixels i

With a weight w > 0 maps decoded from n draws of the prior are held against the raters too, by the energy score
(`nn/energy_score.py`), and w times the score is added to either.

A core is the encoder of a U-Net and the coarse part of its decoder; at each of its latent scales a 1x1 convolution
gives the Gaussian, and a draw of it is joined to the features that the next scale is decoded from. Prior and posterior
are two cores with weights of their own. The stitching decoder goes on from the prior's last latent to the class scores.

To sample, the prior's encoder runs once, and its decoder as one batch of all samples.

Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities", 2019 (arXiv:1905.13077).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor

from plurimask.latent import Gaussian, LatentSegmentation
from plurimask.method import Loss, MethodConfig, SegmentationMethod, Tiling
from plurimask.nn.energy_score import EnergySamples, EnergyWeight, HasBackground, charge_of_draws
from plurimask.nn.geco import ConstrainedReconstruction, hard_pixels
from plurimask.nn.hierarchy import Choice, HierarchicalCore, Level, StitchingDecoder, its_mean
from plurimask.nn.initialisation import Initialisation, initialise
from plurimask.nn.joining import Share
from plurimask.nn.losses import judgements, maps_of_raters, pixel_cross_entropy, with_labels
from plurimask.nn.settings import Channels, Kernels, Strides, space_of
from plurimask.nn.space import Space
from plurimask.nn.unet import Blocks, Style
from plurimask.noise import Noise, NoisePart


class Encoding(NamedTuple):
    """All that the decoder needs of B images."""

    coarsest: Tensor  # (B, F, *spatial): the prior's features at the coarsest scale
    core: list[Share]  # of the finer features in the scales of the prior's decoder
    stitching: list[Share]  # and in those of the stitching decoder


class HierarchicalSegmentation(LatentSegmentation):
    """The encoded features of B images, and the decoder that goes from them through L latent maps to class scores.

    With levels held `at_mean` of the prior given the levels before them (0 is the coarsest), global and local variation
    can be looked at apart.
    """

    prior = None  # that of a level depends on the levels before it

    def __init__(self, method: HierarchicalProbabilisticUNet, images: Tensor) -> None:
        self.method, self.images, self.encoding = method, images, method.encode(images)
        batch_size, _, *spatial = images.shape
        widest = sum(method.config.channels[:2])
        super().__init__(
            (batch_size, method.config.num_classes, *spatial),
            images.device,
            [NoisePart("places", "normal", shape, stride=stride) for shape, stride in method.latent_places(spatial)],
            draw_elements=batch_size * widest * math.prod(spatial),
        )

    def latents(self, noise: Noise) -> tuple[Tensor, ...]:
        with self.precision():
            _, levels = self.method.prior_core.descend(
                self.encoding.coarsest,
                self.encoding.core,
                self._image(len(noise[0])),
                lambda level, prior: prior.transform(noise[level].flatten(0, 1)),
            )
        return tuple(_by_sample(level.latents, len(noise[0])) for level in levels)

    def posteriors_of(self, images: Tensor, labels: Tensor) -> list[Gaussian]:
        return [level.gaussian for level in self.method.posterior(images, labels)]

    def scores_of(self, latents: Sequence[Tensor | None], noise: Noise) -> Tensor:
        def choose(level: int, prior: Gaussian) -> Tensor:
            given = latents[level]
            return prior.transform(noise[level].flatten(0, 1)) if given is None else given.flatten(0, 1).to(prior.mean)

        scores, _ = self.method.decode(self.encoding, self._image(len(noise[0])), choose)
        return scores

    def _image(self, num_samples: int) -> Tensor:
        """Which image each of N samples of all images is for, sample by sample."""
        return torch.arange(len(self.images), device=self.images.device).repeat(num_samples)


def _by_sample(joined: Tensor, num_samples: int) -> Tensor:
    """`(N * B, ...)` -> `(N, B, ...)`."""
    return joined.view(num_samples, -1, *joined.shape[1:])


def _drawn(gaussian: Gaussian, generator: torch.Generator | None) -> Tensor:
    return gaussian.transform(torch.randn(gaussian.mean.shape, generator=generator))


class HierarchicalProbabilisticUNetConfig(MethodConfig):
    channels: Channels = (24, 48, 96, 192, 192, 192, 192, 192)
    strides: Strides = ()
    kernels: Kernels = ()
    latent_dims: tuple[Annotated[int, Field(ge=0, le=4096)], ...] = Field(
        (1, 1, 1, 1), min_length=1, description="latent channels at each scale, coarsest first; 0: none at that scale"
    )
    blocks: Blocks = Field("residual", description="residual: pre-activated, of half width inside; plain: convolutions")
    blocks_per_scale: int = Field(
        3, ge=1, le=64, description="residual blocks, or plain 3x3 convolutions, at each scale"
    )
    convs_per_block: int = Field(3, ge=1, le=32, description="3x3 convolutions in a residual block")
    objective: Literal["geco", "elbo"] = Field("geco", description="constrained reconstruction, or the plain bound")
    kappa: float = Field(0.05, gt=0, le=1e6, description="geco: nats that a selected pixel may cost")
    hard_pixel_share: float = Field(0.02, gt=0, le=1, description="geco: share of a batch's pixels that are selected")
    multiplier_rate: float = Field(1e-4, gt=0, le=10, description="geco: learning rate of log lambda")
    beta: float = Field(1.0, ge=0, le=1e6, description="weight of the KL terms; with geco, lambda makes up for it")
    energy_weight: EnergyWeight = 0.0
    energy_samples: EnergySamples = 8
    has_background: HasBackground = True
    initialisation: Initialisation = Field("orthogonal", description="initial weights")

    @model_validator(mode="after")
    def _has_latents(self) -> HierarchicalProbabilisticUNetConfig:
        dims, scales = self.latent_dims, len(self.channels)
        if len(dims) > scales:
            raise ValueError(
                f"latent_dims {dims} are for {len(dims)} scales, but channels has {scales}: give channels for more "
                f"scales, or latent_dims for at most {scales}"
            )
        if min(dims) < 0 or dims[-1] == 0:
            raise ValueError(f"latent_dims {dims}: expected no negative number, and the last, the finest, above 0")
        space_of(self)
        return self

    @property
    def space(self) -> Space:
        return space_of(self)


class HierarchicalProbabilisticUNet(SegmentationMethod):
    Config = HierarchicalProbabilisticUNetConfig
    summary = "conditional VAE with latent maps at several scales of a residual U-Net, trained by GECO or the ELBO"
    paper = "Kohl et al., A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities, 2019"
    tiling = Tiling(is_exact=True)
    dimensions = (2, 3)
    config: HierarchicalProbabilisticUNetConfig

    def __init__(self, config: HierarchicalProbabilisticUNetConfig) -> None:
        super().__init__(config)
        images, classes = config.image_channels, config.num_classes
        style = Style(upsampling="nearest", blocks=config.blocks, convs_per_block=config.convs_per_block)
        shape = config.channels, config.latent_dims, config.blocks_per_scale, style, config.space
        self.prior_core = HierarchicalCore(images, *shape)
        self.posterior_core = HierarchicalCore(images + classes, *shape)
        self.stitching_decoder = StitchingDecoder(*shape, classes)
        initialise(self, config.initialisation)
        self.constraint = ConstrainedReconstruction(config.kappa) if config.objective == "geco" else None

    def latent_places(self, size: Sequence[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Shape `(d, *spatial)` and stride in pixels of each level's latents, coarse to fine, for images of `size`."""
        scales, space = len(self.config.channels), self.config.space
        sizes, strides = space.sizes(size, scales)[::-1], space.total_strides(scales)[::-1]
        return [
            ((dim, *places), stride)
            for dim, places, stride in zip(self.config.latent_dims, sizes, strides, strict=False)
            if dim
        ]

    def forward(self, images: Tensor) -> HierarchicalSegmentation:
        return HierarchicalSegmentation(self, images)

    def encode(self, images: Tensor) -> Encoding:
        """The prior's encoder, and what its features give to the decoders: once for images `(B, K, *spatial)`."""
        features = self.prior_core.encoder(images)
        return Encoding(features[-1], self.prior_core.shares(features), self.stitching_decoder.shares(features))

    def decode(self, encoding: Encoding, image: Tensor | None, choose: Choice) -> tuple[Tensor, list[Level]]:
        """P passes from the latents of `choose` to class scores `(P, C, *spatial)`, for the images `(P,)`.

        If `image` is None there is one pass for each image.
        """
        x, levels = self.prior_core.descend(encoding.coarsest, encoding.core, image, choose)
        return self.stitching_decoder(x, encoding.stitching, image), levels

    def posterior(self, images: Tensor, labels: Tensor, choose: Choice = its_mean) -> list[Level]:
        """q(z | image, label map) for images `(P, K, *spatial)` and label maps `(P, *spatial)`, coarse to fine.

        The Gaussian of a level depends on the latents chosen before it: by default the means.
        """
        levels: list[Level] = self.posterior_core(with_labels(images, labels, self.config.num_classes), choose)
        return levels

    def reconstruct(self, images: Tensor, labels: Tensor) -> Tensor:
        raters = judgements(labels)
        means = self.posterior(images[raters.image], raters.labels)
        logits, _ = self.decode(self.encode(images), raters.image, lambda level, _: means[level].latents)
        return maps_of_raters(logits, raters, labels)

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        encoding, weight = self.encode(images), self.config.energy_weight
        bound = self._bound(images, labels, encoding, generator)
        if not weight:
            return bound
        image = torch.arange(len(images), device=images.device).repeat(self.config.energy_samples)
        draws, _ = self.decode(encoding, image, lambda _, prior: _drawn(prior, generator))
        charge = charge_of_draws(draws, labels, self.config.has_background)
        return Loss(bound.total + weight * charge.total, bound.terms | charge.terms)

    def _bound(self, images: Tensor, labels: Tensor, encoding: Encoding, generator: torch.Generator | None) -> Loss:
        """By GECO or the ELBO."""
        raters = judgements(labels)  # P label maps, each of one of the B images

        posterior = self.posterior(images[raters.image], raters.labels, lambda _, q: _drawn(q, generator))
        # Teacher forcing: the prior of each level is that given the posterior's latents of the levels before.
        image = None if labels.shape[1] == 1 and len(raters.image) == len(images) else raters.image
        logits, prior = self.decode(encoding, image, lambda level, _: posterior[level].latents)
        pairs = zip(posterior, prior, strict=True)
        kls = [(raters.weight * ours.gaussian.kl(theirs.gaussian)).sum() for ours, theirs in pairs]
        kl = torch.stack(kls).sum()
        terms = {"kl": kl.detach(), **{f"kl_{level}": own.detach() for level, own in enumerate(kls)}}
        pixels = pixel_cross_entropy(logits, raters.labels)
        if self.constraint is None:
            reconstruction = (raters.weight * pixels.flatten(1).sum(1)).sum()
            return Loss(reconstruction + self.config.beta * kl, {"reconstruction": reconstruction.detach(), **terms})
        selected = hard_pixels(pixels, self.config.hard_pixel_share, generator)
        reconstruction = (raters.weight * (pixels * selected).flatten(1).sum(1)).sum()
        num_selected = (raters.weight * selected.flatten(1).sum(1)).sum()
        terms["reconstruction"] = reconstruction.detach()
        terms["reconstruction_per_pixel"] = (reconstruction / num_selected.clamp(min=1)).detach()
        terms["lambda"] = self.constraint.multiplier
        return Loss(self.constraint(reconstruction, num_selected) + self.config.beta * kl, terms)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        if self.constraint is None:
            return super().parameter_groups(learning_rate)
        u = self.constraint.log_multiplier
        groups = super().parameter_groups(learning_rate)
        groups[1]["params"] = [p for p in groups[1]["params"] if p is not u]
        own = {"params": [u], "lr": self.config.multiplier_rate, "weight_decay": 0.0, "clip": False, "average": False}
        # Adam's memory of squared gradients is as long as the average's: the step stays the rate as gradients change.
        return [*groups, {**own, "betas": (0.9, self.constraint.decay)}]
