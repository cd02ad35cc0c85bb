"""Label maps of any whole type, from torch or numpy, give what uint8 tensors give."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.flips import Flip
from plurimask.metrics import (
    PixelUncertainty,
    calibration_bins,
    class_overlap,
    energy_distances,
    error_histogram,
    evaluate_image,
    evaluate_images,
    expected_dice,
    hungarian_iou_balanced,
    hungarian_iou_best_draws,
    image_distances,
    image_uncertainty,
    joint_distances,
    judged,
    log_likelihood,
    mean_entropy,
    object_scores,
    overlap,
    pairwise_distance,
    rater_distance,
    rater_votes,
    reconstruction_iou,
)
from plurimask.metrics.image_with_modes import image_with_modes
from plurimask.metrics.maps import label_maps, numbers
from plurimask.metrics.modes import expected_overlap, flip_counts, mode_distances, mode_spread, sample_modes
from plurimask.metrics.scores import evaluated

GENERATOR = torch.Generator().manual_seed(3)
SAMPLES = torch.randint(2, (5, 3, 6, 7), generator=GENERATOR, dtype=torch.uint8)
LABELS = torch.randint(2, (3, 4, 6, 7), generator=GENERATOR, dtype=torch.uint8)
MEAN = torch.randn(3, 2, 6, 7, generator=GENERATOR).softmax(1)
VALID = torch.rand(6, 7, generator=GENERATOR) < 0.7
FLIPS = (Flip(0, 2, 0.25),)
MEAN_OF_THREE = torch.randn(3, 6, 7, generator=GENERATOR).softmax(0)

CONVERSIONS: dict[str, Callable[[torch.Tensor], Any]] = {
    "torch bool": lambda maps: maps.bool(),
    "torch int64": lambda maps: maps.long(),
    "torch int16": lambda maps: maps.short(),
    "numpy bool": lambda maps: maps.numpy().astype(bool),
    "numpy uint8": lambda maps: maps.numpy(),
    "numpy int64": lambda maps: maps.numpy().astype(np.int64),
    "numpy uint16": lambda maps: maps.numpy().astype(np.uint16),
    "numpy reversed": lambda maps: maps.numpy()[..., ::-1].copy()[..., ::-1],
}


def crossed(samples: Any, labels: Any, mean: Any) -> Any:
    """Distances as a tensor, or as an array where the maps are."""
    distances = image_distances(samples[:, 1], labels[1], [1]).crossed
    return distances if mean is MEAN else distances.numpy()


CALLS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "evaluate_images": lambda s, y, p: evaluate_images(s, p, y, [1], y),
    "evaluate_image": lambda s, y, p: evaluate_image(
        s[:, 0], p[0], y[0], [1], y[0], PixelUncertainty(p[0][0], p[1][0])
    ),
    "image_with_modes": lambda s, y, _: evaluated(image_with_modes(s[:, 0], MEAN_OF_THREE, y[0, 0], FLIPS, y[0, 1])),
    "energy_distances": lambda s, y, _: energy_distances(s, y, [1]),
    "hungarian_iou_balanced": lambda s, y, p: hungarian_iou_balanced(crossed(s, y, p)),
    "hungarian_iou_best_draws": lambda s, y, p: hungarian_iou_best_draws(crossed(s, y, p)),
    "joint_distances": lambda s, y, _: joint_distances([s[:, 0], y[0]], [1], VALID),
    "pairwise_distance": lambda s, y, _: pairwise_distance(s[:, 0], y[0], [0, 1], VALID.numpy()),
    "rater_distance": lambda s, y, _: rater_distance(y[2], [1]),
    "judged": lambda s, y, _: judged(y[2]),
    "overlap": lambda s, y, _: overlap(s[0, 0], y[0], [0, 1]),
    "class_overlap": lambda s, y, _: class_overlap(s[0, 0], rater_votes(y[0], 2)),
    "calibration_bins": lambda s, y, p: calibration_bins(p[0], rater_votes(y[0], 2), [1]),
    "log_likelihood": lambda s, y, p: log_likelihood(p[0], rater_votes(y[0], 2).numpy()),
    "error_histogram": lambda s, y, p: error_histogram(p[0], rater_votes(y[0], 2)),
    "reconstruction_iou": lambda s, y, _: reconstruction_iou(s[:4, 0], y[0], [1]),
    "expected_dice": lambda s, y, _: expected_dice(s[:, 2], [1], VALID.numpy()),
    "mean_entropy": lambda s, y, p: mean_entropy(p[0][0], VALID if p is MEAN else VALID.numpy()),
    "image_uncertainty": lambda s, y, p: image_uncertainty(s[:, 2], p[2], [1]),
    "object_scores": lambda s, y, p: object_scores(s[:, 2], p[2], p[0][0], [1]),
    "mode_distances": lambda s, y, _: mode_distances(s[:, 0], y[0, 0], FLIPS),
    "mode_spread": lambda s, y, _: mode_spread(y[0, 0], FLIPS),
    "expected_overlap": lambda s, y, _: expected_overlap(s[0, 0], y[0, 0], FLIPS),
    "flip_counts": lambda s, y, _: flip_counts(s[:, 0], y[0, 0], FLIPS),
    "sample_modes": lambda s, y, _: sample_modes(s[:, 0], y[0, 0], FLIPS),
}


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        assert_same(list(found.values()), list(expected.values()))
    elif isinstance(expected, tuple | list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected or (math.isnan(found) and math.isnan(expected))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", CONVERSIONS)
def test_every_function_takes_every_kind(kind: str, call: str) -> None:
    convert, function = CONVERSIONS[kind], CALLS[call]
    expected = function(SAMPLES, LABELS, MEAN)
    probabilities = MEAN.numpy() if kind.startswith("numpy") else MEAN
    assert_same(function(convert(SAMPLES), convert(LABELS), probabilities), expected)


@pytest.mark.parametrize("kind", ["torch int64", "torch int16", "numpy uint8", "numpy int64", "numpy uint16"])
def test_ignored_pixels_stay_ignored(kind: str) -> None:
    labels = LABELS.clone()
    labels[0, 1], labels[2, 0, :2] = IGNORE, IGNORE
    convert = CONVERSIONS[kind]
    assert_same(
        evaluate_images(convert(SAMPLES), MEAN, convert(labels), [1]), evaluate_images(SAMPLES, MEAN, labels, [1])
    )
    assert torch.equal(label_maps(convert(labels)), labels)


def test_what_is_a_tensor_already_is_not_copied() -> None:
    assert label_maps(SAMPLES) is SAMPLES and numbers(MEAN) is MEAN
    assert label_maps(np.zeros((0, 3, 2), bool)).shape == (0, 3, 2)
    assert label_maps([[0, 255], [1, 2]]).tolist() == [[0, 255], [1, 2]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        (torch.full((2, 3), 256), "torch.int64 from 256 to 256"),
        (torch.tensor([-1, 3]), "torch.int64 from -1 to 3"),
        (np.array([0, 700], np.uint16), "uint16 from 0 to 700"),
        (torch.zeros(2, 3), "torch.float32"),
        (np.zeros((2, 3)), "float64"),
        (np.array(["lesion"]), "<U6"),
    ],
)
def test_what_is_no_label_map_is_refused(maps: Any, words: str) -> None:
    with pytest.raises(
        InputError, match="masks must be bool or class indices from 0 to 255, whole numbers, not " + words
    ):
        label_maps(maps, "masks")
