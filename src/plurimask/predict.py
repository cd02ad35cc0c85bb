"""Plausible masks of new images, as files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from plurimask.data import DataDescription, ImageSet
from plurimask.data.preprocessing import Preprocessing
from plurimask.distribution import IGNORE
from plurimask.errors import InputError
from plurimask.figures import GridRow, overview, save_figure
from plurimask.files import replace_file
from plurimask.inference import Sampling, predict_images
from plurimask.method import SegmentationMethod


@dataclass(frozen=True)
class Predicted:
    """What was predicted for one image, in the window of it that the run sees (all of it, without a centre crop)."""

    row: GridRow
    window: tuple[slice, slice]
    size: tuple[int, int]
    """Height and width of the whole image."""


def predict(
    method: SegmentationMethod, images: ImageSet, preprocessing: Preprocessing, sampling: Sampling
) -> Iterator[Predicted]:
    """Samples, mean and entropy of each image.

    Args:
        method: trained, in evaluation mode.
        images: what to predict.
        preprocessing: the run's.
        sampling: samples per image, seed, batch size. An image's samples depend on the seed and its name alone.
    """
    shown: dict[str, Tensor] = {}

    def prepared() -> Iterator[tuple[str, Tensor]]:
        for number, name in enumerate(images.names):
            shown[name] = images[number]
            yield name, preprocessing.image(shown[name])

    for names, samples, mixture in predict_images(method, prepared(), sampling):
        maps, mean, entropy = samples.cpu().numpy(), mixture.mean().cpu().numpy(), mixture.entropy().cpu().numpy()
        for number, name in enumerate(names):
            image = shown.pop(name)
            height, width = image.shape[-2:]
            cut = preprocessing.cut(image).numpy()
            row = GridRow(name, cut, None, maps[:, number], mean[number], entropy[number])
            yield Predicted(row, preprocessing.window((height, width)), (height, width))


def write_predictions(
    predictions: Iterator[Predicted], description: DataDescription, out: Path, on_image: Callable[[str], None]
) -> None:
    """For each image a folder `out/NAME` with `sample-00.png` ..., `mask.png`, `mean.tif`, `entropy.tif`,
    `samples.json` and `overview.png`: in the image's height and width and the values of the data set's masks.

    `mean.tif` is float32 `(C, H, W)`, class probabilities; `entropy.tif` float32 `(H, W)`, nats. What lies outside the
    window of a run with a centre crop is background; where the data have none it is not judged, and NaN in the maps.

    Raises:
        InputError: an image's name leads out of the folder, or a file cannot be written.
    """
    values = mask_values(description)
    outside = 0 if description.has_background else IGNORE
    surely = [1.0, *[0.0] * (description.num_classes - 1)] if description.has_background else None
    for predicted in predictions:
        row, folder = predicted.row, out / predicted.row.name
        if not folder.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{row.name!r} is no name for a folder in {out}: rename the image")
        for stale in folder.glob("sample-*.png"):
            stale.unlink()
        digits = max(2, len(str(len(row.samples) - 1)))
        files = [f"sample-{number:0{digits}d}.png" for number in range(len(row.samples))]
        for file, sample in zip(files, np.asarray(row.samples), strict=True):
            replace_file(folder / file, _png(values[_whole(sample, predicted, outside)]))
        mean, entropy = np.asarray(row.mean), np.asarray(row.entropy)
        most_likely = mean.argmax(0).astype(np.uint8)
        replace_file(folder / "mask.png", _png(values[_whole(most_likely, predicted, outside)]))
        fills = surely or [np.nan] * len(mean)
        whole_mean = [_whole(one, predicted, fill) for one, fill in zip(mean, fills, strict=True)]
        replace_file(folder / "mean.tif", _tiff(np.stack(whole_mean)))
        replace_file(folder / "entropy.tif", _tiff(_whole(entropy, predicted, 0.0 if surely else np.nan)))
        content = json.dumps(readings(np.asarray(row.samples), files, description), indent=2)
        replace_file(folder / "samples.json", content.encode())
        save_figure(overview(row, description.class_names, description.has_background), folder / "overview.png")
        on_image(row.name)


def mask_values(description: DataDescription) -> NDArray[Any]:
    """The value in mask files of each label from 0 to 255: `(256,)`, uint8 or uint16."""
    ignored = IGNORE if description.ignore_value is None else description.ignore_value
    values = np.full(IGNORE + 1, ignored)
    values[: description.num_classes] = description.class_values
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)


def readings(samples: NDArray[np.uint8], files: list[str], description: DataDescription) -> dict[str, Any]:
    """The distinct label maps among samples `(N, H, W)`, most frequent first, with the share of samples of each."""
    distinct, first, inverse, counts = np.unique(
        samples.reshape(len(samples), -1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    inverse = inverse.reshape(-1)  # numpy 2.0 gave it another shape
    content = []
    for number in np.argsort(-counts, kind="stable"):
        pixels = np.bincount(distinct[number], minlength=description.num_classes)
        content.append(
            {
                "file": files[first[number]],
                "count": int(counts[number]),
                "frequency": float(counts[number] / len(samples)),
                "samples": [files[index] for index in np.flatnonzero(inverse == number)],
                "pixels": dict(zip(description.class_names, map(int, pixels), strict=False)),
            }
        )
    return {"num_samples": len(samples), "num_distinct": len(distinct), "readings": content}


def _whole(values: NDArray[Any], predicted: Predicted, outside: float) -> NDArray[Any]:
    """Values `(h, w)` of the window -> `(H, W)` of the image, `outside` around them."""
    whole = np.full(predicted.size, outside, dtype=values.dtype)
    whole[predicted.window] = values
    return whole


def _png(mask: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def _tiff(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values.astype(np.float32), photometric="minisblack")
    return buffer.getvalue()
