"""Whether the files of one example fit together: sizes, and the places of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plurimask.data.images import image_grid, image_shape
from plurimask.data.images.geometry import apart
from plurimask.errors import InputError


def channel_shape(paths: Sequence[Path]) -> tuple[int, ...]:
    """`(K, *spatial)` of one image in one or more files, from their headers.

    Raises:
        InputError: files of one image differ in size or place, or one of several has more than one channel.
    """
    shapes = [image_shape(path) for path in paths]
    for path, shape in zip(paths, shapes, strict=True):
        if len(paths) > 1 and shape[0] != 1:
            raise InputError(
                f"{path}: {shape[0]} channels, expected one, as each channel has its own file: save it as gray"
            )
        if shape[1:] != shapes[0][1:]:
            raise InputError(
                f"{path} is {size_words(shape[1:])}, {paths[0]} is {size_words(shapes[0][1:])}: "
                "the channels of one image must have the same size"
            )
        refuse_apart(path, paths[0], "the channels of one image must lie on one grid: resample them")
    return (sum(shape[0] for shape in shapes), *shapes[0][1:])


def refuse_sizes(mask: Path, shape: Sequence[int], image: Path, size: Sequence[int]) -> None:
    """Raise InputError if a mask of this shape is not of the `size` of its image."""
    if tuple(shape) != tuple(size):
        raise InputError(
            f"{mask}: the mask is {size_words(shape)}, its image {image} is {size_words(size)}: "
            "save both in the same size"
        )


def refuse_apart(one: Path, other: Path, advice: str) -> None:
    """Raise InputError if two volumes do not lie in the same places."""
    grid, expected = (image_grid(path) for path in (one, other)) if one != other else (None, None)
    difference = None if grid is None or expected is None else apart(grid, expected)
    if grid is None or expected is None or difference is None:
        return
    silent = [str(path) for path, own in ((one, grid), (other, expected)) if own.unit is None]
    words = f"; the header of {silent[0]} does not say where it lies" if len(silent) == 1 else ""
    raise InputError(f"{one} and {other} lie in different places ({difference}{words}): {advice}")


def refuse_mixed(ranks: Sequence[int], images: Sequence[Path]) -> None:
    """Raise InputError if some images, of so many axes each, are pictures and others volumes."""
    other = next((number for number, rank in enumerate(ranks) if rank != ranks[0]), None)
    if other is not None:
        kinds = {2: "a picture", 3: "a volume"}
        raise InputError(
            f"{images[0]} is {kinds[ranks[0]]}, {images[other]} is {kinds[ranks[other]]}: keep pictures and volumes in "
            "data sets of their own"
        )


def size_words(shape: Sequence[int]) -> str:
    """Height and width, or depth, height and width, with the order of them."""
    order = "depth x height x width" if len(shape) == 3 else "height x width"
    return f"{'x'.join(str(side) for side in shape)} ({order})"
