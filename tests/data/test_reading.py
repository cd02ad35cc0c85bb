"""Parts of images: what a reader gives of a box is what the whole file holds there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from plurimask.data.image_set import ImageSet
from plurimask.data.images import read_image
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.images.reading import WholeReader, tiff_reader
from plurimask.data.unlabelled import open_images
from plurimask.errors import InputError

GRAY = np.random.default_rng(0).integers(0, 60_000, (301, 217), dtype=np.uint16)
COLOURS = np.random.default_rng(1).integers(0, 255, (301, 217, 3), dtype=np.uint8)
PLANES = np.moveaxis(COLOURS, -1, 0).copy()
BOXES = [(slice(0, 301), slice(0, 217)), (slice(13, 150), slice(60, 217)), (slice(64, 65), slice(64, 128))]

TIFFS: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (GRAY, {}),
    "big-endian": (GRAY, {"byteorder": ">"}),
    "tiles": (GRAY, {"tile": (64, 64), "compression": "zlib", "bigtiff": True}),
    "predictor": (GRAY, {"tile": (64, 48), "compression": "zlib", "predictor": True}),
    "strips": (GRAY, {"rowsperstrip": 16, "compression": "lzw"}),
    "float": (GRAY.astype(np.float32), {"tile": (32, 48)}),
    "colours": (COLOURS, {"photometric": "rgb"}),
    "colour-tiles": (COLOURS, {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}),
    "colour-planes": (PLANES, {"photometric": "rgb", "planarconfig": "separate", "tile": (64, 64)}),
    "channels": (PLANES, {"metadata": {"axes": "CYX"}, "ome": True}),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_boxes_of_a_tiff(kind: str, tmp_path: Path) -> None:
    values, settings = TIFFS[kind]
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, values, **({"photometric": "minisblack"} | settings))
    reader, whole = tiff_reader(path), read_image(path)
    assert reader is not None and reader.shape == whole.shape and reader.whole_bytes == 0
    for box in BOXES:
        assert np.array_equal(reader.values(box), whole[(slice(None), *box)])


def test_of_a_pyramid_the_largest_level(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "image.tif", bigtiff=True) as file:
        file.write(GRAY, subifds=1, tile=(64, 64), photometric="minisblack")
        file.write(GRAY[::2, ::2], subfiletype=1, tile=(64, 64), photometric="minisblack")
    reader = tiff_reader(tmp_path / "image.tif")
    assert reader is not None and np.array_equal(reader.values(BOXES[1])[0], GRAY[BOXES[1]])


@pytest.mark.parametrize("settings", [{"photometric": "miniswhite"}, {"extratags": [(274, "H", 1, 6, True)]}])
def test_what_tags_turn_or_map_is_read_whole(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, GRAY, **({"photometric": "minisblack"} | settings))
    assert tiff_reader(path) is None
    images = open_images(path, ["gray"])
    reader, whole = images.reader(0), images[0].numpy()
    assert isinstance(reader, WholeReader) and reader.whole_bytes == 8 * whole.size
    assert reader.shape == whole.shape and np.array_equal(reader.read(BOXES[2], "x"), whole[(slice(None), *BOXES[2])])


def zarr_of(folder: Path, values: Any, axes: str, scale: list[float] | None = None) -> Path:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'plurimask[large]'")
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    group.create_array("full", data=values, chunks=tuple(min(64, side) for side in values.shape))
    units = [
        {"name": axis, "type": "space", "unit": "micrometer"} if axis in "zyx" else {"name": axis} for axis in axes
    ]
    scales = [{"type": "scale", "scale": scale or [1.0] * len(axes)}]
    levels = [{"path": "full", "coordinateTransformations": scales}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": units, "datasets": levels}]}
    return folder


def of_boxes(images: ImageSet) -> None:
    whole = images[0]
    for box in BOXES:
        read = images.reader(0).read(box, "x")
        assert torch.equal(torch.from_numpy(read), whole[(slice(None), *box)])


def test_ome_zarr_folders_are_images(tmp_path: Path) -> None:
    zarr_of(tmp_path / "one.ome.zarr", GRAY[None, None, None], "tczyx", [1.0, 1.0, 4.0, 0.5, 0.25])
    images = open_images(tmp_path / "one.ome.zarr", ["gray"])
    assert images.names == ("one",) and images.pixel_size(0) == PixelSize(0.5, 0.25, "µm")
    assert torch.equal(images[0][0], torch.from_numpy(GRAY.astype(np.float32))) and images.files(0)
    of_boxes(images)


def test_channels_and_arrays_and_folders_of_them(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr is not installed: pip install 'plurimask[large]'")
    zarr_of(tmp_path / "a.zarr", PLANES, "cyx")
    zarr.save_array(tmp_path / "b.zarr", PLANES)
    tifffile.imwrite(tmp_path / "beside.tif", GRAY)
    images = open_images(tmp_path, ["r", "g", "b"])
    assert images.names == ("a", "b") and "1 image files beside" in images.notes[0]
    assert torch.equal(images[0], images[1]) and torch.equal(images[0], torch.from_numpy(PLANES.astype(np.float32)))
    of_boxes(images)
    with pytest.raises(InputError, match="3 channels, expected 1"):
        open_images(tmp_path, ["gray"])


def test_a_damaged_zarr_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="zarr is not installed: pip install 'plurimask[large]'")
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read as an array of Zarr"):
        open_images(tmp_path / "bad.zarr", ["gray"])
