"""Likelihood terms on the labels of several raters, and their maps put back in place."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from plurimask.distribution import IGNORE, most_likely


class Judgements(NamedTuple):
    """The P label maps of a batch that somebody drew, absent raters (all IGNORE) left out."""

    image: Tensor  # (P,) long: the image that each belongs to
    labels: Tensor  # (P, *spatial) uint8
    weight: Tensor  # (P,) float32: 1 / (raters of the image * images with a rater), an average over raters, then images
    rater: Tensor  # (P,) long: which of its image's R raters drew each


def judgements(labels: Tensor) -> Judgements:
    """Labels `(B, R, *spatial)` -> the maps of the raters that are present."""
    present = (labels != IGNORE).flatten(2).any(2)  # (B, R)
    image, rater = present.nonzero(as_tuple=True)
    per_image = present.sum(1)
    weight = 1 / (per_image[image] * (per_image > 0).sum())
    return Judgements(image, labels[image, rater], weight.float(), rater)


def maps_of_raters(logits: Tensor, raters: Judgements, labels: Tensor) -> Tensor:
    """The most likely map of each present rater, put back where the rater's own map is.

    Logits `(P, C, *spatial)` of the P judgements of `labels`, `(B, R, *spatial)` -> uint8 of the shape of the labels:
    IGNORE everywhere for absent raters.
    """
    maps = torch.full_like(labels, IGNORE)
    maps[raters.image, raters.rater] = most_likely(logits.detach()[None])[0]
    return maps


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p(label map), nats summed over the judged pixels: `(P, C, *spatial)`, `(P, *spatial)` -> `(P,)`."""
    return pixel_cross_entropy(logits, labels).flatten(1).sum(1)


def pixel_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p(label) of each pixel in nats, 0 where nobody judged: logits `(P, C, *spatial)` -> `(P, *spatial)`."""
    return functional.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORE, reduction="none")


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """`(P, *spatial)` uint8 -> `(P, C, *spatial)` float32 with 1 at the label; all zero where IGNORE."""
    classes = torch.arange(num_classes, device=labels.device, dtype=labels.dtype)
    return (labels[:, None] == classes.view(1, -1, *[1] * (labels.ndim - 1))).float()


def with_labels(images: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """What a posterior network is given: images `(P, K, *spatial)` and label maps `(P, *spatial)`, joined.

    Labels are one-hot minus 1/2, and 0 where nobody judged: `(P, K + C, *spatial)`.
    """
    judged = (labels != IGNORE).unsqueeze(1)
    return torch.cat([images, (one_hot(labels, num_classes) - 0.5) * judged], dim=1)
