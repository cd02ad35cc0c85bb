"""Lightweight probabilistic network: one pass that carries a mean and a variance, and a Dirichlet for each pixel.

    x ~ N(image, noise variance)        every value of the network is taken as an independent Gaussian (mu, v), and each
                                        layer maps means and variances to means and variances: assumed density filtering
    m = softmax(mu)                     of the class scores' moments (mu, v)
    s = c1 + c2 sqrt(sum_j m_j v_j)     or, as in the released code, 1e-4 + c1 + c2 sqrt(sum_j m_j^2 v_j)
    p(pi_i | x) = Dir(pi_i | alpha = m_i / s_i)        p(y_i | x) = m_i
    loss = - sum_i ln Dir(t_i | alpha_i)               t: the smoothed one-hot label; summed over pixels, averaged over
                                                       raters and images

The uncertainty of the image's noise goes through the weights to each pixel, at the price of about three passes instead
of the twenty of a sampling method. c1 = softplus(b1) and c2 = softplus(b2) are learned, with a learning rate of their
own; both begin at softplus(-7).

Gast and Roth, "Lightweight Probabilistic Deep Networks", CVPR 2018. Their layers are those of `nn/moments`; the U-Net
and the DeepLabV3+ are the ordinary ones of `nn/`, turned by `moment_network`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import nll_loss, softplus

from plurimask.distribution import IGNORE, SegmentationDistribution, SegmentationStatistics
from plurimask.method import Loss, MethodConfig, SegmentationMethod, Tiling
from plurimask.nn.deeplab import DeepLabSettings, DeepLabV3Plus, check_output_stride
from plurimask.nn.dirichlet import (
    Dirichlet,
    OffTargets,
    ScaleForm,
    dirichlet_of,
    gamma_numbers,
    log_gamma_draws,
    smoothed_targets,
)
from plurimask.nn.grids import in_blocks
from plurimask.nn.initialisation import Initialisation, initialise
from plurimask.nn.losses import judgements
from plurimask.nn.moments import Moments, Propagation, moment_network
from plurimask.nn.moments.moments import MaxPool
from plurimask.nn.place import Place, here, places_of_tile
from plurimask.nn.settings import Channels
from plurimask.nn.unet import Pooling, Style, UNetFeatures, Upsampling, class_scores
from plurimask.noise import Noise, NoisePart


class DirichletSegmentation(SegmentationDistribution):
    """A Dirichlet over the class probabilities of each pixel, independent of all other pixels.

    Mean, variance, entropy, mutual information and the probability of label maps are closed forms, without draws.
    Samples are drawn pixel by pixel: where the prediction is unsure the maps are speckled, and objects do not come or
    go as a whole. How likely each class is at each pixel is known here; which pixels go together is not.
    """

    def __init__(self, dirichlet: Dirichlet) -> None:
        # A gamma draw takes some ten random numbers for each class of each pixel: they stay a seed until they are used.
        super().__init__(dirichlet.log_mean.shape, dirichlet.log_mean.device, [NoisePart("image", "seed")])
        self.dirichlet = dirichlet

    @property
    def closed_form(self) -> SegmentationStatistics:
        return self

    def expand(self, noise: Noise) -> Noise:
        """The random numbers of `log_gamma_draws`, `(N, B, numbers, C, *spatial)`."""
        if noise[0].dtype != torch.int64:
            return noise
        numbers = [
            torch.stack([torch.stack(list(self._numbers(seed))) for seed in seeds]) for seeds in noise[0].tolist()
        ]
        return (torch.stack(numbers),)

    def scores(self, noise: Noise) -> Tensor:
        """Logarithms of gamma draws: their softmax is a draw from the Dirichlet."""
        on_cpu, (given,) = self.dirichlet.log_concentration.float().cpu(), noise
        samples = given if given.dtype != torch.int64 else [map(self._numbers, seeds) for seeds in given.tolist()]
        draws = [
            torch.stack([log_gamma_draws(shape, numbers) for shape, numbers in zip(on_cpu, of_images, strict=True)])
            for of_images in samples
        ]
        return torch.stack(draws).to(self.dirichlet.log_mean.device)

    def _numbers(self, seed: int) -> Iterator[Tensor]:
        classes, *size = self.logits_shape[1:]
        place = here() or Place((0,) * len(size), tuple(size), tuple(size))
        return in_blocks(gamma_numbers, seed, classes, place.whole, places_of_tile(place, size))

    def mean(self) -> Tensor:
        return self.dirichlet.log_mean.exp()

    def entropy(self) -> Tensor:
        return self.dirichlet.entropy()

    def expected_entropy(self) -> Tensor:
        """The mean entropy of drawn class probabilities `(B, *spatial)`, nats: what no better model could take away."""
        return self.dirichlet.expected_entropy()

    def mutual_information(self) -> Tensor:
        return (self.dirichlet.entropy() - self.dirichlet.expected_entropy()).clamp(min=0)

    def variance(self) -> Tensor:
        return self.dirichlet.variance()

    def log_prob(self, labels: Tensor) -> Tensor:
        """Exact: the sum of ln m over the judged pixels."""
        valid = labels != IGNORE
        pixels = self.dirichlet.log_mean.gather(1, labels.masked_fill(~valid, 0).long())
        return pixels.masked_fill(~valid, 0).flatten(2).sum(2)


_Unscaled: TypeAlias = Annotated[float, Field(ge=-12, le=12)]
"""Far below, the Dirichlet is so narrow that float32 has no digits for its density."""
_Rate: TypeAlias = Annotated[int, Field(ge=1, le=1024)]


class LightweightProbabilisticConfig(MethodConfig):
    backbone: Literal["unet", "deeplabv3plus"] = Field("unet", description="the network that moments go through")
    channels: Channels = (32, 64, 128, 192)
    convs_per_scale: int = Field(3, ge=1, le=32, description="unet: 3x3 convolutions at each scale, on each side")
    pooling: Pooling = Field("average", description="unet: from scale to scale, down")
    upsampling: Upsampling = Field("linear", description="unet: from scale to scale, up")
    max_pool: MaxPool = Field("pairwise", description="how the largest of a window is reduced to the larger of two")
    blocks_per_stage: int = Field(1, ge=1, le=64, description="deeplabv3plus: residual blocks at each scale")
    output_stride: Literal[8, 16] = Field(8, description="deeplabv3plus: of the coarsest features")
    rates: tuple[_Rate, ...] = Field(
        (2, 4, 8), min_length=1, max_length=16, description="deeplabv3plus: dilations side by side"
    )
    aspp_channels: int = Field(
        64, ge=1, le=8192, description="deeplabv3plus: of each dilated branch, and of the decoder"
    )
    low_level_channels: int = Field(12, ge=1, le=8192, description="deeplabv3plus: of the skip connection")
    separable: bool = Field(False, description="deeplabv3plus: depthwise and pointwise in place of 3x3 convolutions")
    normalisation: Literal["none", "batch", "group"] = Field(
        "none", description="after each convolution; group: deeplabv3plus alone"
    )
    noise_variance: float = Field(1e-3, gt=0, le=1e6, description="of each pixel of the normalised image")
    variance_floor: float = Field(
        1e-3, ge=0, le=1e6, description="added to the variances after each layer that computes"
    )
    scale_form: ScaleForm = Field("expected-variance", description="how variances become the Dirichlet's scale")
    label_smoothing: float = Field(1e-2, gt=0, lt=1, description="what a label leaves to the other classes")
    off_targets: OffTargets = Field("expected", description="how the others share that")
    initial_scale: tuple[_Unscaled, _Unscaled] = Field(
        (-7.0, -7.0), description="c1 and c2 begin at the softplus of these, each from -12 to 12"
    )
    scale_learning_rate: float = Field(1e-2, gt=0, le=10, description="peak learning rate of c1 and c2")
    compiled: bool | None = Field(None, description="compile the activations; not given: in training, where possible")
    initialisation: Initialisation = Field("he_normal", description="initial weights")

    @model_validator(mode="after")
    def _suits_the_backbone(self) -> LightweightProbabilisticConfig:
        if self.backbone == "deeplabv3plus":
            check_output_stride(self.output_stride, self.channels)
        elif self.normalisation == "group":
            raise ValueError("normalisation='group' is for deeplabv3plus: the U-Net has none or batch")
        return self


class LightweightProbabilistic(SegmentationMethod):
    Config = LightweightProbabilisticConfig
    summary = "means and variances through every layer in one pass, and a Dirichlet for each pixel"
    paper = "Gast and Roth, Lightweight Probabilistic Deep Networks, CVPR 2018"
    config: LightweightProbabilisticConfig

    def __init__(self, config: LightweightProbabilisticConfig) -> None:
        super().__init__(config)
        # Moments of a linear up-sampling do not ask where a tile lies.
        self.tiling = Tiling(config.backbone == "unet" and config.upsampling == "nearest")
        network = backbone(config)
        initialise(network, config.initialisation)
        self.network = moment_network(network, Propagation(config.variance_floor, config.max_pool, config.compiled))
        base, slope = config.initial_scale
        self.scale_base, self.scale_slope = nn.Parameter(torch.tensor(base)), nn.Parameter(torch.tensor(slope))

    def moments(self, images: Tensor) -> Moments:
        """Mean and variance of the class scores, `(B, C, *spatial)`, of images `(B, K, *spatial)`."""
        scores: Moments = self.network(images, torch.full_like(images, self.config.noise_variance))
        return scores

    def dirichlet(self, images: Tensor) -> Dirichlet:
        """The Dirichlet of each pixel of images `(B, K, *spatial)`."""
        moments = self.moments(images)
        with torch.autocast(images.device.type, enabled=False):
            return dirichlet_of(moments, softplus(self.scale_base), softplus(self.scale_slope), self.config.scale_form)

    def forward(self, images: Tensor) -> DirichletSegmentation:
        return DirichletSegmentation(self.dirichlet(images))

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        raters, config, dirichlet = judgements(labels), self.config, self.dirichlet(images)
        with torch.autocast(images.device.type, enabled=False):
            targets = smoothed_targets(
                raters.labels, config.num_classes, config.label_smoothing, config.off_targets, generator
            )
            of_raters = Dirichlet(*(part[raters.image] for part in dirichlet))
            surprise = -of_raters.log_density(targets).masked_fill(raters.labels == IGNORE, 0)
            total = (raters.weight * surprise.flatten(1).sum(1)).sum()
            with torch.no_grad():
                pixels = nll_loss(of_raters.log_mean, raters.labels.long(), ignore_index=IGNORE, reduction="none")
                cross_entropy = (raters.weight * pixels.flatten(1).sum(1)).sum()
        c1, c2 = softplus(self.scale_base).detach(), softplus(self.scale_slope).detach()
        return Loss(total, {"dirichlet": total.detach(), "cross_entropy": cross_entropy, "c1": c1, "c2": c2})

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """c1 and c2 have their own learning rate, and their gradient no part in the clipped norm."""
        scales = [self.scale_base, self.scale_slope]
        groups = super().parameter_groups(learning_rate)
        groups[1]["params"] = [p for p in groups[1]["params"] if not any(p is scale for scale in scales)]
        own = {"params": scales, "lr": self.config.scale_learning_rate, "weight_decay": 0.0, "clip": False}
        return [*groups, own]


def backbone(config: LightweightProbabilisticConfig) -> nn.Module:
    """The ordinary network: images `(B, K, *spatial)` -> class scores `(B, C, *spatial)`."""
    if config.backbone == "deeplabv3plus":
        settings = DeepLabSettings(*(getattr(config, name) for name in DeepLabSettings._fields))
        return DeepLabV3Plus(config.image_channels, config.num_classes, settings)
    assert config.normalisation != "group"
    style = Style(config.normalisation, config.pooling, config.upsampling)
    features = UNetFeatures(config.image_channels, config.channels, config.convs_per_scale, style)
    return nn.Sequential(features, class_scores(config.channels[0], config.num_classes))
