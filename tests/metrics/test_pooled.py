import math
import statistics

import naive_metrics as naive
import pytest
import torch
from torchmetrics.utilities.data import dim_zero_cat

from plurimask.distribution import IGNORE
from plurimask.metrics import (
    NUM_BINS,
    ErrorHistograms,
    PixelUncertainty,
    SegmentationMetrics,
    evaluate_images,
    sparsification,
)

CLASSES = [1, 2]
MEANS = (
    "ged",
    "ged_spread",
    "ged_unbiased",
    "ged_oracle",
    "hungarian_iou_balanced",
    "hungarian_iou_best_draws",
    "diversity",
    "rater_diversity",
    "empty_ged",
    "empty_samples",
    "empty_raters",
    "sample_dice",
    "rater_dice",
    "empty_dice",
    "dice",
    "iou",
    "reconstruction_iou",
    "reconstruction_iou_marked",
)


def random_set(num_images=9):
    generator = torch.Generator().manual_seed(0)
    samples = torch.randint(3, (5, num_images, 4, 6), generator=generator, dtype=torch.uint8)
    probabilities = torch.randn(num_images, 3, 4, 6, generator=generator).softmax(1)
    labels = torch.randint(3, (num_images, 2, 4, 6), generator=generator, dtype=torch.uint8)
    labels[0] = IGNORE  # nobody
    labels[1, 0] = 0  # one saw nothing
    labels[2, 1] = IGNORE  # one rater
    labels[3, 0, 1] = IGNORE
    labels[4, 0, :2], labels[4, 1, 2:] = IGNORE, IGNORE  # no common pixel, though both marked something
    return samples, probabilities, labels


def reconstructions_of(labels):
    """Maps that are often right."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(3, labels.shape, generator=generator, dtype=torch.uint8)
    wrong = torch.rand(labels.shape, generator=generator) < 0.3
    return torch.where(wrong | (labels == IGNORE), noise, labels)


def uncertainty_of(data):
    generator = torch.Generator().manual_seed(2)
    return PixelUncertainty(*(torch.rand(data[2][:, 0].shape, generator=generator) for _ in range(2)))


def evaluations_of(data):
    return evaluate_images(*data, CLASSES, reconstructions_of(data[2]), uncertainty_of(data))


def total(evaluations):
    metrics = SegmentationMetrics(CLASSES)
    metrics.update(evaluations)
    return metrics.compute()


def expected_totals(data, keep):
    evaluations = [e for e in evaluations_of(data) if keep(e.scores)]
    indices = [i for i, e in enumerate(evaluations_of(data)) if keep(e.scores)]
    expected = {"num_images": len(evaluations), "num_undefined": sum(math.isnan(e.scores["ged"]) for e in evaluations)}
    for name in MEANS:
        values = [e.scores[name] for e in evaluations if not math.isnan(e.scores[name])]
        expected[name] = statistics.mean(values) if values else None
    both = [(e.scores["ged"], e.scores["ged_oracle"]) for e in evaluations if not math.isnan(e.scores["ged_oracle"])]
    expected["ged_ratio"] = sum(ged for ged, _ in both) / sum(oracle for _, oracle in both)
    dice = [e.scores["dice"] for e in evaluations if not math.isnan(e.scores["dice"])]
    expected["median_dice"] = statistics.median(dice)
    pairs = [(data[1][i].numpy(), data[2][i].numpy()) for i in indices]
    expected["ece"] = naive.calibration_error(pairs, CLASSES, NUM_BINS)
    sums = [naive.likelihood(p, y) for p, y in pairs]
    expected["nll"] = sum(s for s, _ in sums) / sum(c for _, c in sums)
    histograms = ErrorHistograms.from_stacked(sum(e.sums.errors.stacked() for e in evaluations))
    names = ("error_auroc", "error_auroc_information", "error_auroc_spread")
    expected |= {name: one.auroc() for name, one in zip(names, histograms, strict=True)}
    expected["ause"] = sparsification(histograms.entropy).ause()
    images = [(p.argmax(0), y) for p, y in pairs]
    expected["class_dice"], expected["class_iou"] = map(list, zip(*naive.pooled_classes(images, 3), strict=True))
    expected["mean_class_dice"], expected["mean_class_iou"] = (
        statistics.mean(expected[name][index] for index in CLASSES) for name in ("class_dice", "class_iou")
    )
    return expected


def assert_equal(found, expected, rel=1e-12):
    """Totals without a subset."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (None if value is None else pytest.approx(value, rel=rel)), name


def test_totals_equal_the_definitions():
    data = random_set()
    found = total(evaluations_of(data))
    subset = found.pop("subset_b")
    assert_equal(found, expected_totals(data, lambda _: True), rel=1e-6)
    assert found["num_undefined"] == 2 and found["num_images"] == 9
    expected = expected_totals(data, lambda s: s["num_raters"] > 1 and s["all_marked"])
    assert_equal(subset, expected, rel=1e-6)
    assert subset["num_images"] == 6 and subset["num_undefined"] == 1


def test_a_ratio_is_of_means_over_the_images_that_have_both():
    data = random_set()
    alone = total(evaluations_of(tuple(part[:, 2:3] if index == 0 else part[2:3] for index, part in enumerate(data))))
    assert alone["ged_ratio"] is alone["rater_dice"] is None and alone["ged"] > 0
    found, means = total(evaluations_of(data)), expected_totals(data, lambda scores: scores["num_raters"] != 1)
    assert found["ged_ratio"] == pytest.approx(means["ged"] / means["ged_oracle"])
    assert found["ged_ratio"] != pytest.approx(found["ged"] / found["ged_oracle"], rel=1e-3)


def test_streaming_equals_all_at_once():
    evaluations = evaluations_of(random_set())
    metrics = SegmentationMetrics(CLASSES)
    for evaluation in evaluations:
        metrics.update([evaluation])
    assert metrics.compute() == total(evaluations)
    metrics.reset()
    metrics.update(evaluations[5:])
    assert metrics.compute() == total(evaluations[5:])


def test_values_have_their_ranges():
    found = total(evaluations_of(random_set()))
    for name in (
        "ged_oracle",
        "hungarian_iou_balanced",
        "hungarian_iou_best_draws",
        "diversity",
        "rater_diversity",
        "dice",
        "median_dice",
        "iou",
        "ece",
        "mean_class_dice",
        "mean_class_iou",
        "error_auroc",
        "error_auroc_information",
        "error_auroc_spread",
        "ause",
        "reconstruction_iou",
        "reconstruction_iou_marked",
    ):
        assert 0 <= found[name] <= 1
    assert 0 <= found["ged"] <= 2 and found["nll"] >= 0


def test_what_does_not_exist_is_none_and_never_nan():
    samples, probabilities, labels = random_set()
    nothing = total(evaluations_of((samples[:, :1], probabilities[:1], labels[:1])))
    assert nothing["num_images"] == nothing["num_undefined"] == 1
    of_classes = [nothing.pop(name) for name in ("class_dice", "class_iou")]
    assert of_classes == [[None, None, None]] * 2
    assert all(value is None for name, value in nothing.items() if not name.startswith("num_"))
    assert total([])["class_iou"] == []
    one_rater = total(evaluations_of((samples, probabilities, labels[:, :1])))
    assert one_rater["ged_unbiased"] is one_rater["ged_oracle"] is one_rater["rater_diversity"] is None
    assert one_rater["ged"] is not None and "subset_b" not in one_rater
    blind = total(evaluations_of((samples[:, 1:2], probabilities[1:2], labels[1:2])))
    assert blind["subset_b"]["num_images"] == 0 and blind["subset_b"]["ged"] is None


def test_a_method_without_reconstructions_has_none_of_their_figures():
    data = random_set()
    unreconstructed = evaluate_images(*data, CLASSES, uncertainty=uncertainty_of(data))
    without, expected = total(unreconstructed), total(evaluations_of(data))
    for totals in (without, without["subset_b"]):
        assert totals["reconstruction_iou"] is totals["reconstruction_iou_marked"] is None
    assert without.keys() == expected.keys()
    same = [name for name in without if "reconstruction" not in name and name != "subset_b"]
    assert [without[name] for name in same] == [expected[name] for name in same]
    # Images of methods with and without them together: the mean is over those that have them.
    evaluations = evaluations_of(data)[:5] + unreconstructed[5:]
    assert total(evaluations)["reconstruction_iou"] == pytest.approx(total(evaluations[:5])["reconstruction_iou"])


@pytest.mark.parametrize("split", [4, 9, 5])
def test_processes_are_joined(split):
    """Gathers from a pretended second process, which may have seen no image at all."""
    evaluations = evaluations_of(random_set())
    here, there = SegmentationMetrics(CLASSES), SegmentationMetrics(CLASSES)
    here.update(evaluations[:split])
    there.update(evaluations[split:])
    theirs = []
    for name in there._reductions:
        state = getattr(there, name)
        empty = torch.tensor([], dtype=there.dtype)
        theirs.append((dim_zero_cat(state) if state else empty) if isinstance(state, list) else state)
    remaining = iter(theirs)

    def gather(tensor, group=None):
        other = next(remaining)
        assert tensor.dtype == other.dtype and tensor.ndim == other.ndim
        return [tensor, other]

    here.sync(dist_sync_fn=gather, distributed_available=lambda: True)
    here._to_sync = False  # they are joined already
    found, expected = here.compute(), total(evaluations)
    assert_equal(found.pop("subset_b"), expected.pop("subset_b"))
    assert_equal(found, expected)


def test_the_bins_can_be_drawn():
    evaluations = evaluations_of(random_set())
    metrics = SegmentationMetrics(CLASSES)
    metrics.update(evaluations)
    bins = metrics.calibration_bins()
    assert bins.num_pixels.shape == (2, NUM_BINS)
    assert bins.error() == pytest.approx(metrics.compute()["ece"])
    assert bool((bins.frequency <= bins.num_pixels).all())


def test_the_errors_can_be_drawn():
    evaluations = evaluations_of(random_set())
    metrics = SegmentationMetrics(CLASSES)
    metrics.update(evaluations)
    found = metrics.error_histograms()
    assert torch.equal(found.stacked(), sum(e.sums.errors.stacked() for e in evaluations))
    assert sparsification(found.entropy).ause() == metrics.compute()["ause"]


def test_an_uncertainty_that_is_zero_or_unknown_detects_nothing():
    data = random_set()
    zero = PixelUncertainty(*(torch.zeros(data[2][:, 0].shape) for _ in range(2)))
    for maps in (zero, None):
        found = total(evaluate_images(*data, CLASSES, uncertainty=maps))
        assert found["error_auroc_information"] is found["error_auroc_spread"] is None
        assert found["error_auroc"] is not None and found["ause"] is not None
    sure = torch.zeros_like(data[1]).scatter(1, data[1].argmax(1, keepdim=True), 1.0)
    found = total(evaluate_images(data[0], sure, data[2], CLASSES))
    assert found["error_auroc"] is found["ause"] is None


def test_classes_that_are_nowhere_are_left_out_of_the_mean():
    samples, probabilities, labels = random_set()
    labels[labels == 2] = 1
    probabilities[:, 2] = 0
    found = total(evaluate_images(samples, probabilities, labels, CLASSES))
    assert found["class_iou"][2] is None
    assert found["mean_class_iou"] == found["class_iou"][1]
    assert found["mean_class_dice"] == found["class_dice"][1]
