"""What a report draws of some images: samples and errors, a walk over latents, modes of flipping classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from plurimask.data.example import DataDescription, Example
from plurimask.data.preprocessing import draw_labels
from plurimask.distribution import most_likely
from plurimask.evaluation.evaluate import EvaluatedImage, ExampleView
from plurimask.figures.errors import ErrorRow
from plurimask.figures.latents import LatentPlane
from plurimask.figures.modes import ModeStrip, flipped_names
from plurimask.flips import mode_table
from plurimask.latent import Gaussian, LatentSegmentation
from plurimask.metrics.modes import sample_modes
from plurimask.prediction.device import fast_precision
from plurimask.prediction.predict import Sampling, predict_images
from plurimask.prediction.seeds import generator_of
from plurimask.report.flat import Flattening, flattening
from plurimask.report.scales import Scales, draw_scales
from plurimask.runs.load import Run

NUM_FLIPPED_RATERS = 16
"""Maps drawn to stand for the raters where classes flip at random."""
WALK = tuple(float(sigma) for sigma in np.linspace(-2, 2, 9))
"""Where a latent plane is decoded, in sigmas of the prior."""
NUM_POSTERIORS = 8
"""Raters whose posteriors are shown, at most."""
STRIP_SAMPLES = 64
"""Samples among which modes are looked for."""


def drawn_row(
    image: EvaluatedImage, view: ExampleView, number: int, caption: str, seed: int, rater_names: tuple[str, ...]
) -> ErrorRow:
    """An evaluated image, the one of this number in the view, with its values and raters as they are stored."""
    index = view.indices[number]
    stored, pixel_size = view.examples[index], view.examples.pixel_size(index)
    seen = view.preprocessing.view(stored, pixel_size)
    raters = shown_raters(seen, seed).numpy()
    return ErrorRow(
        seen.name,
        seen.image.numpy(),
        raters,
        image.samples.numpy(),
        image.mean.numpy(),
        image.entropy.numpy(),
        caption,
        mutual_information=image.mutual_information.numpy(),
        variance=image.variance.numpy(),
        rater_names=tuple(f"draw {one + 1}" for one in range(len(raters))) if stored.flips else rater_names,
        pixel_size=view.preprocessing.pixel_size(pixel_size, stored.image.shape[-2:]),
    )


def shown_raters(example: Example, seed: int) -> Tensor:
    """`(R, *spatial)`: of an image whose classes flip, as many draws as make their frequencies plain."""
    if not example.flips:
        return example.labels
    return draw_labels(example, NUM_FLIPPED_RATERS, generator_of(seed, "raters", example.name)).labels


def draw_latents(run: Run, view: ExampleView, number: int, seed: int) -> tuple[LatentPlane | None, Scales | None]:
    """One image of the view by the method's latents: a walk over a single vector, or what each of several scales does.

    None where the method has no such latents, or a vector of less than two.
    """
    index, about = view.indices[number], run.record.data
    example, size = view.examples[index], view.examples.pixel_size(index)
    seen = view.preprocessing.view(example, size)
    raters, image = shown_raters(seen, seed), view.preprocessing.image(example.image, example.name, size)
    flat = flattening(raters, about.counted_classes, size, view.preprocessing.slices)
    device = next(run.method.parameters()).device
    with torch.inference_mode(), fast_precision(device):
        prediction = run.method(flat.seen(image)[None].to(device))
        if not isinstance(prediction, LatentSegmentation):
            return None, None
        given = replace(seen, image=flat.seen(seen.image), labels=flat.seen(raters), flips=())
        if prediction.noise[0].kind == "places":
            return None, draw_scales(prediction, given, about, seed, flat)
        if prediction.prior is None or prediction.prior.mean.shape[1] < 2:
            return None, None
        return _latent_plane(prediction, prediction.prior, given, about, flat), None


def _latent_plane(
    prediction: LatentSegmentation, prior: Gaussian, given: Example, about: DataDescription, flat: Flattening
) -> LatentPlane:
    """Label maps decoded over the two latents of largest prior sigma, the others at the prior's mean."""
    mean, sigma = (part[0].float().cpu() for part in (prior.mean, prior.log_sigma.exp()))
    axes = sigma.argsort(descending=True, stable=True)[:2].sort().values
    latents = mean.repeat(len(WALK), len(WALK), 1)  # [second axis, first axis]
    latents[..., axes[0]] += sigma[axes[0]] * torch.tensor(WALK)
    latents[..., axes[1]] += sigma[axes[1]] * torch.tensor(WALK)[:, None]
    maps = [flat.shown(most_likely(prediction.decode([row[:, None].to(prior.mean)]))[:, 0]) for row in latents]
    pairs = [
        pair
        for posterior in prediction.posterior(given.labels[:NUM_POSTERIORS, None])
        for pair in zip(posterior.mean[:, 0].cpu(), posterior.log_sigma[:, 0].exp().cpu(), strict=True)
    ]
    return LatentPlane(
        image=flat.shown(given.image),
        grid=np.stack(maps),
        positions=WALK,
        axis_names=(f"latent {int(axes[0]) + 1}", f"latent {int(axes[1]) + 1}"),
        prior=(mean[axes].numpy(), sigma[axes].numpy()),
        posteriors=[(middle[axes].numpy(), spread[axes].numpy()) for middle, spread in pairs],
        class_names=about.class_names,
        has_background=about.has_background,
    )


def strip_of_modes(run: Run, view: ExampleView, seed: int) -> ModeStrip | None:
    """Samples of the first image that has all classes that flip, with the mode that each shows; None without flips."""
    about = run.record.data
    if not about.flips:
        return None
    for index in view.indices:
        example, size = view.examples[index], view.examples.pixel_size(index)
        seen = view.preprocessing.view(example, size)
        if not all(bool((seen.labels == flip.source).any()) for flip in about.flips):
            continue
        prepared = [(example.name, view.preprocessing.image(example.image, example.name, size))]
        predicted = next(predict_images(run.method, prepared, Sampling(STRIP_SAMPLES, seed)))
        samples = predicted.samples[:, 0].cpu()
        flat = flattening(seen.labels, about.counted_classes, size)
        modes, _ = sample_modes(samples, seen.labels[0], about.flips)
        happens, probability = mode_table(about.flips)
        names = [about.class_names[flip.source] for flip in about.flips]
        return ModeStrip(
            image=flat.shown(seen.image),
            annotator=flat.shown(seen.labels[0]),
            samples=flat.shown(samples),
            mode_of_sample=modes.numpy(),
            mode_names=flipped_names(happens.tolist(), names),
            probability=probability.tolist(),
            class_names=about.class_names,
            flips=about.flips,
            has_background=about.has_background,
        )
    return None
