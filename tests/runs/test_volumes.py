"""Runs on volumes: what the data decide, training into a folder, and predictions on the image's own grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from volume_world import PIXEL_SIZE, Balls, ball_source

from plurimask.data.example import ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.unlabelled import ImageSet
from plurimask.errors import InputError
from plurimask.evaluation.evaluate import ExampleView, evaluate
from plurimask.methods import METHODS, build_method
from plurimask.prediction.predict import Sampling
from plurimask.prediction.predicted import predict
from plurimask.runs.load import load_run
from plurimask.runs.plan import Plan, for_data, resolve
from plurimask.runs.prepare import prepare
from plurimask.runs.train import train_run
from plurimask.runs.volumes import TILT, VolumeGeometry, fitted, require_fitting, with_tilt
from plurimask.training.config import TrainingConfig

TINY: dict[str, Any] = {
    "channels": (3, 4, 5),
    "max_steps": 2,
    "batch_size": 2,
    "crop": (6, 12, 12),
    "num_validations": 1,
    "validation_images": 2,
    "validation_samples": 2,
    "cache_gb": 0.5,
}


class Sized(ExampleSet):
    """Volumes that are known by their headers alone."""

    def __init__(self, shapes: list[tuple[int, ...]], sizes: list[PixelSize | None]) -> None:
        self.shapes, self.sizes = shapes, sizes
        self.names = self.groups = [str(number) for number in range(len(shapes))]

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("no volume is to be read")

    def shape(self, index: int) -> tuple[int, ...]:
        return self.shapes[index]

    def pixel_size(self, index: int) -> PixelSize | None:
        return self.sizes[index]


def test_sizes_and_spacings_are_medians_of_what_headers_say() -> None:
    shapes: list[tuple[int, ...]] = [(10, 90, 80), (12, 100, 70), (40, 110, 60)]
    sizes = [PixelSize(0.7, 0.6, "mm", 2.5), None, PixelSize(900.0, 800.0, "µm", 5000.0)]
    geometry = VolumeGeometry.of(Sized(shapes, sizes))
    assert geometry.size == (12, 100, 70)
    assert geometry.spacing == pytest.approx((3.75, 0.8, 0.7))
    seen = geometry.seen(TrainingConfig(spacing=(1.25, 0.8, 1.4)))
    assert seen == VolumeGeometry((36, 100, 35), (1.25, 0.8, 1.4))
    assert geometry.seen(TrainingConfig(center_crop=(8, 64, 96))).size == (8, 64, 70)
    assert geometry.target(TrainingConfig(spacing="median")) == geometry.spacing
    unknown = VolumeGeometry.of(Sized(shapes, [None] * 3))
    assert unknown.spacing is None
    with pytest.raises(InputError, match="--spacing median: no file"):
        unknown.target(TrainingConfig(spacing="median"))


def test_strides_and_kernels_follow_crop_and_spacing_and_reach_the_members() -> None:
    geometry = VolumeGeometry((40, 200, 200), (3.0, 1.0, 1.0))
    config = TrainingConfig(crop=(8, 64, 64))
    own = fitted("unet", {"channels": (4, 5, 6)}, config, geometry)
    assert own["strides"] == ((1, 2, 2), (2, 2, 2))
    assert own["kernels"] == ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    given = ((2, 2, 2), (2, 2, 2))
    assert fitted("unet", {"channels": (4, 5, 6), "strides": given}, config, geometry)["strides"] == given
    members = {"members": ("unet", "m-heads"), "member_settings": {"unet": {"channels": (4, 5)}}}
    inner = fitted("ensemble", members, config, geometry)["member_settings"]
    assert len(inner["unet"]["strides"]) == 1
    assert len(inner["m-heads"]["strides"]) == 3
    assert build_method("ensemble", spatial_dims=3, **{**members, "member_settings": inner}).parts()
    deep = fitted("hierarchical-probabilistic-unet", {"channels": (4,) * 7}, config, VolumeGeometry((8, 64, 64), None))
    assert deep["strides"][-1] == (1, 2, 2)  # down to a single place


def test_only_voxels_that_are_known_to_be_cubes_are_tilted() -> None:
    def tilt(voxel: tuple[float, float, float] | None, **settings: Any) -> float | None:
        return with_tilt(TrainingConfig(**settings), VolumeGeometry((9, 9, 9), voxel)).augmentation.tilt

    assert tilt((1.0, 1.2, 1.4)) == TILT
    assert tilt((2.5, 0.7, 0.6)) == 0
    assert tilt(None) == 0
    assert tilt((2.5, 0.7, 0.7), spacing=(1.0, 1.0, 1.0)) == TILT
    assert tilt((2.5, 0.7, 0.6), augmentation={"tilt": 3.0}) == 3.0


def test_settings_of_the_other_dimension_are_refused() -> None:
    for settings, dims, words in (
        ({"crop": (8, 64, 64)}, 2, "--crop has three sides, and these are images of two: .* such as --crop 64$"),
        ({"crop": (8, 64, 48), "slices": 1}, 2, "and slices of volumes are images of two: .* such as --crop 64$"),
        ({"center_crop": (8, 64, 64)}, 2, "--center-crop has three sides"),
        ({"spacing": "median"}, 2, "--spacing is for volumes"),
        ({"resize": (64, 64)}, 3, "--resize is for images"),
    ):
        with pytest.raises(InputError, match=words):
            require_fitting(TrainingConfig(**settings), dims)
    with pytest.raises(ValueError, match=r"spacing and slices exclude each other: .* leave out spacing, or"):
        TrainingConfig(spacing="median", slices=0)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if 3 not in method.dimensions])
def test_methods_for_images_are_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{name} takes images of two dimensions.*choose one of unet,.*--slices"):
        train_run(Plan(name, settings={"max_steps": 1}), ball_source(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_preset_may_have_settings_of_its_own_for_volumes() -> None:
    plan = Plan("probabilistic-unet")
    assert resolve(plan)[0]["channels"] == (16, 32, 64, 96)
    assert resolve(for_data(plan, ball_source()))[0]["channels"] == (8, 16, 32, 64)
    sliced = replace(plan, settings={"slices": 0})
    assert for_data(sliced, ball_source()).spatial_dims == 2


@pytest.mark.parametrize("spacing", [None, "median", (1.0, 1.0, 1.2)])
def test_a_run_on_volumes_predicts_on_their_own_grid(spacing: Any, tmp_path: Path) -> None:
    plan = Plan("probabilistic-unet", settings={**TINY, "spacing": spacing})
    train_run(plan, ball_source(), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.record.config["spatial_dims"] == 3
    want = {None: None, "median": (2.5, 0.7, 0.6)}.get(spacing, spacing) if spacing != (1.0, 1.0, 1.2) else spacing
    assert run.record.preprocessing.spacing == want
    view = ExampleView(Balls(2, 1), (0, 1), run.record.preprocessing, (1,))
    evaluation = evaluate(run.method, view, Sampling(3))
    assert len(evaluation.rows) == 2
    assert 0 <= evaluation.totals["ged"] <= 2

    class Images(ImageSet):
        base = Balls(2, 1)
        names = base.names

        def __getitem__(self, index: int) -> torch.Tensor:
            return self.base[index].image

        def pixel_size(self, index: int) -> PixelSize:
            return PIXEL_SIZE

    for number, one in enumerate(predict(run.method, Images(), run.record.preprocessing, Sampling(3))):
        shape = Balls(2, 1).shape(number)
        assert one.size == shape
        assert one.samples.shape == (3, *shape)
        assert one.mean.shape == (2, *shape)
        torch.testing.assert_close(torch.from_numpy(one.mean).sum(0), torch.ones(shape))


def test_a_killed_run_on_volumes_is_resumed(tmp_path: Path) -> None:
    settings = {**TINY, "max_steps": 4}
    train_run(Plan("unet", settings=settings), ball_source(), tmp_path / "whole")
    train_run(Plan("unet", settings={**settings, "max_steps": 2}), ball_source(), tmp_path / "parts")
    train_run(Plan("unet", settings={**settings, "max_steps": 4}), ball_source(), tmp_path / "parts", resume=True)
    one, other = (load_run(tmp_path / name) for name in ("whole", "parts"))
    assert one.record.config == other.record.config
    assert other.record.steps == 4


def test_a_plan_for_volumes_speaks_of_depth_and_memory() -> None:
    class Numbers:
        memory = 1e9

        def step_seconds(self, config: TrainingConfig) -> float:
            return 0.1

        def image_seconds(self, config: TrainingConfig) -> float:
            return 0.05

        def step_bytes(self, config: TrainingConfig) -> float:
            return 2e7 * config.batch_size

        def image_bytes(self) -> float:
            return 900.0

    plan = prepare(Plan("unet", settings={"max_steps": 900}), ball_source(), machine=Numbers())
    assert plan.made is not None
    said = "\n".join([plan.made.summary, *plan.made.reasons])
    assert "volumes of 7x22x18 voxels (depth x height x width, median; they differ)" in said
    assert "the size of a voxel 2.5 x 0.7 x 0.6 mm" in said
    assert "memory: about 0.075 GB for a step" in said
    assert "of decoded volumes at most" in said
