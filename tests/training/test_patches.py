"""Patches of volumes: by objects, spacing, memory and time. Machines are given by numbers, nothing is timed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from volume_world import PIXEL_SIZE, ball_source

from plurimask.data.crops import sides_of
from plurimask.data.example import Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.remembered import CachedVolumes, VolumeCache
from plurimask.data.slices import in_slices
from plurimask.training.batches import TrainingBatches, TrainingData
from plurimask.training.candidates import Task
from plurimask.training.config import TrainingConfig
from plurimask.training.look import DataLook, look_at
from plurimask.training.patches import patches
from plurimask.training.plan import TrainingPlan, make_plan

SIZE = (90, 512, 480)
CT = DataLook(
    num_images=40,
    num_seen=12,
    depth=SIZE[0],
    height=SIZE[1],
    width=SIZE[2],
    voxel=(2.5, 0.7, 0.7),
    is_one_size=False,
    num_classes=2,
    num_raters=4,
    foreground=0.002,
    object_side=60,
    object_depth=15,
    object_width=25,
    agreement=0.8,
)


class Numbers:
    """A machine by its speed and memory, for a million voxels."""

    def __init__(self, seconds: float, step: float, image: float, memory: float) -> None:
        self.seconds, self.step, self.image, self.memory = seconds, step, image, memory

    def _voxels(self, crop: int | tuple[int, ...] | None) -> int:
        return math.prod(SIZE if crop is None else map(min, SIZE, sides_of(crop, 3)))

    def step_seconds(self, config: TrainingConfig) -> float:
        return self.seconds * config.batch_size * self._voxels(config.crop) / 1e6

    def image_seconds(self, config: TrainingConfig) -> float:
        return 0.1 * self.seconds * self._voxels(config.validation_crop) * config.validation_samples / 1e6

    def step_bytes(self, config: TrainingConfig) -> float:
        return self.step * config.batch_size * self._voxels(config.crop) / 1e6

    def image_bytes(self) -> float:
        return self.image / 1e6


def planned(look: DataLook, machine: Numbers, **settings: Any) -> tuple[TrainingConfig, TrainingPlan]:
    given = TrainingConfig(**{"max_minutes": 60.0, **settings})
    return make_plan(Task(look, given, settings.keys(), 10, 1, machine))


def test_patches_are_as_large_as_objects_ask_for_and_as_deep_as_wide_in_millimetres() -> None:
    found = list(patches(CT))
    assert found == [(28, 96, 96), (16, 64, 64), (15, 48, 48), (15, 32, 32)]
    alike = CT.model_copy(update={"voxel": None})
    assert next(patches(alike)) == (90, 96, 96)
    thin = CT.model_copy(update={"depth": 6, "height": 40, "object_depth": 5})
    assert next(patches(thin)) == (6, 40, 96)
    many = CT.model_copy(update={"voxel": (9.0, 0.7, 0.7), "object_depth": 2})
    assert list(patches(many))[-1] == (8, 32, 32)


def test_a_step_that_memory_does_not_hold_is_not_chosen() -> None:
    ample, _ = planned(CT, Numbers(0.01, 1e9, 1e3, 1e12))
    assert ample.crop == (28, 96, 96)
    assert ample.batch_size == 4
    scarce, _ = planned(CT, Numbers(0.01, 1e9, 1e3, 2e8))
    assert scarce.crop is not None
    assert scarce.batch_size * math.prod(sides_of(scarce.crop, 3)) <= 2e5
    assert scarce.crop_on_objects > 0.5


def test_volumes_that_memory_does_not_hold_whole_are_validated_by_windows() -> None:
    whole, _ = planned(CT, Numbers(0.001, 1e3, 1e9, 1e12))
    assert whole.validation_crop is None
    windows, plan = planned(CT, Numbers(0.001, 1e3, 1e9, 2e10))
    assert windows.validation_crop == windows.crop
    said = "\n".join(plan.reasons)
    assert f"windows of {' x '.join(map(str, sides_of(windows.crop or 0, 3)))} around objects" in said
    assert "memory: about" in said


def test_small_volumes_are_seen_whole() -> None:
    small = CT.model_copy(update={"depth": 12, "height": 64, "width": 64})
    config, plan = planned(small, Numbers(0.001, 1e3, 1e3, 1e12))
    assert config.crop is None
    assert "whole images" in plan.summary


def test_a_look_at_volumes_knows_their_depth_and_their_voxels() -> None:
    source = ball_source(6, 2)
    look = look_at(source.splits["train"], source.description)
    assert look.size == (7, 22, 18)
    assert look.voxel == (PIXEL_SIZE.depth, PIXEL_SIZE.height, PIXEL_SIZE.width)
    assert look.object_depth is not None
    assert look.object_side is not None
    assert 3 <= look.object_depth <= 8
    assert 9 <= look.object_side <= 18
    assert look.lines()[0].startswith("6 volumes of 7x22x18 voxels (depth x height x width, median; they differ)")
    assert "slices deep" in look.lines()[0]


def test_a_look_at_slices_counts_them_and_their_volumes() -> None:
    source = in_slices(ball_source(6, 2), 0)
    examples = source.splits["train"]
    (line,) = look_at(examples, source.description).lines()
    assert line.startswith(f"{len(examples)} slices of 6 volumes, of 22x18 pixels, 2 classes")


class One(ExampleSet):
    """A large volume with one marked voxel, and how often it was read."""

    names = groups = ("a",)

    def __init__(self) -> None:
        labels = torch.zeros(2, 10, 40, 30, dtype=torch.uint8)
        labels[1, 4, 20, 9] = 1
        image = torch.rand(1, 10, 40, 30)
        image[0, 9, 39, 29] = 1.5  # the maximum, in a corner
        self.example, self.read = Example("a", image, labels), 0

    def __getitem__(self, index: int) -> Example:
        self.read += 1
        return self.example

    def pixel_size(self, index: int) -> PixelSize:
        return PixelSize(1.0, 2.0, "mm", 4.0)


@pytest.mark.parametrize("spacing", [None, (2.0, 1.0, 1.0)])
def test_a_share_of_the_patches_holds_what_a_rater_marked(spacing: Any) -> None:
    base = One()
    preprocessing = Preprocessing(mean=(0.5,), std=(2.0,), spacing=spacing)
    data = TrainingData(base, None, preprocessing, (1,)).resampled()
    config = TrainingConfig(max_steps=1, batch_size=4, crop=(4, 8, 8), crop_on_objects=0.5, raters_per_step=2)
    batches = TrainingBatches(data, config, 0, 0, 0, 1)
    marked = []
    for step in range(60):
        images, labels = batches.batch(step)
        assert images.shape == (4, 1, 4, 8, 8)
        assert labels.shape == (4, 2, 4, 8, 8)
        marked += [bool((one == 1).any()) for one in labels]
    assert abs(sum(marked) / len(marked) - 0.5) < 0.12  # four standard errors
    base.example.labels.zero_()  # what was marked is known, and not looked for at each step
    assert sum(len(places) for rater in batches.marked.of(0, base.example.labels) for places in rater.values()) > 0
    if spacing is None:
        assert float(images.min()) >= -0.25


@pytest.mark.parametrize("spacing", [None, (2.0, 1.0, 1.0)])
def test_a_volume_for_which_there_is_room_is_read_once(spacing: Any) -> None:
    base = One()
    preprocessing = Preprocessing(mean=(0.5,), std=(2.0,), spacing=spacing)
    data = TrainingData(CachedVolumes(base, VolumeCache(2**30)), None, preprocessing, (1,)).resampled()
    config = TrainingConfig(max_steps=1, batch_size=2, crop=(4, 8, 8), crop_on_objects=0.5, raters_per_step=2)
    batches = TrainingBatches(data, config, 0, 0, 0, 1)
    for step in range(5):
        batches.batch(step)
    assert base.read == 1


def test_a_patch_is_normalised_as_its_whole_volume_is() -> None:
    base = One()
    data = TrainingData(base, None, Preprocessing(mean=(0.5,), std=(2.0,)), (1,))
    config = TrainingConfig(max_steps=1, batch_size=1, crop=(10, 40, 30))
    images, _ = TrainingBatches(data, config, 0, 0, 0, 1).batch(0)
    torch.testing.assert_close(images[0], (base.example.image - 0.5) / 2)
    scaled = Preprocessing(mean=(0.0,), std=(1.0,), image_scaling="maximum")
    part = TrainingBatches(
        TrainingData(base, None, scaled, (1,)), config.model_copy(update={"crop": (8, 8, 8)}), 0, 0, 0, 1
    )
    patch = part.batch(0)[0]
    assert 0.5 < float(patch.max()) < 1 / 1.4  # divided by the maximum of the volume, which is elsewhere
