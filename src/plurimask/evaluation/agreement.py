"""What the raters of a data set leave to be learnt, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plurimask.sets.unjudged import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

_STILL_HELP = (
    "dropout-unet, ensemble and lightweight-probabilistic still show where a model is unsure; methods that learn "
    "the differences between raters (probabilistic-unet, hierarchical-probabilistic-unet, m-heads,"
    " image2image-vae) find none"
)
_NEARLY_ALL = 0.95
_CLOSE = 0.2


def differ_by_lines_only(labels: Tensor) -> bool:
    """Whether raters differ in lines of at most two pixels, such as the border of an object, or not at all.

    Args:
        labels: `(R, *spatial)`, uint8, of raters who gave a map; pixels that one of them did not judge do not count.
    """
    differ = (labels != labels[:1]).any(0) & (labels != IGNORE).all(0)
    for axis in range(differ.ndim):
        if differ.shape[axis] < 3:
            return not differ.any()
        inner = differ.narrow(axis, 1, differ.shape[axis] - 2)
        differ = inner & differ.narrow(axis, 0, inner.shape[axis]) & differ.narrow(axis, 2, inner.shape[axis])
    return not bool(differ.any())


def comment_on_raters(
    rater_names: tuple[str, ...], num_raters: dict[int, int], num_lines_only: int, distances: list[float | None]
) -> str | None:
    """Which methods can still help where raters leave little or nothing to be learnt; None where they disagree.

    Args:
        rater_names: all of them.
        num_raters: raters present to the number of images with so many, over all splits.
        num_lines_only: images with several raters, who differ in lines only.
        distances: of each split, the mean distance (1 - IoU) between two raters.
    """
    several = sum(images for raters, images in num_raters.items() if raters > 1)
    if len(rater_names) == 1:
        return f"one rater: {_STILL_HELP}"
    if not several:
        return "no image has two raters: how far they differ can be learnt, but not measured (no GED, no oracle)"
    are_close = all(distance < _CLOSE for distance in distances if distance is not None)
    if num_lines_only >= _NEARLY_ALL * several and are_close:
        return f"the raters agree but for the border of objects (a pixel or two): {_STILL_HELP}"
    return None
