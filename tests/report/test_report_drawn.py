"""Images drawn again for a report: the latent plane and the strip of modes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from street_tree import write_cityscapes

from plurimask import Plan, load_run, open_data, train_run
from plurimask.data.worlds.streets import street_source
from plurimask.distribution import most_likely
from plurimask.evaluation.evaluate import ExampleView
from plurimask.figures.latents import latent_walk
from plurimask.flips import mode_table
from plurimask.prediction.device import fast_precision
from plurimask.report.drawn import WALK, draw_latents, strip_of_modes
from plurimask.runs.load import Run

FAST: dict[str, Any] = {"max_steps": 2, "num_validations": 1, "validation_images": 2, "batch_size": 2}


def trained(method: str, folder: Path, out: Path, **settings: Any) -> tuple[Run, ExampleView]:
    source = open_data(folder)
    train_run(Plan(method, "small", {**FAST, **settings}), source, out)
    run = load_run(out)
    examples = source.splits["val"]
    view = ExampleView(examples, range(len(examples)), run.record.preprocessing, run.record.data.counted_classes)
    return run, view


@pytest.mark.parametrize("method", ["probabilistic-unet", "image2image-vae"])
def test_the_plane_is_decoded_around_the_middle_of_the_prior(method: str, lesion_folder: Path, tmp_path: Path) -> None:
    run, view = trained(method, lesion_folder, tmp_path / "run", channels=(4, 6), latent_dim=5)
    plane = draw_latents(run, view, 1, seed=0)[0]
    assert plane is not None
    assert plane.grid.shape == (9, 9, 36, 36)
    assert len(plane.posteriors) == 4
    example = view.examples[view.indices[1]]
    images = view.preprocessing.image(example.image)[None]
    with torch.inference_mode(), fast_precision(images.device):
        prediction = run.method(images)
        middle = most_likely(prediction.decode([prediction.prior.mean[None]]))[0, 0]
        posterior = run.method.posterior(images, example.labels[2:3])
    assert (plane.grid[4, 4] == middle.numpy()).mean() > 0.99
    sigma = prediction.prior.log_sigma.exp()[0].float()
    axes = [int(name.split()[1]) - 1 for name in plane.axis_names]
    assert sorted(sigma[axes].tolist()) == pytest.approx(sorted(sigma.tolist())[-2:])
    np.testing.assert_allclose(plane.prior[1], sigma[axes].numpy(), rtol=1e-5)
    np.testing.assert_allclose(plane.posteriors[2][0], posterior.mean[0, axes].numpy(), rtol=0.05, atol=0.02)
    corner = prediction.prior.mean[0].clone()
    corner[axes[0]] += WALK[-1] * sigma[axes[0]]
    corner[axes[1]] += WALK[0] * sigma[axes[1]]
    with torch.inference_mode(), fast_precision(images.device):
        decoded = most_likely(prediction.decode([corner[None, None]]))[0, 0]
    assert (plane.grid[0, 8] == decoded.numpy()).mean() > 0.99


def test_the_plane_of_a_method_without_a_posterior_has_none(lesion_folder: Path, tmp_path: Path) -> None:
    run, view = trained("energy-score-unet", lesion_folder, tmp_path / "run", channels=(4, 6), sampled_scales=1)
    plane = draw_latents(run, view, 1, seed=0)[0]
    assert plane is not None
    assert plane.grid.shape == (9, 9, 36, 36)
    assert plane.posteriors == []
    figure = latent_walk(plane)
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]][1] == "area and prior"


def test_methods_without_a_latent_vector_have_no_plane(lesion_folder: Path, tmp_path: Path) -> None:
    run, view = trained("unet", lesion_folder, tmp_path / "run", channels=(4, 6))
    assert draw_latents(run, view, 0, seed=0)[0] is None
    assert strip_of_modes(run, view, seed=0) is None


def test_the_strip_shows_an_image_that_has_every_class(tmp_path: Path) -> None:
    write_cityscapes(street_source(num_train=4, num_val=8, num_test=1, seed=1, size=(32, 64)), tmp_path / "tree")
    run, view = trained("probabilistic-unet", tmp_path / "tree", tmp_path / "run", channels=(4, 6))
    strip = strip_of_modes(run, view, seed=0)
    complete = [
        number
        for number in view.indices
        if all(bool((view.examples[number].labels == flip.source).any()) for flip in run.record.data.flips)
    ]
    assert complete, "the world has images with every class"
    assert strip is not None
    assert (strip.annotator == view.examples[complete[0]].labels[0].numpy()).all()
    assert len(strip.samples) == len(strip.mode_of_sample) == 64
    assert strip.probability == pytest.approx(mode_table(run.record.data.flips)[1].tolist())
    none_of_them = replace(view, indices=[number for number in view.indices if number not in complete])
    assert strip_of_modes(run, none_of_them, seed=0) is None
