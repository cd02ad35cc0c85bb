"""An image drawn again for a report of a method with latents at several scales: what each scale decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plurimask.distribution import IGNORE, most_likely
from plurimask.evaluation.evaluate import ExampleView
from plurimask.figures.scales.maps import ReconstructionLadder, ScaleSamples
from plurimask.latent import LatentSegmentation
from plurimask.metrics.reconstruction import reconstruction_iou
from plurimask.prediction.device import fast_precision
from plurimask.prediction.seeds import generator_of
from plurimask.report.drawn import shown_raters
from plurimask.runs.load import Run

NUM_SAMPLES, NUM_DRAWS, NUM_RATERS = 16, 6, 6
"""Of each kind; draws that grow from coarse to fine; raters whose maps are reconstructed, at most."""


@dataclass(frozen=True, eq=False)
class Scales:
    """One image for the figures of scales."""

    samples: ScaleSamples
    ladder: ReconstructionLadder | None
    """None where nobody labelled the image."""


def draw_scales(run: Run, view: ExampleView, number: int, seed: int) -> Scales | None:
    """One image of the view by the scales of its latents; None where the method has none.

    The samples of different kinds, and the steps of a draw, share their noise: what is drawn at a scale is the same
    wherever it is drawn.
    """
    example = view.examples[view.indices[number]]
    seen, about = view.preprocessing.view(example), run.record.data
    device = next(run.method.parameters()).device
    images = view.preprocessing.image(example.image)[None].to(device)
    with torch.inference_mode(), fast_precision(device):
        prediction = run.method(images)
        if not isinstance(prediction, LatentSegmentation) or prediction.noise[0].kind != "places":
            return None
        names = [" x ".join(str(length) for length in part.shape[1:]) for part in prediction.noise]
        raters = shown_raters(view.preprocessing.example(example), seed)
        present = raters[(raters != IGNORE).flatten(1).any(1)][:NUM_RATERS]
        samples = ScaleSamples(
            image=seen.image.numpy(),
            raters=raters.numpy() if len(present) else None,
            scale_names=names,
            kinds={
                name: prediction.sample(NUM_SAMPLES, generator_of(seed, "scales"), at_mean)[:, 0].cpu().numpy()
                for name, at_mean in _kinds(names).items()
            },
            steps=_steps(prediction, len(names), seed).cpu().numpy(),
            class_names=about.class_names,
            has_background=about.has_background,
        )
        if not len(present):
            return Scales(samples, None)
        means = [level.mean for level in prediction.posterior(present[:, None])]
        rebuilt = _ladder(prediction, means).cpu()
    iou = [
        [_iou(own[None], rater[None], view.counted_classes) for own, rater in zip(row, present, strict=True)]
        for row in rebuilt
    ]
    ladder = ReconstructionLadder(
        image=samples.image,
        raters=present.numpy(),
        reconstructions=rebuilt.numpy(),
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


def _steps(prediction: LatentSegmentation, num_levels: int, seed: int) -> Tensor:
    """`(L + 1, M, H, W)`: M draws with the l coarsest levels drawn and the others at the prior's mean."""
    held = (range(drawn, num_levels) for drawn in range(num_levels + 1))
    return torch.stack([prediction.sample(NUM_DRAWS, generator_of(seed, "scales"), at_mean)[:, 0] for at_mean in held])


def _ladder(prediction: LatentSegmentation, means: Sequence[Tensor]) -> Tensor:
    """`(L + 1, R, H, W)`: decoded from the posterior means `(R, 1, d, *spatial)` of the l coarsest levels alone."""
    maps = [prediction.sample(len(means[0]), at_mean=range(len(means)))[:, 0]]
    maps += [most_likely(prediction.decode(means[:given]))[:, 0] for given in range(1, len(means) + 1)]
    return torch.stack(maps)


def _iou(reconstruction: Tensor, rater: Tensor, counted_classes: Sequence[int]) -> float:
    return reconstruction_iou(reconstruction, rater, counted_classes).iou
