"""Evaluation and prediction: draws belong to names, crops are remembered."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from plurimask.data.crops import random_crop, stack_padded
from plurimask.data.example import Example, ExampleSet
from plurimask.data.preprocessing import Preprocessing, draw_raters
from plurimask.data.worlds.lesions import lesion_source
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.evaluation.evaluate import ExampleView, evaluate, named_classes
from plurimask.flips import Flip
from plurimask.methods import build_method
from plurimask.metrics import TABLE, class_overlap, energy_distances, pairwise_distance, rater_votes, reconstruction_iou
from plurimask.metrics.error_detection import bin_errors
from plurimask.metrics.modes import mode_distances, weighted_energy_distance
from plurimask.metrics.representatives import TABLE_WITH_REPRESENTATIVES
from plurimask.prediction.predict import Sampling, predict_images, reconstruct_images
from plurimask.prediction.seeds import generators_of
from plurimask.sets.representatives import representative_maps

pytestmark = pytest.mark.usefixtures("precision")


@pytest.fixture
def view() -> ExampleView:
    source = lesion_source(num_train=2, num_val=7, seed=2, size=36)
    return ExampleView(source.splits["val"], range(7), Preprocessing(mean=(80.0,), std=(20.0,), center_crop=25), (1,))


def method(name: str) -> Any:
    torch.manual_seed(0)
    return build_method(name, channels=(6, 8)).eval()


def test_order_and_batch_size_do_not_matter(view: ExampleView) -> None:
    network = method("probabilistic-unet")
    forwards = evaluate(network, view, Sampling(6, seed=3, batch_size=1))
    backwards = evaluate(
        network, ExampleView(view.examples, range(6, -1, -1), view.preprocessing, (1,)), Sampling(6, 3, 4)
    )
    assert forwards.totals["num_images"] == 7
    ours = {row["name"]: row for row in forwards.rows}
    for row in backwards.rows:
        assert row["ged"] == pytest.approx(ours[row["name"]]["ged"], abs=0.02)  # rounding may decide a tie
    other = evaluate(network, view, Sampling(6, seed=4))
    assert any(row["ged"] != ours[row["name"]]["ged"] for row in other.rows)


def test_a_deterministic_method_has_no_diversity(view: ExampleView) -> None:
    totals = evaluate(method("unet"), view, Sampling(5)).totals
    assert totals["diversity"] == 0
    assert totals["ged_oracle"] == pytest.approx(float(totals["rater_diversity"]) * (1 / 5 + 1 / 4))  # type: ignore[arg-type]


def test_errors_are_counted_by_what_the_draws_say(view: ExampleView) -> None:
    """Mutual information and spread are those of the draws; classes are counted over all images."""
    network, sampling = method("probabilistic-unet"), Sampling(4, batch_size=3)
    evaluation = evaluate(network, view, sampling)
    seen = [view.preprocessing.example(view.examples[index]) for index in view.indices]
    expected, classes, start = torch.zeros(3, 2, 1024, dtype=torch.float64), torch.zeros(3, 2, dtype=torch.float64), 0
    for _, _, statistics, *_ in predict_images(network, [(one.name, one.image) for one in seen], sampling):
        spread = statistics.variance().sqrt().mean(1)
        for number, maps in enumerate(zip(statistics.entropy(), statistics.mutual_information(), spread, strict=True)):
            votes = rater_votes(seen[start + number].labels, 2)
            best = statistics.mean()[number].argmax(0)
            right = votes.gather(0, best[None])[0]
            expected += torch.stack([torch.stack(list(bin_errors(one, right, votes.sum(0) - right))) for one in maps])
            classes += torch.stack(list(class_overlap(best, votes)))
        start += len(spread)
    assert start == 7
    assert torch.equal(evaluation.errors.stacked(), expected)
    totals = evaluation.totals
    found = [totals[f"error_auroc{part}"] for part in ("", "_information", "_spread")]
    assert found == [one.auroc() for one in evaluation.errors]
    assert len(set(found)) == 3
    iou = (classes[0] / (classes[1] + classes[2] - classes[0])).tolist()
    assert totals["class_iou"] == pytest.approx(iou)
    assert totals["mean_class_iou"] == pytest.approx(iou[1])
    single = evaluate(method("unet"), view, Sampling(2)).totals
    assert single["error_auroc_information"] is single["error_auroc_spread"] is None
    assert single["error_auroc"] is not None
    assert single["ause"] is not None


def test_classes_are_named_in_subsets_too() -> None:
    totals = {"dice": 0.5, "class_iou": [0.25, None], "subset_b": {"class_iou": [0.5, 0.75], "iou": None}}
    assert named_classes(totals, ["ground", "tree"]) == {
        "dice": 0.5,
        "class_iou": {"ground": 0.25, "tree": None},
        "subset_b": {"class_iou": {"ground": 0.5, "tree": 0.75}, "iou": None},
    }
    with pytest.raises(ValueError, match="shorter"):
        named_classes(totals, ["ground", "tree", "sky"])


def test_draws_depend_on_seed_and_name_alone() -> None:
    one, two = generators_of(1, ["a", "b"]), generators_of(1, ["b"])
    assert torch.equal(torch.randn(4, generator=one.images[1]), torch.randn(4, generator=two.images[0]))
    assert not torch.equal(
        torch.randn(4, generator=generators_of(2, ["b"]).images[0]), torch.randn(4, generator=one.images[0])
    )


def test_the_ged_of_spread_draws_is_apart_from_that_of_independent_ones(view: ExampleView) -> None:
    """By the definition, of the draws that `predict --spread` makes; nothing else changes by it."""
    network, sampling = method("probabilistic-unet"), Sampling(8, seed=3, batch_size=4)
    evaluation = evaluate(network, view, sampling)
    seen = [view.preprocessing.example(view.examples[index]) for index in view.indices]
    images = [(one.name, one.image) for one in seen]
    spread = [batch.samples for batch in predict_images(network, images, replace(sampling, spread=True))]
    samples = torch.cat(spread, dim=1)
    with torch.inference_mode():
        want = energy_distances(samples, torch.stack([one.labels for one in seen]), (1,)).ged.tolist()
    assert [row["ged_spread"] for row in evaluation.rows] == pytest.approx(want, abs=0.02)  # rounding may decide a tie
    assert evaluation.totals["ged_spread"] == pytest.approx(float(np.mean(want)), abs=0.02)
    assert any(abs(row["ged_spread"] - row["ged"]) > 1e-3 for row in evaluation.rows)
    plain = evaluate(network, view, sampling, table=[row for row in TABLE if row.key != "ged_spread"])
    assert plain.totals == {
        key: {name: one for name, one in value.items() if name != "ged_spread"} if isinstance(value, dict) else value
        for key, value in evaluation.totals.items()
        if key != "ged_spread"
    }


@pytest.mark.parametrize("name", ["unet", "m-heads", "dropout-unet"])
def test_a_method_without_latents_has_no_spread_draws(name: str, view: ExampleView) -> None:
    assert evaluate(method(name), view, Sampling(3)).totals["ged_spread"] is None
    with pytest.raises(InputError, match="spread draws are for methods that draw latents of an image"):
        next(predict_images(method(name), [("a", torch.randn(1, 9, 7))], Sampling(3, spread=True)))


def test_spread_draws_where_classes_flip(view: ExampleView) -> None:
    flips = (Flip(1, 2, 0.4),)
    flipping = stored(view, lambda _, one: replace(one, labels=one.labels[:1], flips=flips))
    torch.manual_seed(0)
    network = build_method("probabilistic-unet", channels=(6, 8), num_classes=3).eval()
    rows = evaluate(network, replace(flipping, counted_classes=(1, 2)), Sampling(4)).rows
    first = next(number for number, row in enumerate(rows) if not math.isnan(row["ged"]))
    seen = view.preprocessing.example(flipping.examples[first])
    (batch,) = predict_images(network, [(seen.name, seen.image)], Sampling(4, spread=True))
    want = weighted_energy_distance(mode_distances(batch.samples[:, 0], seen.labels[0], flips)).ged
    assert rows[first]["ged_spread"] == pytest.approx(want, abs=0.02)
    assert all(math.isnan(row["ged_spread"]) == math.isnan(row["ged"]) for row in rows)


def test_images_of_mixed_sizes_come_back_in_order() -> None:
    sizes = [(9, 7), (9, 7), (8, 12), (9, 7)]
    images = [(str(number), torch.randn(1, *size)) for number, size in enumerate(sizes)]
    seen = []
    for names, samples, *_ in predict_images(method("probabilistic-unet"), images, Sampling(3)):
        seen += [(name, tuple(samples[:, number].shape)) for number, name in enumerate(names)]
    assert seen == [(str(number), (3, *size)) for number, size in enumerate(sizes)]


class Stored(ExampleSet):
    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples
        self.names = self.groups = [one.name for one in examples]

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def stored(view: ExampleView, change: Any) -> ExampleView:
    """The view with each example changed; `change` is given its number too."""
    return replace(view, examples=Stored([change(number, view.examples[number]) for number in view.indices]))


def reconstructed(network: Any, view: ExampleView, number: int) -> Any:
    """The figures of one image's reconstructions, made by themselves."""
    one = view.preprocessing.example(view.examples[number])
    made = reconstruct_images(network, [one.image], [one.labels])
    assert made is not None
    return reconstruction_iou(made[0], one.labels, view.counted_classes)


@pytest.mark.parametrize("name", ["probabilistic-unet", "image2image-vae"])
def test_reconstructions_are_of_each_image_s_own_raters(name: str, view: ExampleView) -> None:
    """In batches, with absent raters, and with images that have more raters than others of their batch."""

    def fewer(number: int, one: Example) -> Example:
        labels = one.labels[: 4 - number % 3].clone()
        labels[0, :, : number * 2] = IGNORE
        if number == 5:
            labels[0] = IGNORE
        if number == 6:
            labels[:] = IGNORE
        return replace(one, labels=labels)

    network, mixed = method(name), stored(view, fewer)
    evaluation = evaluate(network, mixed, Sampling(2, batch_size=5))
    marked = [row["reconstruction_iou_marked"] for row in evaluation.rows]
    for number, row in enumerate(evaluation.rows):
        want = reconstructed(network, mixed, number)
        assert row["reconstruction_iou"] == pytest.approx(want.iou, abs=0.05, nan_ok=True)  # rounding may decide a tie
        assert row["reconstruction_iou_marked"] == pytest.approx(want.marked, abs=0.05, nan_ok=True)
    assert math.isnan(evaluation.rows[6]["reconstruction_iou"])
    assert evaluation.totals["reconstruction_iou"] == pytest.approx(
        sum(row["reconstruction_iou"] for row in evaluation.rows[:6]) / 6
    )
    assert 0 < sum(not math.isnan(value) for value in marked) < 7
    assert evaluation.totals["reconstruction_iou_marked"] == pytest.approx(np.nanmean(marked))


def test_a_method_without_a_posterior_has_no_reconstructions(view: ExampleView) -> None:
    evaluation = evaluate(method("unet"), view, Sampling(2))
    assert evaluation.totals["reconstruction_iou"] is evaluation.totals["reconstruction_iou_marked"] is None
    assert all(math.isnan(row["reconstruction_iou"]) for row in evaluation.rows)
    assert reconstruct_images(method("unet"), [torch.randn(1, 9, 7)], [torch.zeros(2, 9, 7, dtype=torch.uint8)]) is None


def test_images_are_reconstructed_a_bounded_number_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    network, sizes = method("probabilistic-unet"), []
    original = type(network).reconstruct

    def spy(self: Any, images: torch.Tensor, labels: torch.Tensor) -> Any:
        sizes.append(tuple(labels.shape[:2]))
        return original(self, images, labels)

    monkeypatch.setattr(type(network), "reconstruct", spy)
    images = [torch.randn(1, 9, 7) for _ in range(5)]
    labels = [torch.randint(0, 2, (raters, 9, 7)).to(torch.uint8) for raters in (3, 1, 2, 3, 2)]
    whole = reconstruct_images(network, images, labels)
    monkeypatch.setattr("plurimask.prediction.predict.MAX_BATCH_PIXELS", 2 * 3 * 9 * 7 + 5)
    parts = reconstruct_images(network, images, labels)
    assert sizes == [(5, 3), (2, 3), (2, 3), (1, 3)]
    assert whole is not None
    assert parts is not None
    for one, other, own in zip(whole, parts, labels, strict=True):
        assert one.shape == own.shape
        assert float((one != other).float().mean()) < 0.02  # rounding may decide a tie


def test_where_classes_flip_the_annotator_s_map_is_reconstructed(view: ExampleView) -> None:
    flips = (Flip(1, 2, 0.4),)
    flipping = stored(view, lambda _, one: replace(one, labels=one.labels[:1], flips=flips))
    flipping = replace(flipping, counted_classes=(1, 2))
    torch.manual_seed(0)
    network = build_method("probabilistic-unet", channels=(6, 8), num_classes=3).eval()
    rows = evaluate(network, flipping, Sampling(2)).rows
    for number, row in enumerate(rows):
        want = reconstructed(network, flipping, number)
        for figure in ("reconstruction_iou", "reconstruction_iou_marked"):
            assert row[figure] == pytest.approx(want.marked, abs=0.05, nan_ok=True)  # others are left out
    assert any(not math.isnan(row["reconstruction_iou"]) for row in rows)


def example(height: int, width: int, raters: int = 3) -> Example:
    pixels = torch.arange(height * width).view(1, height, width).float()
    return Example("x", pixels, (pixels % 2).expand(raters, -1, -1).to(torch.uint8))


def test_centre_crop_cuts_image_and_labels_alike() -> None:
    preprocessing = Preprocessing(mean=(0.0,), std=(1.0,), center_crop=6)
    cut = preprocessing.example(example(11, 4))
    assert cut.image.shape == (1, 6, 4)
    assert torch.equal(cut.image[0] % 2, cut.labels[0].float())
    assert cut.image[0, 0, 0] == 2 * 4


def test_random_crops_cut_image_and_labels_alike() -> None:
    seen = set()
    for seed in range(30):
        cut = random_crop(example(9, 5), 7, torch.Generator().manual_seed(seed))
        assert cut.image.shape == (1, 7, 5)
        assert torch.equal(cut.image[0] % 2, cut.labels[1].float())
        seen.add(float(cut.image[0, 0, 0]))
    assert seen == {0.0, 5.0, 10.0}


def test_mixed_sizes_are_padded_by_nobody_s_judgement() -> None:
    images, labels = stack_padded([example(4, 7), example(6, 3)])
    assert images.shape == (2, 1, 6, 7)
    assert labels.shape == (2, 3, 6, 7)
    assert int((labels[1] == IGNORE).sum()) == 3 * (42 - 18)
    assert torch.equal(images[1, 0, :, 2:5], example(6, 3).image[0])
    assert float(images[0, 0, 0].abs().max()) == 0


def test_raters_are_drawn_without_repeats_among_those_present() -> None:
    labels = torch.stack([torch.full((4, 5), value, dtype=torch.uint8) for value in (0, 1, IGNORE, 2, 3)])
    seen = set()
    for seed in range(60):
        drawn = draw_raters(labels, 2, torch.Generator().manual_seed(seed))[:, 0, 0].tolist()
        assert len(set(drawn)) == 2
        assert IGNORE not in drawn
        seen |= set(drawn)
    assert seen == {0, 1, 2, 3}
    padded = draw_raters(labels, 5, torch.Generator())[:, 0, 0].tolist()
    assert sorted(padded) == [0, 1, 2, 3, IGNORE]


def test_representatives_are_scored_apart_from_independent_draws(view: ExampleView) -> None:
    """The weighted GED of what 100 draws of the image's name give, by its definition; all else is as without."""
    network, view = method("probabilistic-unet"), replace(view, indices=range(3))
    plain = evaluate(network, view, Sampling(5, seed=4))
    found = evaluate(network, view, Sampling(5, seed=4), table=TABLE_WITH_REPRESENTATIVES)
    own = {"ged_representatives", "ged_representatives_4"}
    assert {key: value for key, value in found.totals.items() if key not in own | {"subset_b"}} == {
        key: value for key, value in plain.totals.items() if key != "subset_b"
    }
    assert not own & plain.rows[0].keys() and own < found.rows[0].keys()
    for index, row in enumerate(found.rows):
        example = view.preprocessing.example(view.examples[index])
        (batch,) = predict_images(network, [(example.name, example.image)], Sampling(100, seed=4))
        for number, key in ((16, "ged_representatives"), (4, "ged_representatives_4")):
            few = representative_maps(batch.samples[:, 0], [1], number)
            maps, weights = batch.samples[list(few.members), 0].cpu(), torch.tensor(few.weights).double()
            crossed = pairwise_distance(maps, example.labels, [1])
            within, between = pairwise_distance(maps, maps, [1]), pairwise_distance(example.labels, example.labels, [1])
            ged = (
                2 * (weights[:, None] * crossed).sum() / 4
                - (weights[:, None] * weights * within).sum()
                - between.mean()
            )
            assert row[key] == pytest.approx(float(ged), abs=1e-6)
