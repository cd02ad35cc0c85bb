"""Plausible masks of new images, as files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from plurimask.data import DataDescription, ImageSet
from plurimask.data.preprocessing import Preprocessing
from plurimask.figures import GridRow, overview, save_figure
from plurimask.files import replace_file
from plurimask.inference import Sampling, predict_images
from plurimask.method import SegmentationMethod


def predict(
    method: SegmentationMethod,
    images: ImageSet,
    preprocessing: Preprocessing,
    sampling: Sampling,
) -> Iterator[GridRow]:
    """Samples, mean and entropy of each image, in its own height and width.

    A run that was trained on centre crops predicts the centre crop; around it all is class 0 with probability 1.

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

    for predicted in predict_images(method, prepared(), sampling):
        samples, mixture = predicted.samples.cpu(), predicted.mixture
        mean, entropy = mixture.mean().cpu(), mixture.entropy().cpu()
        for number, name in enumerate(predicted.names):
            image = shown.pop(name)
            window = preprocessing.window(image.shape[-2:])
            whole_mean = _paste(mean[number], image, window)
            whole_mean[0] += 1 - whole_mean.sum(0)
            yield GridRow(
                name=name,
                image=image.numpy(),
                raters=None,
                samples=_paste(samples[:, number], image, window).numpy(),
                mean=whole_mean.numpy(),
                entropy=_paste(entropy[number], image, window).numpy(),
                caption="",
            )


def write_predictions(
    rows: Iterator[GridRow], description: DataDescription, out: Path, on_image: Callable[[str], None]
) -> None:
    """For each image a folder `out/NAME` with `sample-00.png` ..., `mask.png`, `mean.tif`, `entropy.tif`,
    `samples.json` and `overview.png`; masks in the values of the data set that the run was trained on.

    `mean.tif` is float32 `(C, H, W)`, class probabilities; `entropy.tif` float32 `(H, W)`, nats.
    """
    values = np.array(description.class_values)
    values = values.astype(np.uint8 if values.max() < 256 else np.uint16)
    for row in rows:
        folder = out / row.name
        digits = max(2, len(str(len(row.samples) - 1)))
        files = [f"sample-{number:0{digits}d}.png" for number in range(len(row.samples))]
        for file, sample in zip(files, row.samples, strict=True):
            replace_file(folder / file, _png(values[sample]))
        replace_file(folder / "mask.png", _png(values[row.mean.argmax(0)]))
        replace_file(folder / "mean.tif", _tiff(row.mean))
        replace_file(folder / "entropy.tif", _tiff(row.entropy))
        content = json.dumps(readings(row.samples, files, description), indent=2)
        replace_file(folder / "samples.json", content.encode())
        save_figure(overview(row, description.class_names, description.has_background), folder / "overview.png")
        on_image(row.name)


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


def _paste(maps: Tensor, image: Tensor, window: tuple[slice, slice]) -> Tensor:
    """Maps `(..., h, w)` of a window -> `(..., H, W)`, zero around it."""
    (height, width), (rows, columns) = image.shape[-2:], window
    return functional.pad(maps, (columns.start, width - columns.stop, rows.start, height - rows.stop))


def _png(mask: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def _tiff(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values.astype(np.float32), photometric="minisblack")
    return buffer.getvalue()
