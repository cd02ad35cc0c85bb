"""The panels of figures of latents at several scales: label maps over an image, with what one scale changed in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from plurimask.distribution import IGNORE
from plurimask.figures.colours import INK, PALETTE, SAMPLE_COLOUR, Colours, display_image, rgb, thinned
from plurimask.figures.page import Classes, around, aspect, draw_map, frame, outline, show

ADDED_COLOUR, REMOVED_COLOUR = PALETTE[3], PALETTE[6]
"""Of pixels that a change adds to the one counted class of binary data, and of those that it takes away."""

_MAX_SIDE = 400  # pixels that a panel shows
_PALE, _VIVID = 0.3, 0.95  # opacity of what stayed and of what changed
_WHITE = "#FFFFFF"


class View:
    """One image, and the part of it that panels show: the part around what is marked, if that is small.

    Args:
        image: `(K, H, W)`, in any values.
        maps: label maps `(..., H, W)`: all that will be drawn; None is skipped.
        classes: their classes.
    """

    def __init__(self, image: NDArray[Any], maps: Iterable[NDArray[Any] | None], classes: Classes) -> None:
        self.classes, self.shape = classes, image.shape[-2:]
        marked = np.zeros(self.shape, dtype=bool)
        for some in maps:
            if some is not None and classes.has_background:
                marked |= np.isin(some, classes.counted).reshape(-1, *self.shape).any(0)
        self.rows, self.columns = around(marked)
        self.whole = display_image(image)
        self.picture: Colours = np.moveaxis(self.cut(np.moveaxis(self.whole, -1, 0)), 0, -1)
        self.ratio = aspect(image)
        """Height of a panel over its width."""

    @property
    def is_enlarged(self) -> bool:
        """Whether only a part of the image is shown."""
        return self.rows != slice(None)

    def cut(self, maps: NDArray[Any]) -> NDArray[Any]:
        """The part of `(..., H, W)` that is shown, in as many pixels as a panel has."""
        return thinned(maps[..., self.rows, self.columns], _MAX_SIDE)

    def draw_whole(self, axes: Axes, labels: NDArray[Any] | None = None, own: str = SAMPLE_COLOUR) -> None:
        """The whole image, with a label map `(H, W)` if there is one, and a frame around the part that is shown."""
        picture = np.moveaxis(thinned(np.moveaxis(self.whole, -1, 0)), 0, -1)
        show(axes, picture)
        if labels is not None:
            draw_map(axes, thinned(labels), self.classes, own)
        frame(axes, (self.rows, self.columns), picture.shape[0] / self.shape[0])

    def draw(self, axes: Axes, labels: NDArray[Any], own: str = SAMPLE_COLOUR) -> None:
        """A label map `(H, W)` over the image; the one class of binary data in the colour `own`."""
        show(axes, self.picture)
        draw_map(axes, self.cut(labels), self.classes, own)

    def draw_change(self, axes: Axes, labels: NDArray[Any], before: NDArray[Any]) -> None:
        """A label map `(H, W)` with the pixels marked that differ from the map `before`, where that is not IGNORE.

        Of binary data, pixels added and taken away have colours of their own. Else the image is grey, what
        stayed is pale, and what changed is vivid with a black edge.
        """
        labels, before = self.cut(labels), self.cut(before)
        changed = (labels != before) & (before != IGNORE)
        if self.classes.is_binary:
            show(axes, self.picture)
            draw_map(axes, labels, self.classes, SAMPLE_COLOUR)
            paint = np.zeros((*changed.shape, 4))
            paint[changed & (labels == 1)] = (*rgb(ADDED_COLOUR), _VIVID)
            paint[changed & (labels != 1)] = (*rgb(REMOVED_COLOUR), _VIVID)
            axes.imshow(paint, interpolation="nearest", zorder=3)  # over the outline: changes are thin
            return
        grey = self.picture.mean(-1, keepdims=True).repeat(3, -1)  # so that colours mean classes alone
        show(axes, 0.35 + 0.65 * grey)
        paint = self.classes.overlay(labels, SAMPLE_COLOUR, 1.0)
        if self.classes.has_background:
            paint[changed & (labels == 0)] = (*rgb(_WHITE), 1.0)  # it took the place of a class: that is to be seen
        paint[..., 3] *= np.where(changed, _VIVID, _PALE)
        axes.imshow(paint, interpolation="nearest")
        outline(axes, changed, INK, 0.6)

    def change_legend(self, added: str, removed: str, changed: str) -> list[Patch]:
        """What the marks of `draw_change` mean, in these words: the first two for binary data, else the third."""
        if self.classes.is_binary:
            return [Patch(facecolor=ADDED_COLOUR, label=added), Patch(facecolor=REMOVED_COLOUR, label=removed)]
        return [Patch(facecolor="#BBBBBB", edgecolor=INK, linewidth=1.0, label=changed)]


def disagreement_of(maps: NDArray[Any], num_classes: int) -> NDArray[np.float64]:
    """The share of a pixel's label maps that differ from the most frequent class, `(H, W)`, 0 to (C - 1) / C.

    Args:
        maps: `(N, H, W)`; IGNORE is not counted. NaN where nothing else is.
        num_classes: C.
    """
    most = np.max([(maps == index).sum(0) for index in range(num_classes)], axis=0)
    judged = (maps != IGNORE).sum(0)
    return np.where(judged > 0, 1 - most / np.maximum(judged, 1), np.nan)


def check_shape(what: str, array: NDArray[Any], expected: Sequence[int | str]) -> None:
    """Raise `ValueError` unless the array has this shape; a letter stands for any number from 1."""
    fits = array.ndim == len(expected) and all(
        length == want if isinstance(want, int) else length >= 1
        for length, want in zip(array.shape, expected, strict=True)
    )
    if not fits:
        raise ValueError(f"{what} of shape {array.shape}: expected ({', '.join(str(want) for want in expected)})")
