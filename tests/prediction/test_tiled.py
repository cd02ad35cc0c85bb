"""Large images in tiles: samples and statistics of the whole image, whatever the tiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from plurimask.distribution import SegmentationDistribution, Statistics
from plurimask.method import SegmentationMethod
from plurimask.methods import build_method
from plurimask.nn.dropout import draw_masks, masks_at
from plurimask.nn.grids import BLOCK, in_blocks
from plurimask.nn.strips import strips_of
from plurimask.prediction import budget, device
from plurimask.prediction.budget import SMALLER, Budget
from plurimask.prediction.field import field_of
from plurimask.prediction.memory import PROGRAM
from plurimask.prediction.predict import PredictedBatch, Sampling, predict_images
from plurimask.prediction.seeds import generators_of
from plurimask.prediction.tiled import TiledSegmentation, averages_of, sums_at
from plurimask.prediction.tiles import TilePlan, plan_tiles

SMALL: dict[str, Any] = {"channels": (4, 6, 8), "convs_per_scale": 1}
METHODS: dict[str, dict[str, Any]] = {
    "unet": SMALL,
    "dropout-unet": SMALL | {"dropout_encoder_blocks": 2, "dropout_decoder_blocks": 1},
    "m-heads": SMALL | {"num_heads": 3, "head_convs": 1},
    "image2image-vae": SMALL,
    "probabilistic-unet": SMALL,
    "hierarchical-probabilistic-unet": {"channels": (4, 6, 8), "latent_dims": (1, 1), "blocks_per_scale": 1},
    "energy-score-unet": SMALL | {"sampled_scales": 1, "sampled_convs": 1},
    "bayes-by-backprop": SMALL,
    "probabilistic-backpropagation": SMALL,
    "lightweight-probabilistic": SMALL | {"upsampling": "nearest"},
    "ensemble": {
        "members": ("probabilistic-unet", "dropout-unet"),
        "member_settings": {"probabilistic-unet": SMALL, "dropout-unet": SMALL},
    },
}


def image_of(*size: int) -> Tensor:
    """Smooth noise, `(1, *size)`."""
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(1, 1, *(length + 8 for length in size), generator=generator)
    pool = torch.nn.functional.avg_pool2d if len(size) == 2 else torch.nn.functional.avg_pool3d
    return pool(noise, 9, 1)[0] * (9 if len(size) == 2 else 27)


def built(name: str, **more: Any) -> SegmentationMethod:
    torch.manual_seed(5)
    return build_method(name, image_channels=1, num_classes=3, **(METHODS[name] | more)).eval()


def in_tiles(method: SegmentationMethod, image: Tensor, plan: TilePlan) -> TiledSegmentation:
    def read(box: tuple[slice, ...]) -> Tensor:
        return image[(slice(None), *box)]

    averages = averages_of(method, [sums_at(method, read, plan, tile) for tile in plan])
    return TiledSegmentation(method, read, plan, averages)


def statistics(prediction: SegmentationDistribution, num_samples: int = 3) -> Statistics:
    with torch.inference_mode():
        drawn = prediction.freeze(num_samples, generators_of(3, ["one"])).statistics
        exact = prediction.closed_form
        if exact is None or prediction.components() is not None:
            return drawn
        expected = exact.entropy() - exact.mutual_information()
        return Statistics(drawn.maps, exact.mean(), expected, exact.variance())


def whole(method: SegmentationMethod, image: Tensor) -> SegmentationDistribution:
    with torch.inference_mode(), device.fast_precision(torch.device("cpu")):
        prediction: SegmentationDistribution = method(image[None])
    return prediction


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_fast_bf16", lambda _: False)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize("name", METHODS)
def test_tiles_give_what_the_whole_image_gives(name: str) -> None:
    method, image = built(name), image_of(157, 131)
    field = field_of(method, 1)
    assert field.halo is not None and max(field.halo) <= 48
    plan = plan_tiles((157, 131), field.halo, (0, 0), [2 * one for one in field.strides], 140 * 110)
    assert min(plan.grid) > 1
    expected, found = statistics(whole(method, image)), statistics(in_tiles(method, image, plan))
    assert float((expected.maps != found.maps).float().mean()) < 1e-4  # of 20,000 pixels two
    for name_of, a, b in zip(Statistics._fields[1:], expected[1:], found[1:], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4, msg=lambda text, which=name_of: f"{which}: {text}")


@pytest.mark.parametrize("name", ["unet", "probabilistic-unet", "hierarchical-probabilistic-unet"])
def test_volumes_are_cut_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "has_fast_bf16", lambda _: False)
    method = built(name, spatial_dims=3, strides=((1, 2, 2), (2, 2, 2)), kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)))
    image, field = image_of(18, 95, 85), field_of(method, 1)
    assert field.halo is not None and field.strides == (2, 4, 4) and field.halo[0] < field.halo[1]
    plan = plan_tiles((18, 95, 85), field.halo, (0, 0, 0), field.strides, 18 * 90 * 82)
    assert len(plan) > 1
    expected, found = statistics(whole(method, image)), statistics(in_tiles(method, image, plan))
    assert float((expected.maps != found.maps).float().mean()) < 1e-4
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["unet", "probabilistic-unet"])
def test_in_bf16_tiles_are_nearer_to_the_whole_than_that_is_to_float32(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is rounding, in those few places where sums in another order round to another number of bf16."""
    method, image = built(name), image_of(157, 131)
    exact = statistics(whole(method, image))
    monkeypatch.setattr(device, "has_fast_bf16", lambda _: True)
    field = field_of(method, 1)
    assert field.halo is not None
    plan = plan_tiles((157, 131), field.halo, (0, 0), [8, 8], 140 * 110)
    with strips_of(2**12):  # as images are whole that would be in tiles
        expected = statistics(whole(method, image))
    found = statistics(in_tiles(method, image, plan))
    rounding = float((expected.mean - exact.mean).abs().mean())
    assert rounding > 1e-4 and float((found.mean - expected.mean).abs().mean()) < 1e-3 * rounding
    assert float((expected.maps != found.maps).float().mean()) < 1e-4


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if an image of 128 x 128 pixels were large."""
    monkeypatch.setattr(budget, "LARGEST_WHOLE", 2**14)
    monkeypatch.setattr(budget, "TILE_SIDE", 64)
    monkeypatch.setattr(budget, "CHUNK", {2: 32})
    monkeypatch.setattr(budget, "_MOST_LOGITS", 2**16)
    monkeypatch.setattr(budget, "resident_bytes", lambda: 0)


def predicted(method: SegmentationMethod, image: Tensor, memory: float | None) -> PredictedBatch:
    bound = None if memory is None else int(memory)
    (batch,) = predict_images(method, [("one", image)], Sampling(3, seed=2, memory=bound))
    return batch


@pytest.mark.usefixtures("small_tiles", "precision")
@pytest.mark.parametrize("name", ["unet", "probabilistic-unet"])
def test_a_large_image_does_not_depend_on_the_memory(name: str) -> None:
    """To the bit, as long as the memory has room for a tile of the usual size."""
    method, image = built(name), image_of(190, 171)
    size, about = (190, 171), Budget(method, PROGRAM, 3, 1)
    tile = about.computing(about.usual(size)) + about.results(190 * 171) + 24 * 2**16
    without, ample, tight = (predicted(method, image, memory) for memory in (None, 2e9, PROGRAM + tile + 1000))
    assert not without.notes and without.fits and ample.fits and not tight.fits
    for other in (ample, tight):
        assert torch.equal(other.samples, without.samples)
        assert torch.equal(other.statistics.mean(), without.statistics.mean())
    assert isinstance(tight.prediction, TiledSegmentation) and len(tight.prediction.plan) > 4


@pytest.mark.usefixtures("small_tiles")
def test_it_is_said_where_tiles_are_smaller(precision: str) -> None:
    method, image = built("unet"), image_of(190, 171)
    about = Budget(method, PROGRAM, 3, 1)
    tile = 0.8 * about.computing(about.usual((190, 171))) + about.results(190 * 171) + 24 * 2**16
    assert predicted(method, image, PROGRAM + tile).notes == ((SMALLER,) if precision == "bf16" else ())


@pytest.mark.usefixtures("small_tiles", "float32")
def test_images_that_are_not_large_are_whole() -> None:
    for name, more, size in (
        ("unet", {}, (128, 128)),
        ("unet", {"channels": (4, 6, 8, 8)}, (190, 171)),  # sees further than a quarter of a tile
        ("lightweight-probabilistic", {"upsampling": "linear"}, (190, 171)),
    ):
        method = built(name, **more)
        assert Budget(method, 1e12, 3, 1).is_whole(size) and method.strides == field_of(method, 1).strides
    assert not Budget(built("unet"), 1e12, 3, 1).is_whole((129, 128))


@pytest.mark.usefixtures("float32")
def test_a_halo_that_is_too_small_is_seen() -> None:
    method, image = built("unet"), image_of(157, 131)
    plan = plan_tiles((157, 131), (4, 4), (0, 0), (8, 8), 70 * 70)
    assert not torch.allclose(
        statistics(in_tiles(method, image, plan)).mean, statistics(whole(method, image)).mean, atol=1e-3
    )


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    ("name", "more"),
    [("hierarchical-probabilistic-unet", {}), ("lightweight-probabilistic", {"upsampling": "linear"})],
)
def test_blended_tiles_have_no_seams(name: str, more: dict[str, Any]) -> None:
    """Labels change between neighbouring pixels at borders of tiles no more often than in the whole image there."""
    method, image = built(name, **more), image_of(231, 217)
    plan = plan_tiles((231, 217), (8, 8), (16, 16), (16, 16), 96 * 96)
    maps = statistics(in_tiles(method, image, plan), 4).maps[:, 0]
    reference = statistics(whole(method, image), 4).maps[:, 0]
    changes, expected = 0, 0
    for axis, side in ((1, plan.core[0]), (2, plan.core[1])):
        borders = torch.arange(side, maps.shape[axis], side)
        for of_all, total in ((maps, "found"), (reference, "expected")):
            steps = of_all.index_select(axis, borders) != of_all.index_select(axis, borders - 1)
            if total == "found":
                changes += int(steps.sum())
            else:
                expected += int(steps.sum())
    assert expected > 100 and changes <= expected + 3 * expected**0.5
    assert float((maps != reference).float().mean()) < 0.1


@pytest.mark.usefixtures("float32")
def test_blending_is_between_what_the_tiles_compute() -> None:
    """Where a method looks at nothing around a pixel, blended tiles are the whole image."""
    method = built("unet", channels=(4, 6), convs_per_scale=1)
    image, plan = image_of(90, 76), plan_tiles((90, 76), (32, 32), (8, 8), (8, 8), 90 * 90)
    plan = TilePlan(plan.whole, (16, 24), (32, 32), (8, 8))
    torch.testing.assert_close(
        statistics(in_tiles(method, image, plan)).mean, statistics(whole(method, image)).mean, rtol=1e-4, atol=1e-4
    )


@pytest.mark.usefixtures("float32")
def test_samples_of_tiles_are_one_draw_of_the_whole() -> None:
    """`sample` and `freeze` of one seed are the same maps, however the image is cut."""
    method, image = built("probabilistic-unet"), image_of(120, 100)
    field = field_of(method, 1)
    assert field.halo is not None
    draws = []
    for most in (100 * 90, 118 * 100):
        tiled = in_tiles(method, image, plan_tiles((120, 100), field.halo, (0, 0), (4, 4), most))
        with torch.inference_mode():
            draws.append(tiled.sample(2, generators_of(1, ["x"])))
    assert float((draws[0] != draws[1]).float().mean()) < 1e-4


def test_masks_of_a_tile_are_those_of_the_whole() -> None:
    shapes, seed = [(3, 17, 11), (5, 9, 6)], 99
    expected = draw_masks(1, shapes, 0.3, torch.Generator().manual_seed(seed))
    boxes = [(slice(4, 13), slice(2, 9)), (slice(0, 9), slice(5, 6))]
    for found, mask, box in zip(masks_at(seed, shapes, boxes, 0.3), expected, boxes, strict=True):
        assert torch.equal(found, mask[(..., *box)])


def test_numbers_of_pixels_are_of_one_grid_of_blocks() -> None:
    def numbers(shape: Any, generator: torch.Generator) -> Any:
        yield torch.rand(shape, generator=generator)

    size = (3, BLOCK + 40)
    (all_of_it,) = in_blocks(numbers, 5, 2, size, (slice(0, 3), slice(0, size[1])))
    (part,) = in_blocks(numbers, 5, 2, size, (slice(1, 3), slice(BLOCK - 7, BLOCK + 9)))
    assert torch.equal(part, all_of_it[:, 1:3, BLOCK - 7 : BLOCK + 9])
    assert abs(float(all_of_it.mean()) - 0.5) < 4 * (1 / 12 / all_of_it.numel()) ** 0.5
    (small,) = in_blocks(numbers, 5, 2, (3, 40), (slice(0, 3), slice(0, 40)))
    assert torch.equal(small, torch.rand((2, 3, 40), generator=torch.Generator().manual_seed(5)))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: built("unet", channels=(4, 6), convs_per_scale=2), 18),  # 2 + 2 * 2 + 2, with pooling and linear up
        (lambda: built("lightweight-probabilistic", upsampling="linear"), None),
    ],
)
def test_the_field_is_measured(build: Callable[[], SegmentationMethod], expected: int | None) -> None:
    field = field_of(build(), 1)
    if expected is None:
        assert field.halo is None
    else:
        assert field.halo is not None and 8 <= field.halo[0] <= expected and field.halo[0] == field.halo[1]
