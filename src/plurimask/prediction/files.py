"""Plausible masks of new images, as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from plurimask.data import DataDescription, ImageSet
from plurimask.data.preprocessing import Preprocessing, resized
from plurimask.distribution import IGNORE, entropy
from plurimask.errors import InputError
from plurimask.files import replace_file
from plurimask.method import SegmentationMethod
from plurimask.metrics import ImageUncertainty, image_uncertainty, object_scores
from plurimask.prediction.predict import Sampling, predict_images

TABLE = "uncertainty.csv"
COLUMNS = ("name", *ImageUncertainty._fields, "num_objects")
"""Of the table with a row per image."""


@dataclass(frozen=True)
class Predicted:
    """What was predicted for one image, in the window of it that the run sees (all of it, without a centre crop).

    Everything is in the pixels of the image, whatever size the run brings images to: label maps by the nearest pixel,
    probabilities and what follows from them by linear interpolation.
    """

    name: str
    image: NDArray[Any]
    """`(K, h, w)`, as stored."""
    samples: NDArray[np.uint8]
    """`(N, h, w)`."""
    mean: NDArray[Any]
    """`(C, h, w)`, class probabilities."""
    entropy: NDArray[Any]
    """`(h, w)`, nats."""
    window: tuple[slice, slice]
    size: tuple[int, int]
    """Height and width of the whole image."""
    mutual_information: NDArray[Any]
    """`(h, w)`, nats: the part of the entropy that comes from samples that disagree."""
    variance: NDArray[Any]
    """`(C, h, w)`, of each class's probability over the samples, 0 to 1/4."""


def predict(
    method: SegmentationMethod, images: ImageSet, preprocessing: Preprocessing, sampling: Sampling
) -> Iterator[Predicted]:
    """Samples of each image, their mean, and how sure they are.

    The method is trained and in evaluation mode, `preprocessing` is its run's. An image's samples depend on the seed
    and its name alone.
    """
    shown: dict[str, Tensor] = {}

    def prepared() -> Iterator[tuple[str, Tensor]]:
        for number, name in enumerate(images.names):
            shown[name] = images[number]
            yield name, preprocessing.image(shown[name])

    for names, samples, statistics in predict_images(method, prepared(), sampling):
        mean, information, variance = statistics.mean(), statistics.mutual_information(), statistics.variance()
        for number, name in enumerate(names):
            image = shown.pop(name)
            cut, size = preprocessing.cut(image), (image.shape[-2], image.shape[-1])
            own = [samples[:, number], mean[number], information[number, None], variance[number]]
            maps, probabilities, shared, spread = (resized(part.cpu(), cut.shape[-2:]) for part in own)
            yield Predicted(
                name,
                cut.numpy(),
                maps.numpy(),
                probabilities.numpy(),
                entropy(probabilities, dim=0).numpy(),
                preprocessing.window(size),
                size,
                shared[0].numpy(),
                spread.numpy(),
            )


def write_predictions(
    predictions: Iterator[Predicted], description: DataDescription, out: Path, on_image: Callable[[Predicted], object]
) -> None:
    """A folder `out/NAME` for each image, and `out/uncertainty.csv` for all of them.

    In the folder: `sample-00.png` ..., `mask.png`, `mean.tif`, `entropy.tif`, `mutual_information.tif`, `variance.tif`,
    `samples.json` and `uncertainty.json`: in the image's height and width and the values of the data
    set's masks. The maps are float32: `mean.tif` `(C, H, W)`, class probabilities; `variance.tif` `(C, H, W)`, their
    variance over samples; the others `(H, W)`, nats. What lies outside the window of a run with a centre crop is
    background; where the data have none it is not judged, and NaN in the maps.

    `uncertainty.json` has the scores of `ImageUncertainty`, and of each object of the most likely map those of
    `ObjectScore`, in positions of the image; scores are of the window, and null where they do not exist. The table has
    the image scores, a row per image in the order of names, "nan" where they do not exist; it is written at the end.

    Raises:
        InputError: an image's name leads out of the folder, or a file cannot be written.
    """
    values = mask_values(description)
    rows: list[dict[str, Any]] = []
    (out / TABLE).unlink(missing_ok=True)  # of an earlier call, perhaps for other images
    for predicted in predictions:
        folder, samples = out / predicted.name, predicted.samples
        if not folder.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{predicted.name!r} is no name for a folder in {out}: rename the image")
        for stale in folder.glob("sample-*.png"):
            stale.unlink()
        digits = max(2, len(str(len(samples) - 1)))
        files = [f"sample-{number:0{digits}d}.png" for number in range(len(samples))]
        maps = np.concatenate([samples, predicted.mean.argmax(0, keepdims=True).astype(np.uint8)])
        whole = values[_whole(maps, predicted, 0 if description.has_background else IGNORE)]
        for file, mask in zip([*files, "mask.png"], whole, strict=True):
            replace_file(folder / file, _png(mask))
        for file, whole in _whole_maps(predicted, description.has_background).items():
            replace_file(folder / file, _tiff(whole))
        uncertainty = uncertainty_of(predicted, description)
        rows.append({"name": predicted.name, **{name: uncertainty[name] for name in COLUMNS[1:]}})
        replace_file(folder / "uncertainty.json", json.dumps(_with_null(uncertainty), indent=2).encode())
        content = json.dumps(readings(samples, files, description), indent=2)
        replace_file(folder / "samples.json", content.encode())
        on_image(predicted)
    table = io.StringIO()
    writer = csv.DictWriter(table, fieldnames=COLUMNS)
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda one: str(one["name"])))
    replace_file(out / TABLE, table.getvalue().encode())


def uncertainty_of(predicted: Predicted, description: DataDescription) -> dict[str, Any]:
    """The content of `uncertainty.json`, NaN where a score does not exist."""
    counted = description.counted_classes
    samples, mean, nats = map(torch.as_tensor, (predicted.samples, predicted.mean, predicted.entropy))
    objects = object_scores(samples, mean, nats, counted)
    starts = np.array([[side.start] for side in predicted.window])
    rows = []
    for one in objects:
        row = {"class": description.class_names[one.class_index], **one._asdict()}
        del row["class_index"]
        rows.append({**row, "bounding_box": (starts + one.bounding_box).tolist()})
    image = image_uncertainty(samples, mean, counted)._asdict()
    return {**image, "num_objects": len(objects), "objects": rows}


def _with_null(content: dict[str, Any]) -> dict[str, Any]:
    """None in place of NaN, which JSON does not know and which alone differs from itself."""
    return {
        name: [_with_null(part) for part in one] if name == "objects" else None if one != one else one
        for name, one in content.items()
    }


def _whole_maps(predicted: Predicted, has_background: bool) -> dict[str, NDArray[Any]]:
    """By file name, each map of the whole image: outside the window surely background, or NaN where there is none."""
    nothing = 0.0 if has_background else np.nan
    surely = np.full((len(predicted.mean), 1, 1), nothing)
    if has_background:
        surely[0] = 1
    return {
        "mean.tif": _whole(predicted.mean, predicted, surely),
        "entropy.tif": _whole(predicted.entropy, predicted, nothing),
        "mutual_information.tif": _whole(predicted.mutual_information, predicted, nothing),
        "variance.tif": _whole(predicted.variance, predicted, nothing),
    }


def mask_values(description: DataDescription) -> NDArray[Any]:
    """The value in mask files of each label from 0 to 255: `(256,)`, uint8 or uint16."""
    ignored = IGNORE if description.ignore_value is None else description.ignore_value
    values = np.full(IGNORE + 1, ignored)
    values[: description.num_classes] = description.class_values
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)


def readings(samples: NDArray[np.uint8], files: list[str], description: DataDescription) -> dict[str, Any]:
    """The distinct label maps among samples `(N, H, W)`, most frequent first, with the share of samples of each."""
    distinct, inverse, counts = np.unique(
        samples.reshape(len(samples), -1), axis=0, return_inverse=True, return_counts=True
    )
    inverse = inverse.reshape(-1)  # numpy 2.0 gave it another shape
    content = []
    for number in np.argsort(-counts, kind="stable"):
        equal = [files[index] for index in np.flatnonzero(inverse == number)]
        pixels = np.bincount(distinct[number], minlength=description.num_classes).tolist()
        content.append(
            {
                "file": equal[0],
                "count": len(equal),
                "frequency": len(equal) / len(samples),
                "samples": equal,
                "pixels": dict(zip(description.class_names, pixels, strict=False)),
            }
        )
    return {"num_samples": len(samples), "num_distinct": len(distinct), "readings": content}


def _whole(values: NDArray[Any], predicted: Predicted, outside: float | NDArray[Any]) -> NDArray[Any]:
    """Values `(..., h, w)` of the window -> `(..., H, W)` of the image, `outside` around them."""
    whole = np.full((*values.shape[:-2], *predicted.size), outside, dtype=values.dtype)
    whole[..., *predicted.window] = values
    return whole


def _png(mask: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def _tiff(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values.astype(np.float32), photometric="minisblack")
    return buffer.getvalue()
