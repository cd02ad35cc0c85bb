"""Data sets in `.npz` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_trees import HEIGHT, WIDTH, write_json

from plurimask.data.layouts.npz import ArraySet
from plurimask.data.source import open_data
from plurimask.errors import InputError

COUNT, RATERS, CHANNELS = 5, 4, 2
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (COUNT, HEIGHT, WIDTH), dtype=np.uint8)
MASKS = RNG.integers(0, 2, (COUNT, RATERS, HEIGHT, WIDTH), dtype=np.uint8)


def write(path: Path, **arrays: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_data(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_train_and_val_with_patients(tmp_path: Path) -> None:
    patients = np.array(["p1", "p1", "p2", "p3", "p3"])
    write(tmp_path / "train.npz", images=IMAGES, masks=MASKS, patient=patients)
    write(tmp_path / "val.npz", images=IMAGES[:3], masks=MASKS[:3, :2], patient=np.array([7, 8, 8]))
    source = open_data(tmp_path)
    assert list(source.splits) == ["train", "val"] and not source.drawn and source.description.layout == "npz"
    assert source.description.rater_names == ("rater 1", "rater 2", "rater 3", "rater 4")
    train = source.splits["train"]
    assert train.groups == tuple(patients) and train.names[3] == "p3-00003"
    assert source.splits["val"].groups == ("7", "8", "8")
    assert (train[3].image.numpy() == IMAGES[3][None]).all() and (train[3].labels.numpy() == MASKS[3]).all()
    labels = source.splits["val"][1].labels.numpy()
    assert (labels[:2] == MASKS[1, :2]).all() and (labels[2:] == 255).all()
    assert isinstance(train, ArraySet) and train.arrays.masks.dtype == np.uint8


def test_names_without_patients_differ_between_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / f"{split}.npz", images=IMAGES, masks=MASKS)
    source = open_data(tmp_path)
    assert source.splits["train"].names[1] == "train-00001" and source.splits["val"].names[1] == "val-00001"
    named = write(tmp_path / "one" / "set.npz", images=IMAGES, masks=MASKS, names=np.array(list("abcde")))
    assert sorted(name for split in open_data(named).splits.values() for name in split.names) == list("abcde")


@pytest.mark.parametrize("channels_last", [False, True])
def test_one_file_with_channels(tmp_path: Path, channels_last: bool) -> None:
    images = RNG.normal(size=(COUNT, CHANNELS, HEIGHT, WIDTH))
    stored = images.transpose(0, 2, 3, 1) if channels_last else images
    write(tmp_path / "set.npz", images=stored, masks=MASKS[:, 0].astype(np.int64) * 2)
    write_json(tmp_path, channel_names={"0": "x", "1": "y"}, labels={"background": 0, "cell": 2})
    source = open_data(tmp_path / "set.npz")
    assert source.drawn and source.description.channel_names == ("x", "y")
    assert source.description.class_names == ("background", "cell")
    assert sum(len(split) for split in source.splits.values()) == COUNT
    example = source.splits["val"][0]
    index = int(example.name)
    assert np.allclose(example.image.numpy(), images[index], atol=1e-6) and example.image.is_contiguous()
    assert (example.labels.numpy() == MASKS[index, :1]).all()
    assert open_data(tmp_path).splits["val"].names == source.splits["val"].names


def test_absent_raters_are_maps_of_255(tmp_path: Path) -> None:
    masks = MASKS.copy()
    masks[2, 1] = 255
    write(tmp_path / "val.npz", images=IMAGES, masks=masks)
    source = open_data(tmp_path)
    assert source.description.class_names == ("background", "foreground") and source.description.ignore_value == 255
    assert (source.splits["val"][2].labels.numpy() == masks[2]).all()


def test_bad_files(tmp_path: Path) -> None:
    path = write(tmp_path / "train.npz", images=IMAGES, masks=MASKS)
    path.write_bytes(path.read_bytes()[:-300])
    refused(tmp_path, "train.npz", "savez_compressed")
    path.write_bytes(b"")
    refused(tmp_path, "train.npz", "savez_compressed")
    write(path, images=IMAGES, labels=MASKS)
    refused(tmp_path, "train.npz", "'masks' is missing", "labels")
    write(path, images=np.array([{}] * COUNT), masks=MASKS)
    refused(tmp_path, "train.npz", "numbers and strings")
    write(path, images=IMAGES[:, :-1], masks=MASKS)
    refused(tmp_path, "train.npz", "(5, 5, 9)", "(5, 4, 6, 9)", "do not fit")
    write(path, images=IMAGES[:-1], masks=MASKS)
    refused(tmp_path, "train.npz", "do not fit")
    write(path, images=IMAGES, masks=MASKS[0, 0])
    refused(tmp_path, "train.npz", "(6, 9)", "(N, H, W)")
    write(path, images=IMAGES[:0], masks=MASKS[:0])
    refused(tmp_path, "train.npz", "N at least 1")


def test_bad_values(tmp_path: Path) -> None:
    images = IMAGES.astype(np.float32)
    images[3, 2, 1] = np.nan
    path = write(tmp_path / "train.npz", images=images, masks=MASKS)
    refused(tmp_path, "train.npz", "image 3", "NaN")
    write(path, images=IMAGES, masks=MASKS * 0.5)
    refused(tmp_path, "train.npz", "0.5", "class indices")
    write(path, images=IMAGES, masks=MASKS.astype(np.int8) - 1)
    refused(tmp_path, "train.npz", "-1", "255")
    write(path, images=IMAGES, masks=MASKS, patient=np.arange(3))
    refused(tmp_path, "train.npz", "patient", "each of 5 images")
    write(path, images=IMAGES, masks=MASKS, names=np.array(list("abcda")))
    refused(tmp_path, "train.npz", "'a' occurs twice")
    write(path, images=IMAGES, masks=MASKS)
    write_json(tmp_path, labels={"background": 0, "cell": 2})
    refused(tmp_path, "train.npz, image train-00000", "value 1", "2 (cell)")
    write_json(tmp_path, channel_names={"0": "x", "1": "y"})
    refused(tmp_path, "2 channels (x, y)")


def test_channels_must_agree_between_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.npz", images=IMAGES, masks=MASKS)
    write(tmp_path / "val.npz", images=np.stack([IMAGES] * 3, 1), masks=MASKS)
    refused(tmp_path, "train.npz", "val.npz", "same channels")
