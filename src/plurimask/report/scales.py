"""An image drawn again for a report of a method with latents at several scales: what each scale decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plurimask.data.example import DataDescription, Example
from plurimask.distribution import IGNORE, most_likely
from plurimask.figures.scales.maps import ReconstructionLadder, ScaleSamples
from plurimask.latent import LatentSegmentation
from plurimask.metrics.reconstruction import reconstruction_iou
from plurimask.prediction.seeds import generator_of
from plurimask.report.flat import Flattening

NUM_SAMPLES, NUM_DRAWS, NUM_RATERS = 16, 6, 6
"""Of each kind; draws that grow from coarse to fine; raters whose maps are reconstructed, at most."""


@dataclass(frozen=True, eq=False)
class Scales:
    """One image for the figures of scales."""

    samples: ScaleSamples
    ladder: ReconstructionLadder | None
    """None where nobody labelled the image."""


def draw_scales(
    prediction: LatentSegmentation, given: Example, about: DataDescription, seed: int, flat: Flattening
) -> Scales:
    """One image with its raters, as the method is given it but not normalised, by the scales of its latents.

    The samples of different kinds, and the steps of a draw, share their noise: what is drawn at a scale is the same
    wherever it is drawn.
    """
    names = [" x ".join(str(length) for length in part.shape[1:]) for part in prediction.noise]
    raters = given.labels
    present = raters[(raters != IGNORE).flatten(1).any(1)][:NUM_RATERS]

    def drawn(count: int, at_mean: range) -> Tensor:
        return prediction.sample(count, generator_of(seed, "scales"), at_mean)[:, 0].cpu()

    levels = range(len(names))
    samples = ScaleSamples(
        image=flat.shown(given.image),
        raters=flat.shown(raters) if len(present) else None,
        scale_names=names,
        kinds={name: flat.shown(drawn(NUM_SAMPLES, at_mean)) for name, at_mean in _kinds(names).items()},
        steps=flat.shown(torch.stack([drawn(NUM_DRAWS, levels[drawn_of:]) for drawn_of in range(len(names) + 1)])),
        class_names=about.class_names,
        has_background=about.has_background,
    )
    if not len(present):
        return Scales(samples, None)
    means = [level.mean for level in prediction.posterior(present[:, None])]
    rebuilt = [prediction.sample(len(present), at_mean=levels)[:, 0].cpu()]
    rebuilt += [most_likely(prediction.decode(means[: last + 1]))[:, 0].cpu() for last in levels]
    iou = [
        [
            reconstruction_iou(own[None], rater[None], about.counted_classes).iou
            for own, rater in zip(row, present, strict=True)
        ]
        for row in rebuilt
    ]
    ladder = ReconstructionLadder(
        image=samples.image,
        raters=flat.shown(present),
        reconstructions=flat.shown(torch.stack(rebuilt)),
        iou=torch.tensor(iou).numpy(),
        scale_names=names,
        class_names=about.class_names,
        has_background=about.has_background,
    )
    return Scales(samples, ladder)


def _kinds(names: Sequence[str]) -> dict[str, range]:
    """Which levels are held at the prior's mean: the finer half, the coarser half, none."""
    half, last = (len(names) + 1) // 2, len(names)
    if last == 1:
        return {"all scales": range(0)}
    return {
        f"global only ({', '.join(names[:half])})": range(half, last),
        f"local only ({', '.join(names[half:])})": range(half),
        "all scales": range(0),
    }
