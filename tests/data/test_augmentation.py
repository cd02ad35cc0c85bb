import numpy as np
import pytest
import torch
from pydantic import ValidationError

from plurimask.data.augmentation import Augmentation, AugmentationConfig, elastic_field, warp
from plurimask.distribution import IGNORE
from plurimask.errors import InputError

OFF = AugmentationConfig.off()
EVERYTHING = AugmentationConfig(flip_vertical=0.5, rotation=40, scale=(0.7, 1.4), elastic_probability=0.6)
GEOMETRY = EVERYTHING.model_copy(update={"gamma_probability": 0.0})


def blocks(batch_size=5, num_raters=3, num_classes=11, size=(24, 36)):
    """Label maps of 6 x 6 blocks, each rater another."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(
        num_classes, (batch_size, num_raters, size[0] // 6, size[1] // 6), generator=generator, dtype=torch.uint8
    )
    return coarse.repeat_interleave(6, 2).repeat_interleave(6, 3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_off_is_the_identity():
    labels = blocks()
    images = torch.randn(5, 2, 24, 36)
    found_images, found_labels = Augmentation(OFF)(images, labels, seeded())
    assert torch.equal(found_images, images) and torch.equal(found_labels, labels)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "config", [GEOMETRY, OFF.model_copy(update={"rotation": 90.0}), OFF.model_copy(update={"elastic_probability": 1.0})]
)
def test_image_and_labels_move_alike(config, seed):
    """Images that show the raters' classes: where a pixel is read from one block, image and label must agree."""
    labels = blocks()
    images = labels.float() + 1  # outside is 0
    found_images, found_labels = Augmentation(config)(images, labels, seeded(seed))
    expected = torch.where(found_labels == IGNORE, 0, found_labels.float() + 1)
    # Bilinear reading mixes blocks at their borders only.
    agree = (found_images - expected).abs() < 1e-3
    assert float(agree.float().mean()) > 0.6
    unrelated = (found_images.roll(1, 0) - expected).abs() < 1e-3
    assert float(unrelated.float().mean()) < 0.5
    # A bilinear value lies between those of the four pixels around, one of which is the nearest: in the interior of
    # blocks (all label neighbours alike) there are no exceptions.
    padded = torch.nn.functional.pad(found_labels.float(), (2, 2, 2, 2), value=-1)
    windows = padded.unfold(2, 5, 1).unfold(3, 5, 1).flatten(4)
    interior = (windows == windows[..., :1]).all(-1)
    assert bool(agree[interior].all()) and int(interior.sum()) > 100


def test_flips_alone_do_not_interpolate():
    config = OFF.model_copy(update={"flip_horizontal": 0.5, "flip_vertical": 0.5})
    images, labels = torch.randn(40, 2, 5, 7), torch.randint(3, (40, 3, 5, 7), dtype=torch.uint8)
    found_images, found_labels = Augmentation(config)(images, labels, seeded())
    seen = set()
    for index in range(40):
        for axes in ((), (1,), (2,), (1, 2)):
            if torch.equal(found_images[index], images[index].flip(axes)):
                assert torch.equal(found_labels[index], labels[index].flip(axes))
                seen.add(axes)
    assert len(seen) == 4


def test_flips_inside_the_grid_equal_flips():
    config = OFF.model_copy(update={"flip_horizontal": 1.0, "scale": (1.0, 1.0), "rotation": 1e-6})
    images, labels = torch.randn(2, 1, 6, 9), torch.randint(3, (2, 2, 6, 9), dtype=torch.uint8)
    found_images, found_labels = Augmentation(config)(images, labels, seeded())
    assert torch.equal(found_labels, labels.flip(-1))
    assert torch.allclose(found_images, images.flip(-1), atol=1e-4)


def test_a_quarter_turn_and_a_magnification_are_what_they_say():
    labels = torch.zeros(1, 1, 12, 12, dtype=torch.uint8)
    labels[0, 0, 4:8, 4:8] = 1
    augment = Augmentation(OFF.model_copy(update={"scale": (2.0, 2.0)}))
    _, found = augment(labels.float(), labels, seeded())
    assert found[0, 0, 2:10, 2:10].all() and int(found.sum()) == 64
    y, x = torch.meshgrid(torch.arange(5) - 2.0, torch.arange(5) - 2.0, indexing="ij")
    image = torch.randn(1, 1, 5, 5)
    turned, _ = warp(image, torch.zeros(1, 1, 5, 5, dtype=torch.uint8), torch.stack([-y, x], -1)[None])
    assert torch.allclose(turned, image.rot90(1, (2, 3)), atol=1e-5) or torch.allclose(
        turned, image.rot90(-1, (2, 3)), atol=1e-5
    )


def test_absent_raters_stay_absent_and_no_class_appears():
    labels = blocks()
    labels[:, 1] = IGNORE
    labels[2, 0] = 7
    for seed in range(5):
        _, found = Augmentation(EVERYTHING)(torch.randn(5, 2, 24, 36), labels, seeded(seed))
        assert found.dtype == torch.uint8 and found.shape == labels.shape
        assert bool((found[:, 1] == IGNORE).all())
        assert set(found.unique().tolist()) <= {*range(11), IGNORE}
        assert set(found[2, 0].unique().tolist()) <= {7, IGNORE}


def test_all_classes_and_unjudged_pixels_survive():
    labels = torch.arange(11, dtype=torch.uint8).repeat_interleave(4)[None, None, None].expand(1, 1, 8, 44).clone()
    labels[..., 20:24] = IGNORE  # class 5 is not judged
    _, found = Augmentation(OFF.model_copy(update={"rotation": 0.5}))(torch.zeros(1, 1, 8, 44), labels, seeded())
    assert set(found.unique().tolist()) == {*range(11), IGNORE} - {5}


def test_outside_the_frame_nobody_judged():
    images, labels = torch.ones(1, 1, 12, 16), torch.zeros(1, 2, 12, 16, dtype=torch.uint8)
    found_images, found_labels = Augmentation(OFF.model_copy(update={"scale": (0.5, 0.5)}))(images, labels, seeded())
    inside = torch.zeros(12, 16, dtype=torch.bool)
    inside[3:9, 4:12] = True
    assert torch.equal(found_labels[0, 0] == 0, inside) and torch.equal(found_labels[0, 1] == IGNORE, ~inside)
    assert bool((found_images[0, 0][~inside] == 0).all()) and bool((found_images[0, 0][4:8, 5:11] == 1).all())


def test_the_seed_decides():
    images, labels = torch.randn(5, 2, 24, 36), blocks()
    first, again = (Augmentation(EVERYTHING)(images, labels, seeded(3)) for _ in range(2))
    other = Augmentation(EVERYTHING)(images, labels, seeded(4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[1], other[1])


def test_autocast_changes_nothing_and_inputs_are_kept():
    images, labels = torch.randn(5, 2, 24, 36), blocks()
    kept = images.clone(), labels.clone()
    expected = Augmentation(EVERYTHING)(images, labels, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        found = Augmentation(EVERYTHING)(images, labels, seeded())
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert torch.equal(images, kept[0]) and torch.equal(labels, kept[1])


def test_gamma_keeps_extremes_and_order_and_the_labels():
    config = OFF.model_copy(update={"gamma_probability": 1.0, "gamma": (2.0, 2.0)})
    images, labels = torch.randn(3, 2, 4, 5), torch.zeros(3, 1, 4, 5, dtype=torch.uint8)
    images[2] = 0.25  # a constant image
    found, found_labels = Augmentation(config)(images, labels, seeded())
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    expected = ((images - low) / (high - low)) ** 2 * (high - low) + low
    assert torch.allclose(found[:2], expected[:2], atol=1e-6) and torch.equal(found[2], images[2])
    assert torch.equal(found_labels, labels)


@pytest.mark.parametrize("sigma", [1.0, 3.0, 6.0])
def test_elastic_displacements_have_their_deviation_and_range(sigma):
    config = OFF.model_copy(update={"elastic_alpha": 1.7, "elastic_sigma": sigma})
    field = elastic_field(60, (48, 40), config, seeded()).double().numpy()
    assert field.shape == (60, 48, 40, 2)
    # About H W / (4 pi sigma^2) independent values a field: the standard error of their variance.
    num = 60 * 2 * 48 * 40 / (4 * np.pi * sigma**2)
    variance = np.mean(field**2) / 1.7**2
    assert abs(variance - 1) < 4 * np.sqrt(2 / num) + 0.06  # bicubic interpolation between knots loses a little
    neighbours = np.mean(field[:, :, 1:] * field[:, :, :-1]) / np.mean(field**2)
    assert neighbours == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.03)


def test_shear_moves_rows_sideways_and_keeps_them():
    """Each row of the labels is read from one row of the image, displaced in proportion to its height."""
    config = AugmentationConfig.off().model_copy(update={"shear": 40.0})
    rows = torch.arange(21).view(1, 1, 21, 1).expand(3, 1, 21, 31).to(torch.uint8)
    images, labels = Augmentation(config)(rows.float(), rows, torch.Generator().manual_seed(0))
    inside = labels != IGNORE
    assert torch.equal(labels[inside], rows[inside])
    edges = inside[:, 0].int().argmax(2)  # the first column inside the frame, of each row
    assert bool((edges[:, 0] != edges[:, -1]).all())
    middle = images[:, 0, 10]
    torch.testing.assert_close(middle, torch.full_like(middle, 10.0))


def test_errors_say_what_is_wrong():
    with pytest.raises(InputError, match="one batch and size"):
        Augmentation(OFF)(torch.zeros(2, 1, 4, 5), torch.zeros(2, 1, 5, 4, dtype=torch.uint8))
    with pytest.raises(ValidationError, match="smaller first"):
        AugmentationConfig(scale=(1.2, 0.8))
    with pytest.raises(ValidationError, match="extra"):
        AugmentationConfig(twist=3)


def volumes(seed=0):
    """Values that tell the place, and raters who threshold them."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(7, (4, 3, 3, 4, 5), generator=generator, dtype=torch.uint8)
    return coarse.repeat_interleave(3, 2).repeat_interleave(6, 3).repeat_interleave(6, 4)


@pytest.mark.parametrize("tilt", [None, 12.0])
@pytest.mark.parametrize("elastic", [0.0, 1.0])
def test_volumes_and_all_their_raters_move_alike(tilt, elastic):
    config = GEOMETRY.model_copy(update={"tilt": tilt, "flip_depth": 0.5, "elastic_probability": elastic})
    labels = volumes()
    found_images, found_labels = Augmentation(config)(labels.float() + 1, labels, seeded())
    expected = torch.where(found_labels == IGNORE, 0, found_labels.float() + 1)
    agree = (found_images - expected).abs() < 1e-3
    padded = torch.nn.functional.pad(found_labels.float(), (2,) * 6, value=-1)
    windows = padded.unfold(2, 5, 1).unfold(3, 5, 1).unfold(4, 5, 1).flatten(5)
    interior = (windows == windows[..., :1]).all(-1)
    assert bool(agree[interior].all())
    assert float(agree.float().mean()) > 0.3
    assert not torch.equal(found_labels, labels)


def test_slices_are_moved_alike_and_never_mixed():
    """Each slice has a value of its own: it stays, wherever it was inside the frame."""
    places = torch.arange(1, 6).view(1, 1, 5, 1, 1).expand(3, 1, 5, 20, 24)
    images, labels = Augmentation(GEOMETRY)(places.float(), places.to(torch.uint8), seeded())
    inside = labels != IGNORE
    assert torch.equal(labels[inside], places[inside].to(torch.uint8))
    assert torch.equal(inside[:, :, :1].expand_as(inside), inside)
    middle = images[:, 0, :, 8:12, 10:14]
    torch.testing.assert_close(middle, places[:, 0, :, 8:12, 10:14].float())


def test_the_order_of_slices_is_reversed_whole():
    labels = volumes()
    found, again = Augmentation(OFF.model_copy(update={"flip_depth": 1.0}))(labels.float(), labels, seeded())
    assert torch.equal(found, labels.float().flip(2)) and torch.equal(again, labels.flip(2))


def test_a_quarter_tilt_exchanges_depth_and_an_axis_of_the_plane():
    """With tilts of exactly 90 degrees and cubes, values only change places."""
    augmentation = Augmentation(OFF.model_copy(update={"tilt": 90.0}))
    matrix = augmentation._tilted(torch.eye(2)[None].repeat(40, 1, 1), torch.ones(40), seeded())
    torch.testing.assert_close(matrix @ matrix.mT, torch.eye(3).expand(40, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(matrix), torch.ones(40))
    assert float(matrix[:, 2, :2].abs().amax()) > 0.9
    still = Augmentation(OFF.model_copy(update={"tilt": 1e-6}))
    labels = volumes()
    found, again = still(labels.float(), labels, seeded())
    assert torch.equal(again, labels)
    torch.testing.assert_close(found, labels.float(), atol=1e-3, rtol=0)
