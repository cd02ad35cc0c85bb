"""What predicting an image takes at most, found by a small one."""

from __future__ import annotations

import pytest
import torch

from plurimask.method import SegmentationMethod
from plurimask.methods import build_method
from plurimask.nn import strips
from plurimask.prediction.budget import Budget
from plurimask.prediction.memory import PROGRAM, LiveTensors, bytes_per_pixel, memory_bound
from plurimask.prediction.predict import Sampling, predict_images

SETTINGS = {"image_channels": 2, "num_classes": 3, "channels": (24, 20, 14)}
HIERARCHICAL = "hierarchical-probabilistic-unet"


def build(name: str) -> SegmentationMethod:
    torch.manual_seed(0)
    return build_method(name, **SETTINGS, **({"latent_dims": (1, 2)} if name == HIERARCHICAL else {})).eval()


def most_held(name: str, size: tuple[int, int]) -> float:
    """Bytes a pixel, of one sample of an image of this size and its statistics."""
    method, image = build(name), torch.randn(2, *size)
    with LiveTensors() as live:
        for batch in predict_images(method, [("a", image)], Sampling(1)):
            batch.statistics.mean(), batch.statistics.mutual_information(), batch.statistics.variance()
    return live.most / (size[0] * size[1])


def test_tensors_are_counted_while_they_are_there() -> None:
    with LiveTensors() as live:
        first = torch.zeros(1000)
        view, second = first[:10], torch.ones(500) + 1  # a sum holds what it is made of
        assert live.now == 4 * 1500 and live.most == 4 * 2000
        del first
        assert live.now == 4 * 1500  # the view holds it
        del view, second
    assert live.now == 0 and live.most == 4 * 2000


@pytest.mark.parametrize("name", ["dropout-unet", "m-heads", "probabilistic-unet", HIERARCHICAL])
def test_a_small_image_tells_what_a_larger_one_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    per_pixel = bytes_per_pixel(build(name), 2)
    monkeypatch.setattr(strips, "MAX_PIXELS", 2**12)
    monkeypatch.setattr(strips, "STRIP_PIXELS", 2**10)
    assert 0.5 * per_pixel < most_held(name, (640, 96)) < 1.1 * per_pixel


def test_strips_take_less_than_the_whole_and_are_narrow_only_inside() -> None:
    before = strips.MAX_PIXELS, strips.STRIP_PIXELS
    assert bytes_per_pixel(build("unet"), 2) < 0.8 * most_held("unet", (512, 32))
    assert before == (strips.MAX_PIXELS, strips.STRIP_PIXELS)


def test_the_bound_grows_with_image_and_samples() -> None:
    bounds = [memory_bound(100.0, pixels, 3, samples) for pixels, samples in ((10**6, 4), (10**7, 4), (10**7, 64))]
    assert bounds == sorted(bounds) and bounds[1] - bounds[0] == pytest.approx(9 * 10**6 * (150 + 24 + 8))


def test_what_an_image_left_takes_no_room_from_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allocators keep what was freed until they are asked: it is no memory of the program's."""
    taken = [900_000_000]
    monkeypatch.setattr("plurimask.prediction.budget.resident_bytes", lambda: taken[0])
    monkeypatch.setattr("plurimask.prediction.budget.give_back", lambda: taken.__setitem__(0, 450_000_000))
    budget = Budget(build("unet"), 1_200_000_000, 4, 2)
    assert budget.free == 1_200_000_000 - PROGRAM
