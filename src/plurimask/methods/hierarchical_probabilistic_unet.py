"""The Hierarchical Probabilistic U-Net: a conditional variational autoencoder with latents at several scales.

    prior       p(z | x)    = prod_l N(z_l | mu_l(z_<l, x), sigma_l(z_<l, x)^2)         z_l: a map, from coarse to fine
    posterior   q(z | x, y) = prod_l N(z_l | mu_l(z_<l, x, y), sigma_l(z_<l, x, y)^2)   y as one-hot minus 1/2
    likelihood  p(y | x, z) = prod_i Cat(y_i | softmax f(z, x)_i)
    KL_l        = KL( q(z_l | z_<l, x, y) || p(z_l | z_<l, x) ),  z_<l ~ q in both      summed over the places of z_l

    ELBO        E_q[ - sum_i log p(y_i | x, z) ] + beta sum_l KL_l
    GECO        lambda ( average(L) - kappa n ) + sum_l KL_l,   L = - sum of log p(y_i | x, z) over n hard pixels i

A core is the encoder of a U-Net and the coarse part of its decoder; at each of its latent scales a 1x1 convolution
gives the Gaussian, and a draw of it is joined to the features that the next scale is decoded from. Prior and posterior
are two cores with weights of their own. The stitching decoder goes on from the prior's last latent to the class scores.

To sample, the prior's encoder runs once, and its decoder as one batch of all samples.

Kohl et al., "A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities", 2019 (arXiv:1905.13077).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from plurimask.distribution import (
    MAX_CHUNK_ELEMENTS,
    Noise,
    RandomSource,
    SegmentationDistribution,
    most_likely,
    normal_noise,
    take,
)
from plurimask.method import Loss, MethodConfig, SegmentationMethod
from plurimask.nn.geco import ConstrainedReconstruction, hard_pixels
from plurimask.nn.hierarchy import Choice, HierarchicalCore, Level, StitchingDecoder, its_mean
from plurimask.nn.initialisation import Initialisation, initialise
from plurimask.nn.joining import Share
from plurimask.nn.latent import Gaussian
from plurimask.nn.losses import judgements, maps_of_raters, pixel_cross_entropy, with_labels
from plurimask.nn.precision import current_autocast
from plurimask.nn.unet import Blocks, Style, scale_sizes


class Encoding(NamedTuple):
    """All that the decoder needs of B images."""

    coarsest: Tensor
    """`(B, F, *spatial)`: the prior's features at the coarsest scale."""
    core: list[Share]
    """Of the finer features in the scales of the prior's decoder."""
    stitching: list[Share]
    """And in those of the stitching decoder."""


class HierarchicalSegmentation(SegmentationDistribution):
    """The encoded features of B images, and the decoder that goes from them through L latent maps to class scores."""

    def __init__(self, method: HierarchicalProbabilisticUNet, images: Tensor) -> None:
        self.method, self.encoding = method, method.encode(images)
        self.size = images.shape[2:]
        self.autocast = current_autocast(images.device)

    @property
    def logits_shape(self) -> torch.Size:
        return torch.Size([len(self.encoding.coarsest), self.method.config.num_classes, *self.size])

    @property
    def draw_elements(self) -> int:
        widest = sum(self.method.config.channels[:2])
        return max(super().draw_elements, len(self.encoding.coarsest) * widest * math.prod(self.size))

    @property
    def latent_shapes(self) -> list[tuple[int, ...]]:
        """`(d, *spatial)` of the latents of each level, coarse to fine."""
        return self.method.latent_shapes(self.size)

    def draw_noise(
        self, num_samples: int, generator: RandomSource = None, at_mean: Collection[int] = ()
    ) -> tuple[Tensor, ...]:
        """For each level standard normal noise `(N, B, d, *spatial)`; zeros at the levels that are held `at_mean`."""
        batch_size, shapes = len(self.encoding.coarsest), self.latent_shapes
        if not set(at_mean) <= set(range(len(shapes))):
            raise ValueError(f"levels {sorted(at_mean)} at the mean: there are {len(shapes)}, 0 (coarsest) and on")
        # One draw for all levels, so that the first samples are the same however many are drawn.
        counts = [math.prod(shape) for shape in shapes]
        together = normal_noise(num_samples, batch_size, (sum(counts),), generator)
        ends = itertools.accumulate(counts)
        noise = [
            together[..., end - count : end].reshape(num_samples, batch_size, *shape)
            for end, count, shape in zip(ends, counts, shapes, strict=True)
        ]
        return tuple(torch.zeros_like(own) if level in at_mean else own for level, own in enumerate(noise))

    def sample(self, num_samples: int, generator: RandomSource = None, at_mean: Collection[int] = ()) -> Tensor:
        """N label maps `(N, B, *spatial)`, uint8.

        Levels in `at_mean` (0 is the coarsest) stay at the prior's mean given the levels before them, so that global
        and local variation can be looked at apart. The other levels are drawn as they would be without it.
        """
        noise = self.draw_noise(num_samples, generator, at_mean)
        return torch.cat([most_likely(chunk) for chunk in self.logit_chunks(noise)])

    def latents(self, noise: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Standard normal noise of each level -> draws from the prior, `(N, B, d, *spatial)` each."""
        count, core = len(noise[0]), self.method.prior_core
        with self.autocast():
            _, levels = core.descend(
                self.encoding.coarsest,
                self.encoding.core,
                self._image(count),
                lambda level, prior: _drawn(prior, noise[level]),
            )
        return tuple(_by_sample(level.latents, count) for level in levels)

    def decode(
        self, latents: Sequence[Tensor | None], generator: RandomSource = None, at_mean: Collection[int] = ()
    ) -> Tensor:
        """Latents of each level `(N, B, d, *spatial)` -> logits `(N, B, C, *spatial)`.

        Where a level's are None (levels that are missing at the end are None too), they are drawn from the prior given
        those before, or are its mean for the levels `at_mean`. At least one level must be given, for the number of
        samples.
        """
        given = {level: own for level, own in enumerate(latents) if own is not None}
        counts = {len(own) for own in given.values()}
        if len(counts) != 1 or len(latents) > len(self.latent_shapes):
            raise ValueError(
                f"latents of {len(latents)} levels with {sorted(counts)} samples: expected at most "
                f"{len(self.latent_shapes)} levels, at least one of them given, all with the same number of samples"
            )
        noise = self.draw_noise(counts.pop(), generator, at_mean)
        step = max(1, MAX_CHUNK_ELEMENTS // self.draw_elements)
        chunks = []
        for start in range(0, len(noise[0]), step):
            part = slice(start, start + step)
            chunks.append(self._decode(take(noise, part), {level: own[part] for level, own in given.items()}))
        return torch.cat(chunks)

    def logits(self, noise: Noise) -> Tensor:
        return self._decode(noise, {})

    def _decode(self, noise: Noise, given: Mapping[int, Tensor]) -> Tensor:
        """Logits of N samples: the levels that are given, the others drawn by their noise."""

        def choose(level: int, prior: Gaussian) -> Tensor:
            return given[level].flatten(0, 1).to(prior.mean) if level in given else _drawn(prior, noise[level])

        with self.autocast():
            scores, _ = self.method.decode(self.encoding, self._image(len(noise[0])), choose)
        return _by_sample(scores.float(), len(noise[0]))

    def _image(self, num_samples: int) -> Tensor:
        """Which image each of N samples of all images is for, sample by sample."""
        return torch.arange(len(self.encoding.coarsest), device=self.encoding.coarsest.device).repeat(num_samples)


def _by_sample(joined: Tensor, num_samples: int) -> Tensor:
    """`(N * B, ...)` -> `(N, B, ...)`."""
    return joined.view(num_samples, -1, *joined.shape[1:])


def _drawn(gaussian: Gaussian, noise: Tensor) -> Tensor:
    """Noise `(N, B, d, *spatial)` -> draws `(N * B, d, *spatial)`."""
    return gaussian.transform(noise.flatten(0, 1))


class HierarchicalProbabilisticUNetConfig(MethodConfig):
    channels: tuple[PositiveInt, ...] = Field(
        (24, 48, 96, 192, 192, 192, 192, 192), min_length=2, description="channels of each scale, finest first"
    )
    latent_dims: tuple[int, ...] = Field(
        (1, 1, 1, 1), min_length=1, description="latent channels at each scale, coarsest first; 0: none at that scale"
    )
    blocks: Blocks = Field("residual", description="residual: pre-activated, of half width inside; plain: convolutions")
    blocks_per_scale: int = Field(3, ge=1, description="residual blocks, or plain 3x3 convolutions, at each scale")
    convs_per_block: int = Field(3, ge=1, description="3x3 convolutions in a residual block")
    objective: Literal["geco", "elbo"] = Field("geco", description="constrained reconstruction, or the plain bound")
    kappa: float = Field(0.05, gt=0, description="geco: nats that a selected pixel may cost")
    hard_pixel_share: float = Field(0.02, gt=0, le=1, description="geco: share of a batch's pixels that are selected")
    multiplier_rate: float = Field(1e-4, gt=0, description="geco: learning rate of log lambda")
    beta: float = Field(1.0, ge=0, description="weight of the KL terms; with geco, lambda makes up for it")
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
        return self


class HierarchicalProbabilisticUNet(SegmentationMethod):
    Config = HierarchicalProbabilisticUNetConfig
    summary = "conditional VAE with latent maps at several scales of a residual U-Net, trained by GECO or the ELBO"
    paper = "Kohl et al., A Hierarchical Probabilistic U-Net for Modeling Multi-Scale Ambiguities, 2019"
    config: HierarchicalProbabilisticUNetConfig

    def __init__(self, config: HierarchicalProbabilisticUNetConfig) -> None:
        super().__init__(config)
        images, classes = config.image_channels, config.num_classes
        style = Style(upsampling="nearest", blocks=config.blocks, convs_per_block=config.convs_per_block)
        shape = config.channels, config.latent_dims, config.blocks_per_scale, style
        self.prior_core = HierarchicalCore(images, *shape)
        self.posterior_core = HierarchicalCore(images + classes, *shape)
        self.stitching_decoder = StitchingDecoder(*shape, classes)
        initialise(self, config.initialisation)
        self.constraint = ConstrainedReconstruction(config.kappa) if config.objective == "geco" else None

    def latent_shapes(self, size: Sequence[int]) -> list[tuple[int, ...]]:
        """`(d, *spatial)` of the latents of each level, coarse to fine, for images of `size`."""
        coarse_first = scale_sizes(size, len(self.config.channels))[::-1]
        return [(dim, *places) for dim, places in zip(self.config.latent_dims, coarse_first, strict=False) if dim]

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
        raters = judgements(labels)  # P label maps, each of one of the B images

        def draw(_: int, q: Gaussian) -> Tensor:
            return q.transform(torch.randn(q.mean.shape, generator=generator))

        posterior = self.posterior(images[raters.image], raters.labels, draw)
        # Teacher forcing: the prior of each level is that given the posterior's latents of the levels before.
        image = None if labels.shape[1] == 1 and len(raters.image) == len(images) else raters.image
        logits, prior = self.decode(self.encode(images), image, lambda level, _: posterior[level].latents)
        kls = [
            (raters.weight * ours.gaussian.kl(theirs.gaussian)).sum()
            for ours, theirs in zip(posterior, prior, strict=True)
        ]
        kl = torch.stack(kls).sum()
        terms = {"kl": kl.detach(), **{f"kl_{level}": own.detach() for level, own in enumerate(kls)}}
        pixels = pixel_cross_entropy(logits, raters.labels)
        if self.constraint is None:
            reconstruction = (raters.weight * pixels.flatten(1).sum(1)).sum()
            return Loss(reconstruction + self.config.beta * kl, {"reconstruction": reconstruction.detach(), **terms})
        selected = hard_pixels(pixels, self.config.hard_pixel_share, generator)
        reconstruction = (raters.weight * (pixels * selected).flatten(1).sum(1)).sum()
        num_selected = (raters.weight * selected.flatten(1).sum(1)).sum()
        constrained = self.constraint(reconstruction, num_selected)
        terms["reconstruction"] = reconstruction.detach()
        terms["reconstruction_per_pixel"] = (reconstruction / num_selected.clamp(min=1)).detach()
        terms["lambda"] = self.constraint.multiplier
        return Loss(constrained + self.config.beta * kl, terms)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        if self.constraint is None:
            return super().parameter_groups(learning_rate)
        u = self.constraint.log_multiplier
        groups = super().parameter_groups(learning_rate)
        groups[1]["params"] = [p for p in groups[1]["params"] if p is not u]
        own = {"params": [u], "lr": self.config.multiplier_rate, "weight_decay": 0.0, "clip": False, "average": False}
        # Adam's memory of squared gradients is as long as the average's: the step stays the rate as gradients change.
        return [*groups, {**own, "betas": (0.9, self.constraint.decay)}]
