"""An image drawn again by the scales of its latents, and the files that `plurimask figures` makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from plurimask import Plan, load_run, open_data, train_run
from plurimask.commands.main import main
from plurimask.distribution import most_likely
from plurimask.evaluation.evaluate import ExampleView
from plurimask.prediction.device import fast_precision
from plurimask.report.scales import NUM_DRAWS, NUM_SAMPLES, draw_scales
from plurimask.runs.load import Run

FAST: dict[str, Any] = {
    "channels": (4, 6, 8),
    "latent_dims": (1, 2),
    "blocks_per_scale": 1,
    "max_steps": 3,
    "num_validations": 1,
    "validation_images": 2,
    "batch_size": 2,
}
NAME = "hierarchical-probabilistic-unet"


def trained(folder: Path, out: Path, **settings: Any) -> tuple[Run, ExampleView]:
    source = open_data(folder)
    train_run(Plan(NAME, "small", {**FAST, **settings}), source, out)
    run, examples = load_run(out), source.splits["val"]
    about = run.record
    return run, ExampleView(examples, range(len(examples)), about.preprocessing, about.data.counted_classes)


def test_samples_steps_and_reconstructions_by_scale(lesion_folder: Path, tmp_path: Path) -> None:
    run, view = trained(lesion_folder, tmp_path / "run")
    scales = draw_scales(run, view, 1, seed=0)
    assert scales is not None and scales.ladder is not None
    assert list(scales.samples.scale_names) == ["9 x 9", "18 x 18"]
    assert list(scales.samples.kinds) == ["global only (9 x 9)", "local only (18 x 18)", "all scales"]
    for maps in scales.samples.kinds.values():
        assert maps.shape == (NUM_SAMPLES, 36, 36)
    steps = scales.samples.steps
    assert steps.shape == (3, NUM_DRAWS, 36, 36)
    assert (steps[0] == steps[0, :1]).all()  # nothing is drawn yet
    for step, kind in ((2, "all scales"), (1, "global only (9 x 9)")):  # the same noise; rounding may decide a tie
        assert (steps[step] == scales.samples.kinds[kind][:NUM_DRAWS]).mean() > 0.99
    example = view.preprocessing.example(view.examples[view.indices[1]])
    assert scales.ladder.reconstructions.shape == (3, len(example.labels), 36, 36)
    with torch.inference_mode(), fast_precision(torch.device("cpu")):
        rebuilt = run.method.reconstruct(example.image[None], example.labels[None])
        prediction = run.method(example.image[None])
        middle = most_likely(prediction.logits(prediction.draw_noise(1, at_mean=(0, 1))))[0, 0]
    assert rebuilt is not None
    assert (scales.ladder.reconstructions[2] == rebuilt[0].numpy()).mean() > 0.99
    assert (scales.ladder.reconstructions[0] == middle.numpy()).mean() > 0.99
    assert scales.ladder.iou.shape == (3, len(example.labels))


def test_one_scale_is_neither_global_nor_local(lesion_folder: Path, tmp_path: Path) -> None:
    run, view = trained(lesion_folder, tmp_path / "run", latent_dims=(0, 1))
    scales = draw_scales(run, view, 0, seed=0)
    assert scales is not None
    assert list(scales.samples.kinds) == ["all scales"]


def test_other_methods_have_no_scales(lesion_folder: Path, tmp_path: Path) -> None:
    source = open_data(lesion_folder)
    plain = {name: value for name, value in FAST.items() if name not in ("latent_dims", "blocks_per_scale")}
    train_run(Plan("probabilistic-unet", "small", plain), source, tmp_path / "run")
    run, examples = load_run(tmp_path / "run"), source.splits["val"]
    view = ExampleView(examples, range(len(examples)), run.record.preprocessing, (1,))
    assert draw_scales(run, view, 0, seed=0) is None


@pytest.mark.slow
def test_figures_and_animations_are_written(
    lesion_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(lesion_folder, tmp_path / "run", max_steps=10)
    assert main(["figures", str(tmp_path / "run"), str(lesion_folder), "--out", str(tmp_path / "figures")]) == 0
    written = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"scales.png", "coarse-to-fine.png", "reconstruction.png", "levels.png"} <= written
    for name, frames in {"coarse-to-fine.gif": NUM_DRAWS * 4, "scales.gif": NUM_SAMPLES}.items():
        assert name in written
        with Image.open(tmp_path / "figures" / name) as animation:
            assert getattr(animation, "n_frames", 1) > frames // 2  # equal neighbours are one
    assert "coarse-to-fine.gif" in capsys.readouterr().err
