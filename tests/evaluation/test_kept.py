"""Which images of an evaluation are kept for figures, and that they are what was evaluated."""

from __future__ import annotations

import math

import pytest
import torch

from plurimask.data.example import Example
from plurimask.data.preprocessing import Preprocessing
from plurimask.data.worlds.lesions import lesion_source
from plurimask.evaluation.evaluate import EvaluatedImage, ExampleView, evaluate
from plurimask.evaluation.kept import KeptImages
from plurimask.methods import build_method
from plurimask.prediction.predict import Sampling, predict_images


def image(ged: float, height: int = 3) -> EvaluatedImage:
    example = Example("x", torch.zeros(2, height, 5), torch.zeros(4, height, 5, dtype=torch.uint8))
    samples, mean = torch.zeros(6, height, 5, dtype=torch.uint8), torch.zeros(2, height, 5)
    return EvaluatedImage(example, samples, mean, mean[0], mean[1], mean, {"ged": ged})


BYTES = 15 * (2 * 4 + 4 + 6 + (2 + 1 + 1 + 2) * 4)
"""Of one image."""


def geds(count: int) -> list[float]:
    values = torch.rand(count, generator=torch.Generator().manual_seed(count)).tolist()
    return [math.nan if number % 7 == 5 else value for number, value in enumerate(values)]


def test_the_size_is_that_of_all_maps() -> None:
    assert image(0.5).num_bytes == BYTES


def test_all_are_kept_where_they_fit() -> None:
    kept = KeptImages(num_extreme=2, max_bytes=20 * BYTES)
    for ged in geds(20):
        kept(image(ged))
    assert list(kept.images) == list(range(20))


@pytest.mark.parametrize(("max_images", "num_spread"), [(25, 3), (12, 5), (0, 4), (0, 1)])
@pytest.mark.parametrize("count", [0, 1, 8, 61, 300])
def test_too_many_are_thinned_evenly_and_the_extremes_stay(count: int, max_images: int, num_spread: int) -> None:
    kept, values = KeptImages(3, num_spread, max_images * BYTES), geds(count)
    for ged in values:
        kept(image(ged))
        assert len(kept.images) <= max(max_images, 2 * num_spread + 6)
    ranking = sorted(number for number, ged in enumerate(values) if not math.isnan(ged))
    ranking.sort(key=lambda number: values[number])
    extreme = {*ranking[:3], *ranking[-3:]}
    assert extreme <= set(kept.images) and list(kept.images) == sorted(kept.images)
    others = sorted(set(kept.images) - extreme)
    assert any(set(others) == set(range(0, count, 2**power)) - extreme for power in range(10))
    assert len(kept.images) >= min(count, num_spread)
    assert all(one.row["ged"] is values[number] for number, one in kept.images.items())


def test_what_is_kept_is_what_was_evaluated_and_holds_no_batch_alive() -> None:
    source = lesion_source(num_train=2, num_val=7, seed=2, size=36)
    view = ExampleView(source.splits["val"], range(7), Preprocessing(mean=(80.0,), std=(20.0,), center_crop=25), (1,))
    torch.manual_seed(0)
    method, sampling = build_method("probabilistic-unet", channels=(6, 8)).eval(), Sampling(5, seed=3, batch_size=4)
    kept = KeptImages()
    rows = evaluate(method, view, sampling, kept).rows
    assert [one.row for one in kept.images.values()] == rows
    examples = [view.preprocessing.example(view.examples[index]) for index in view.indices]
    number = 0
    for _, samples, statistics, *_ in predict_images(method, [(one.name, one.image) for one in examples], sampling):
        maps = (statistics.mean(), statistics.entropy(), statistics.mutual_information(), statistics.variance())
        for position in range(samples.shape[1]):
            one = kept.images[number]
            found = (one.samples, one.mean, one.entropy, one.mutual_information, one.variance)
            expected = (samples[:, position], *(part[position] for part in maps))
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))
            assert all(mine.untyped_storage().nbytes() == mine.nbytes for mine in found)
            assert one.example.name == examples[number].name
            assert torch.equal(one.example.image, examples[number].image)
            assert torch.equal(one.example.labels, examples[number].labels)
            number += 1
    assert number == 7
