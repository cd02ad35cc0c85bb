"""The metrics by their definitions, pixel by pixel, with Python sets and loops: what the library is held against."""

from __future__ import annotations

import itertools
import math

import numpy as np

IGNORE = 255


def pixels(label_map, class_index, valid):
    """The set of positions of a class among the valid pixels."""
    return {p for p in np.ndindex(label_map.shape) if label_map[p] == class_index and valid[p]}


def class_scores(first, second, classes, valid, score):
    scores = []
    for class_index in classes:
        a, b = pixels(first, class_index, valid), pixels(second, class_index, valid)
        if a or b:
            scores.append(score(a, b))
    return sum(scores) / len(scores) if scores else 1.0


def iou(first, second, classes, valid):
    return class_scores(first, second, classes, valid, lambda a, b: len(a & b) / len(a | b))


def dice(first, second, classes, valid):
    return class_scores(first, second, classes, valid, lambda a, b: 2 * len(a & b) / (len(a) + len(b)))


def pooled_classes(images, num_classes, shares=None):
    """`(dice, iou)` of each class, None where it is nowhere: sets of (image, rater, pixel) over all images.

    `images`: pairs of a label map (*s) and labels (R, *s). `shares`: how much each rater counts; equal if not given.
    """
    figures = []
    for class_index in range(num_classes):
        predicted, labelled = {}, {}
        for number, (label_map, labels) in enumerate(images):
            for r, rater in enumerate(labels):
                share = 1.0 if shares is None else float(shares[r])
                judged = [p for p in np.ndindex(rater.shape) if rater[p] != IGNORE]
                predicted |= {(number, r, p): share for p in judged if label_map[p] == class_index}
                labelled |= {(number, r, p): share for p in judged if rater[p] == class_index}
        both = sum(share for key, share in predicted.items() if key in labelled)
        either = sum(({**predicted, **labelled}).values())
        areas = sum(predicted.values()) + sum(labelled.values())
        figures.append((2 * both / areas, both / either) if areas else (None, None))
    return figures


def present_and_valid(labels):
    present = [rater for rater in labels if any(value != IGNORE for value in rater.flatten())]
    valid = np.ones(labels.shape[1:], bool) if present else np.zeros(labels.shape[1:], bool)
    for rater in present:
        for p in np.ndindex(rater.shape):
            valid[p] = valid[p] and rater[p] != IGNORE
    return present, valid


def distances(first, second, classes, valid):
    return np.array([[1 - iou(a, b, classes, valid) for b in second] for a in first])


def energy(samples, labels, classes):
    """(ged, ged_unbiased, ged_oracle, diversity, rater_diversity) of one image."""
    raters, valid = present_and_valid(labels)
    if not valid.any():
        return (math.nan,) * 5
    n, m = len(samples), len(raters)
    cross = sum(1 - iou(a, b, classes, valid) for a in samples for b in raters) / (n * m)
    within = sum(1 - iou(a, b, classes, valid) for a in samples for b in samples) / n**2
    among = sum(1 - iou(a, b, classes, valid) for a in raters for b in raters) / m**2

    def pairs(maps):
        values = [1 - iou(a, b, classes, valid) for a, b in itertools.permutations(maps, 2)]
        return sum(values) / len(values) if values else math.nan

    mu = pairs(raters)
    return 2 * cross - within - among, 2 * cross - pairs(samples) - mu, mu / n + mu / m, pairs(samples), mu


def hungarian(cost):
    """The best pairing by trying all of them."""
    n, m = cost.shape
    size = math.lcm(n, m)
    rows = [i for i in range(n) for _ in range(size // n)]
    columns = [j for j in range(m) for _ in range(size // m)]
    best = min(
        sum(cost[rows[k], columns[j]] for k, j in enumerate(order)) for order in itertools.permutations(range(size))
    )
    return 1 - best / size


def best_draws(cost):
    """The best choice of another sample for each rater, by trying all of them."""
    n, m = cost.shape
    chosen = itertools.permutations(range(n), m)
    return 1 - min(sum(cost[i, j] for j, i in enumerate(order)) for order in chosen) / m


def calibration_error(images, classes, num_bins):
    """`images`: pairs of probabilities (C, *s) and labels (R, *s)."""
    errors = []
    for class_index in classes:
        bins = [[] for _ in range(num_bins)]
        for probabilities, labels in images:
            for p in np.ndindex(labels.shape[1:]):
                votes = [int(rater[p]) for rater in labels if rater[p] != IGNORE]
                if votes:
                    predicted = float(probabilities[class_index][p])
                    bins[min(int(predicted * num_bins), num_bins - 1)].append(
                        (predicted, votes.count(class_index) / len(votes))
                    )
        total = sum(map(len, bins))
        gaps = [abs(np.mean([x for x, _ in b]) - np.mean([y for _, y in b])) * len(b) / total for b in bins if b]
        errors.append(sum(gaps))
    return float(np.mean(errors))


def likelihood(probabilities, labels):
    """(sum of -ln p, count)."""
    terms = [
        -math.log(max(float(probabilities[rater[p]][p]), float(np.finfo(np.float32).tiny)))
        for rater in labels
        for p in np.ndindex(rater.shape)
        if rater[p] != IGNORE
    ]
    return sum(terms), len(terms)
