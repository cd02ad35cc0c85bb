"""Mean and standard deviation of each channel, by which images are normalised."""

from __future__ import annotations

import numpy as np

from plurimask.data.example import ExampleSet
from plurimask.data.preprocessing import SMALLEST_STD, ImageScaling, scaled
from plurimask.errors import InputError

MAX_VOXELS = 2**29
"""Of volumes so many are read at most, of one channel."""
_SEED = 0


def channel_statistics(
    examples: ExampleSet, scaling: ImageScaling = "none", max_images: int = 500
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over all pixels of each channel, in the values of the files or as `scaling` has it.

    Of more than `max_images` images, or volumes of more than `MAX_VOXELS`, a random subset is read, the same each time.
    A channel that is constant has a standard deviation of 1, so that dividing by it is harmless.

    Raises:
        InputError: there are no images.
    """
    if not len(examples):
        raise InputError("no images to take the mean and standard deviation of: the training split is empty")
    indices, first = np.arange(len(examples)), examples[0].image
    if first.ndim == 4:
        max_images = max(1, min(max_images, MAX_VOXELS // max(1, first[0].numel())))
    if len(examples) > max_images:
        indices = np.sort(np.random.default_rng(_SEED).choice(len(examples), max_images, replace=False))
    num_channels = len(first)
    count, mean, scatter = 0, np.zeros(num_channels), np.zeros(num_channels)
    for index in indices:
        pixels = scaled(examples[int(index)].image, scaling).flatten(1).double().numpy()
        # Chan's update of mean and scatter: sums of squares about the mean cannot cancel.
        own_mean, own_count = pixels.mean(1), pixels.shape[1]
        shift, total = own_mean - mean, count + own_count
        own_scatter = np.square(pixels - own_mean[:, None]).sum(1)
        scatter = scatter + own_scatter + np.square(shift) * (count * own_count / total)
        mean, count = mean + shift * (own_count / total), total
    deviation = np.sqrt(scatter / count)
    # Rounding leaves a constant channel a deviation of about 1e-16 of its value.
    constant = deviation <= 1e-12 * np.abs(mean)
    if (~constant & (deviation <= SMALLEST_STD)).any():
        raise InputError(
            f"a channel's values differ by {deviation.min():.3g} or so, which is less than float32 tells apart: save "
            "the images in larger numbers"
        )
    return [float(value) for value in mean], [float(value) for value in np.where(constant, 1.0, deviation)]
