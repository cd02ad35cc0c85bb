"""Animations of samples that grow from coarse to fine, and of samples in which some scales vary and others do not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from plurimask.figures.colours import FAINT, INK, PALETTE, RATER_COLOUR, rgb
from plurimask.figures.page import MARGIN, Page, draw_together, legend_height
from plurimask.figures.scales.maps import ScaleSamples, step_names
from plurimask.figures.scales.view import View
from plurimask.figures.style import SMALL
from plurimask.files.writing import replace_file

Frame: TypeAlias = NDArray[np.uint8]

LEAST_SIZE = 320
"""Width of a frame in pixels; on less, words do not fit."""

_DPI = 100
_TITLE, _STRIP, _LINE, _GAP = 0.26, 0.2, 0.28, 0.1  # inches
_DRAWN, _CURRENT = PALETTE[4], PALETTE[5]
_LEAST_SECONDS = 0.02  # viewers take less for a tenth of a second
_SEEN, _MOST_PIXELS = 48, 2_000_000  # frames and pixels among which the colours of an animation are looked for


# ---- frames -------------------------------------------------------------------------------------------------------


def coarse_to_fine_frames(content: ScaleSamples, size: int = 640) -> list[Frame]:
    """Draw after draw grows from coarse to fine: at the left the image, beside it the map of more and more scales.

    A draw has L + 2 frames: the map of the prior's mean, one for each scale with the pixels marked that it changes, and
    the finished sample. The strip below says which scales have been drawn, and which just now. Raters are outlined over
    the image where the classes can be outlined.

    Returns:
        M (L + 2) frames `(H', W', 3)`, 0 to 255, as wide as `size`, at least 320; a smaller one is a `ValueError`.
    """
    view = View(content.image, [content.raters, content.steps], content.classes)
    names, (last, num_draws) = list(content.scale_names), (len(content.steps) - 1, content.steps.shape[1])
    frames = []
    for draw, maps in enumerate(np.moveaxis(content.steps, 1, 0), 1):
        for step, words in enumerate([*step_names(names), "all scales"]):
            sheet = _Sheet(view, size, 2)
            _draw_image(sheet, view, content)
            axes = sheet.panel(1, f"draw {draw} of {num_draws}: {words}")
            if 0 < step <= last:
                view.draw_change(axes, maps[step], maps[step - 1])
            else:
                view.draw(axes, maps[min(step, last)])
            _draw_progress(sheet.page.panel(sheet.left(1), sheet.bottom, sheet.width, _STRIP), names, step)
            sheet.page.marks(view.change_legend("added", "taken away", "changed"), sheet.bottom + 0.04)
            frames.append(sheet.pixels())
    return frames


def kind_frames(content: ScaleSamples, size: int = 840) -> list[Frame]:
    """The image, and beside it one sample of each kind, another one in each frame: what varies when which scales vary.

    Returns:
        Frames as of `coarse_to_fine_frames`: as many as the kind with the fewest samples has.
    """
    view = View(content.image, [content.raters, *content.kinds.values()], content.classes)
    num = min(len(maps) for maps in content.kinds.values())
    frames = []
    for number in range(num):
        sheet = _Sheet(view, size, 1 + len(content.kinds))
        _draw_image(sheet, view, content)
        for column, (name, maps) in enumerate(content.kinds.items(), 1):
            view.draw(sheet.panel(column, name), maps[number])
        sheet.page.text(MARGIN, sheet.bottom + 0.11, f"sample {number + 1} of {num}", FAINT)
        frames.append(sheet.pixels())
    return frames


class _Sheet:
    """The page of one frame: panels side by side, a title over each, a strip below and the classes' legend."""

    def __init__(self, view: View, size: int, num_panels: int) -> None:
        if size < LEAST_SIZE:
            raise ValueError(f"size={size}: frames are {LEAST_SIZE} pixels wide or more")
        width = size / _DPI
        self.width = (width - 2 * MARGIN - (num_panels - 1) * _GAP) / num_panels
        self.height = self.width * view.ratio
        self.bottom = _TITLE + self.height + 0.06
        legend = self.bottom + _LINE
        height = legend + legend_height(view.classes, width) + 0.02
        self.page = Page(width, round(height * _DPI) / _DPI)
        self.page.legend(view.classes, legend, width)

    def left(self, number: int) -> float:
        """The left edge of a panel, inches."""
        return MARGIN + number * (self.width + _GAP)

    def panel(self, number: int, title: str) -> Axes:
        """The axes of a panel, counted from the left."""
        self.page.text(self.left(number), _TITLE / 2, title)
        return self.page.panel(self.left(number), _TITLE, self.width, self.height)

    def pixels(self) -> Frame:
        """The page as a picture `(H', W', 3)`."""
        self.page.figure.set_dpi(_DPI)
        canvas: Any = FigureCanvasAgg(self.page.figure)
        canvas.draw()
        return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3]


def _draw_image(sheet: _Sheet, view: View, content: ScaleSamples) -> None:
    raters = content.maps_of_raters
    outlined = len(raters) > 0 and view.classes.are_outlined
    several = "a rater" if len(raters) == 1 else f"{len(raters)} raters"
    axes = sheet.panel(0, f"image and {several}" if outlined else "image")
    axes.imshow(view.picture, interpolation="antialiased")
    if outlined:
        draw_together(axes, view.cut(raters), view.classes, RATER_COLOUR)


def _draw_progress(axes: Axes, names: Sequence[str], step: int) -> None:
    """A box for each scale: drawn before, drawn in this step, or still at the prior's mean."""
    axes.set(xlim=(0, len(names)), ylim=(0, 1))
    for number, name in enumerate(names, 1):
        colour = "white" if number > step else _CURRENT if number == step else _DRAWN
        axes.add_patch(Rectangle((number - 1, 0), 1, 1, facecolor=colour, edgecolor=FAINT, linewidth=0.6))
        ink = INK if number > step else "white"
        words = axes.text(number - 0.5, 0.47, name, color=ink, fontsize=SMALL, parse_math=False)
        words.set(ha="center", va="center_baseline")


# ---- the file -----------------------------------------------------------------------------------------------------


def save_animation(frames: Sequence[Frame], path: Path, seconds_per_frame: float) -> None:
    """Write frames as a GIF that repeats for ever: whole or not at all, and the same bytes whenever it is written.

    All frames share one palette and none is dithered, so that nothing flickers that does not change.

    Args:
        frames: at least one, `(H', W', 3)` uint8, all of one shape.
        path: a name that ends in .gif, else a `ValueError`.
        seconds_per_frame: at least 0.02, else a `ValueError`; GIF counts hundredths of a second.
    """
    if path.suffix.lower() != ".gif":
        raise ValueError(f"{path.name}: animations are written as GIF: give a name that ends in .gif")
    if not seconds_per_frame >= _LEAST_SECONDS:
        raise ValueError(f"seconds_per_frame={seconds_per_frame}: give {_LEAST_SECONDS} or more")
    pictures = _with_one_palette(frames)
    stream, duration = io.BytesIO(), 10 * round(100 * seconds_per_frame)
    pictures[0].save(
        stream, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0, optimize=False
    )
    replace_file(path, stream.getvalue())


def _with_one_palette(frames: Sequence[Frame]) -> list[Image.Image]:
    """The frames in 256 colours: those that figures are drawn in, and the most common of what is in the frames."""
    common = np.concatenate([frame.reshape(-1, 3) for frame in frames[:: -(-len(frames) // _SEEN)]])
    common = common[:: -(-len(common) // _MOST_PIXELS)]
    fixed = np.round(255 * np.array([rgb(colour) for colour in (*PALETTE, "#FFFFFF", INK)])).astype(np.uint8)
    found = Image.fromarray(common[None]).quantize(256 - len(fixed), Image.Quantize.MEDIANCUT).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(fixed.tobytes() + bytes(found))
    return [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
