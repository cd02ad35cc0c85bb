"""Images without masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_trees import HEIGHT, WIDTH, gray, mask, save, write_folder

from plurimask.data.unlabelled import list_images, open_images
from plurimask.errors import InputError

ONE = ("intensity",)


def test_one_file_and_a_folder_of_files(tmp_path: Path) -> None:
    path = save(tmp_path / "b" / "scan.png", gray(1))
    save(tmp_path / "a.tif", gray(2, height=4, width=5))
    single = open_images(path, ONE)
    assert single.names == ("scan",) and len(single) == 1
    assert single[0].dtype == torch.float32 and (single[0].numpy() == gray(1)[None]).all()
    images = open_images(str(tmp_path), ONE)
    assert images.names == ("a", "b/scan") and [tuple(image.shape) for image in images] == [(1, 4, 5), (1, 6, 9)]


def test_images_folder_beside_masks(tmp_path: Path) -> None:
    write_folder(tmp_path / "val", {"x": (0, 1), "y": (0, 1)})
    assert open_images(tmp_path / "val", ONE).names == ("x", "y")
    with pytest.raises(InputError, match=r"with the splits val: give one of them"):
        open_images(tmp_path, ONE)


@pytest.mark.parametrize("channels", [ONE, ["t1", "t2"]])
def test_of_a_data_set_of_nnunet_the_folder_of_images_is_asked_for(tmp_path: Path, channels: list[str]) -> None:
    for number in range(len(channels)):
        save(tmp_path / "imagesTr" / f"a_{number:04d}.png", gray(number))
    save(tmp_path / "labelsTr" / "a.png", mask(0))  # no image to predict
    with pytest.raises(InputError, match=r"nnU-Net's data.*: give a folder of images, .*imagesTr"):
        open_images(tmp_path, channels)
    assert open_images(tmp_path / "imagesTr", channels).names == ("a",)


def test_channel_folders(tmp_path: Path) -> None:
    for seed, name in enumerate(["gfp", "phase"]):
        save(tmp_path / name / "a.png", gray(seed))
    save(tmp_path / "masks" / "a.png", mask(0))
    images = open_images(tmp_path, ["phase", "gfp"])
    assert images.names == ("a",) and (images[0].numpy() == np.stack([gray(1), gray(0)])).all()
    with pytest.raises(InputError, match=r"looked for images/.*mcherry.*gfp/"):
        open_images(tmp_path, ["mcherry", "gfp"])


@pytest.mark.parametrize("channels_last", [False, True])
def test_npz(tmp_path: Path, channels_last: bool) -> None:
    values = np.random.default_rng(0).integers(0, 99, (3, 2, HEIGHT, WIDTH), dtype=np.uint16)
    path = tmp_path / "set.npz"
    np.savez(path, images=values.transpose(0, 2, 3, 1) if channels_last else values)
    images = open_images(path, ["x", "y"])
    assert images.names == ("00000", "00001", "00002") and (images[2].numpy() == values[2]).all()
    with pytest.raises(InputError, match=r"set\.npz.*expected 5"):
        open_images(path, list("vwxyz"))
    np.savez(path, images=values[:, 0], names=np.array(["k", "l", "m"]))
    assert open_images(path, ONE).names == ("k", "l", "m") and open_images(path, ONE)[1].shape == (1, HEIGHT, WIDTH)
    np.savez(path, pictures=values)
    with pytest.raises(InputError, match=r"set\.npz.*pictures.*named images"):
        open_images(path, ONE)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        open_images(tmp_path / "absent", ONE)
    with pytest.raises(InputError, match=r"no images found.*found nothing"):
        open_images(tmp_path, ONE)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match=r"a\.txt.*not an image"):
        open_images(tmp_path / "a.txt", ONE)
    path = save(tmp_path / "a.png", gray())
    with pytest.raises(InputError, match=r"a\.png: 1 channels, expected 3 \(R, G, B\).*trained on"):
        open_images(path, ["R", "G", "B"])


def test_a_list_of_images_opens_none_of_them(tmp_path: Path) -> None:
    save(tmp_path / "good.png", gray(1))
    save(tmp_path / "other.png", np.stack([gray(number) for number in range(3)], axis=-1))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    images = list_images(tmp_path, ONE)
    assert images.names == ("bad", "good", "other")
    assert (images[1].numpy() == gray(1)[None]).all()
    assert images.files(1) == (tmp_path / "good.png",)
    for number, words in ((0, r"bad\.png"), (2, r"other\.png.*3 channels, expected 1")):
        with pytest.raises(InputError, match=words):
            images[number]
    with pytest.raises(InputError, match=r"bad\.png"):
        open_images(tmp_path, ONE)
