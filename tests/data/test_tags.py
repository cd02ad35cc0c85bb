"""Tags that change what the stored grid means are obeyed, or the file is refused by name."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from data_trees import HEIGHT, WIDTH, gray, mask
from PIL import Image, ImageOps

from plurimask.data.images import image_shape, read_image, read_mask
from plurimask.errors import InputError

RNG = np.random.default_rng(3)


def refusal(path: Path, read: Any = read_image) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def tiff(path: Path, values: np.ndarray, **options: Any) -> Path:
    tifffile.imwrite(path, values, **{"photometric": "minisblack", "metadata": None, **options})
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_orientation_is_that_of_every_viewer(tmp_path: Path, orientation: int, ending: str) -> None:
    path, exif = tmp_path / f"a.{ending}", Image.Exif()
    exif[0x0112] = orientation
    values = np.kron(gray(5), np.ones((8, 8), np.uint8))
    viewed = tmp_path / f"viewed.{'jpg' if ending == 'jpg' else 'png'}"
    Image.fromarray(values).save(viewed, exif=exif, quality=95)
    with Image.open(viewed) as picture:
        shown = np.asarray(ImageOps.exif_transpose(picture))
    if ending == "tif":
        tiff(path, values, extratags=[(274, 3, 1, orientation, True)])
    else:
        path = viewed
    assert (read_image(path)[0] == shown).all() and image_shape(path) == (1, *shown.shape)
    if ending != "jpg":
        assert (read_mask(path) == shown).all()


def test_the_content_says_the_format(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(mask(0, 255)).save(path, format="JPEG")
    assert "JPEG" in refusal(path, read_mask)
    tiff(path, gray().astype(np.uint16) * 200)
    assert (read_image(path)[0] == gray().astype(np.uint16) * 200).all() and image_shape(path) == (1, HEIGHT, WIDTH)
    Image.fromarray(gray()).save(tmp_path / "a.tif", format="PNG")
    assert (read_mask(tmp_path / "a.tif") == gray()).all()
    (tmp_path / "b.png").write_bytes(b"RIFF0000WEBP")
    assert "not a PNG" in refusal(tmp_path / "b.png", image_shape)


def test_white_is_zero(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", gray(), photometric="miniswhite")
    assert (read_image(path)[0] == 255 - gray()).all()
    with Image.open(path) as picture:
        assert (read_image(path)[0] == np.asarray(picture)).all()
    assert "white = 0" in refusal(path, read_mask)
    wide = gray().astype(np.uint16) * 200
    assert (read_image(tiff(path, wide, photometric="miniswhite"))[0] == 65535 - wide).all()
    assert "white = 0" in refusal(tiff(path, wide.astype(np.float32), photometric="miniswhite"))
    assert (read_image(tiff(path, mask(0, 1).astype(bool), photometric="miniswhite"))[0] == 1 - mask(0, 1)).all()


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "deflate"])
def test_four_bands_stay_four_in_every_compression(tmp_path: Path, compression: str) -> None:
    bands = RNG.integers(0, 60000, (HEIGHT, WIDTH, 4), dtype=np.uint16)
    path = tiff(tmp_path / "a.tif", bands, compression=compression, photometric="rgb", extrasamples=["unspecified"])
    assert (read_image(path) == bands.transpose(2, 0, 1)).all() and image_shape(path) == (4, HEIGHT, WIDTH)


def test_premultiplied_alpha(tmp_path: Path) -> None:
    colours = np.dstack([gray(1), gray(2), gray(3), gray(4)])
    path = tiff(tmp_path / "a.tif", colours, photometric="rgb", extrasamples=["assocalpha"])
    assert "premultiplied" in refusal(path)
    colours[..., 3] = 255
    path = tiff(tmp_path / "a.tif", colours, photometric="rgb", extrasamples=["assocalpha"])
    assert (read_image(path) == colours.transpose(2, 0, 1)).all()


def test_colours_that_are_not_rgb(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.dstack([gray(1), gray(2), gray(3)]), photometric="cielab")
    assert "CIELAB" in refusal(path) and "CIELAB" in refusal(path, image_shape)


def test_jpeg_inside_a_tiff(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", np.full((16, 32), 90, np.uint8), compression="jpeg")
    assert abs(read_image(path).astype(int) - 90).max() < 3 and "JPEG" in refusal(path, read_mask)
    colour = np.full((16, 32, 3), (200, 30, 60), np.uint8)
    path = tiff(path, colour, compression="jpeg", photometric="rgb", compressionargs={"outcolorspace": "ycbcr"})
    assert abs(read_image(path).reshape(3, -1).mean(1) - colour[0, 0]).max() < 4


@pytest.mark.parametrize(
    ("axes", "options", "word"),
    [
        ("ZYX", {"imagej": True}, "5 slices"),
        ("TYX", {"imagej": True}, "5 frames"),
        ("ZYX", {"ome": True}, "5 slices"),
        ("TYX", {"ome": True}, "5 frames"),
        ("ZYX", {}, "5 slices"),
    ],
)
def test_planes_that_are_declared(tmp_path: Path, axes: str, options: dict[str, bool], word: str) -> None:
    path = tmp_path / "a.ome.tif"
    values = RNG.integers(0, 255, (5, 20, 30), dtype=np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": axes}, **options)
    for read in (read_image, image_shape, read_mask):
        message = refusal(path, read)
        assert word in message and "volumes as .nii.gz" in message
    tifffile.imwrite(path, values, photometric="minisblack", metadata={"axes": "CYX"}, **options)
    assert (read_image(path) == values).all() and image_shape(path) == (5, 20, 30)
    tifffile.imwrite(path, values[None], photometric="minisblack", metadata={"axes": "ZCYX"}, **options)
    assert (read_image(path) == values).all() and image_shape(path) == (5, 20, 30)


def test_pages_that_nothing_declares(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pictures = [Image.fromarray(gray(seed)) for seed in range(5)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    assert "5 pages" in refusal(path) and "5 pages" in refusal(path, image_shape)
    assert "5 pages" in refusal(tiff(path, RNG.integers(0, 9, (5, HEIGHT, WIDTH)), metadata={}))
    pictures[0].save(path, save_all=True, append_images=[Image.fromarray(gray(1, height=HEIGHT + 1))])
    assert "2 images in one file (6x9, 7x9)" in refusal(path)


def test_smaller_copies_and_masks_beside_the_image(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for hidden in (1, 0):
        with tifffile.TiffWriter(path) as file:
            file.write(gray(), photometric="minisblack", metadata=None)
            file.write(gray()[::2, ::2], photometric="minisblack", metadata=None, subfiletype=1)
            file.write(mask(1, hidden).astype(bool), photometric="mask", metadata=None, subfiletype=4)
        if hidden:
            assert (read_image(path)[0] == gray()).all() and image_shape(path) == (1, HEIGHT, WIDTH)
        else:
            assert "no data" in refusal(path)


def test_nodata_of_georeferenced_files(tmp_path: Path) -> None:
    path, values = tmp_path / "a.tif", RNG.normal(100, 10, (HEIGHT, WIDTH))
    values[0, :3] = -9999

    def write(stored: np.ndarray, nodata: str) -> Path:
        return tiff(path, stored, extratags=[(42113, 2, 0, nodata, True)])

    for dtype in (np.float32, np.float64, np.int16):
        message = refusal(write(values.astype(dtype), "-9999"))
        assert "3 values are -9999" in message and "GDAL_NODATA" in message
        read_image(write(values.astype(dtype), "-32768"))
    assert "3 values" in refusal(write(np.where(values < 0, np.nan, values), "nan"))
    read_image(write(gray(), "-9999"))
    lowest = np.where(values < 0, np.finfo(np.float32).min, values).astype(np.float32)
    assert "3 values" in refusal(write(lowest, "-3.4028234663852886e+38")) and "3 values" in refusal(tiff(path, lowest))
    assert (read_mask(write(mask(0, 1), "0")) == mask(0, 1)).all()
    assert "write 255" in refusal(write(mask(0, 1, 15), "15"), read_mask)


@pytest.mark.parametrize("value", [1e19, -1e300, np.inf, np.nan])
def test_numbers_that_float32_does_not_hold_well(tmp_path: Path, value: float) -> None:
    values = np.ones((HEIGHT, WIDTH))
    values[2, 3] = value
    assert "1 values" in refusal(tiff(tmp_path / "a.tif", values))
    assert read_image(tiff(tmp_path / "a.tif", np.full((3, 4), 60000, np.float16))).max() == 60000


def test_animations_are_refused(tmp_path: Path) -> None:
    for name in ("a.gif", "a.png"):
        pictures = [Image.fromarray(np.full((HEIGHT, WIDTH), 50 * seed, np.uint8)) for seed in range(3)]
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
        assert "3 pictures" in refusal(tmp_path / name) and "3 pictures" in refusal(tmp_path / name, image_shape)


def test_gif(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    Image.fromarray(mask(0, 255)).save(path)
    assert set(np.unique(read_mask(path))) <= {0, 1, 255} and (read_mask(path) > 0).sum() == (mask(0, 255) > 0).sum()
    picture = Image.new("P", (WIDTH, HEIGHT))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putdata(mask(0, 1).ravel().tolist())
    picture.save(path)
    assert image_shape(path) == (3, HEIGHT, WIDTH) == read_image(path).shape
    assert read_image(path)[:, 0, :2].T.tolist() == [[10, 20, 30], [200, 100, 50]]


def test_palette_tiff(tmp_path: Path) -> None:
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, :3] = np.array([[9, 8, 7], [200, 100, 50], [1, 2, 3]]).T * 257
    for scale in (1, 257):  # some programs write 8 bits where 16 belong
        path = tiff(tmp_path / "a.tif", mask(0, 1, 2), photometric="palette", colormap=colormap // 257 * scale)
        assert read_image(path)[:, 0, :3].T.tolist() == [[9, 8, 7], [200, 100, 50], [1, 2, 3]]
        assert image_shape(path) == (3, HEIGHT, WIDTH) and (read_mask(path) == mask(0, 1, 2)).all()


def test_transparency_of_a_mask(tmp_path: Path) -> None:
    path, visible = tmp_path / "a.png", mask(0, 255, 255)
    Image.fromarray(np.dstack([np.full_like(visible, 255)] * 3 + [visible])).save(path)
    assert (read_mask(path) == visible).all()
    Image.fromarray(np.dstack([np.zeros_like(visible)] * 3 + [visible])).save(path)
    assert "transparency" in refusal(path, read_mask)
    Image.fromarray(np.dstack([np.full_like(visible, 255)] * 3 + [mask(0, 128, 255)])).save(path)
    assert "half-transparent" in refusal(path, read_mask)


def test_an_orientation_in_a_late_chunk_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(gray()).save(path)
    content = path.read_bytes()
    data = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    path.write_bytes(content[:-12] + chunk + content[-12:])
    assert image_shape(path) == (1, WIDTH, HEIGHT) and (read_image(path)[0] == np.rot90(gray(), -1)).all()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_one_limit_for_the_pixels_of_all_formats(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    Image.fromarray(gray()).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    assert read_image(path).size == HEIGHT * WIDTH
    monkeypatch.setenv("PLURIMASK_MAX_PIXELS", str(HEIGHT * WIDTH - 1))
    assert "more than 53 pixels" in refusal(path)
    if path.suffix == ".tif":  # parts of it may be read
        assert image_shape(path) == (1, HEIGHT, WIDTH)
    else:
        assert "PLURIMASK_MAX_PIXELS" in refusal(path, image_shape)
    monkeypatch.setenv("PLURIMASK_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="expected a number"):
        read_image(path)


def test_tags_that_are_passed_over_are_no_business_of_a_user(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tiff(tmp_path / "a.tif", gray(), software="of a scanner")
    content = bytearray(path.read_bytes())
    start = struct.unpack("<I", content[4:8])[0] + 2
    for place in range(start, start + 12 * struct.unpack("<H", content[start - 2 : start])[0], 12):
        if struct.unpack("<H", content[place : place + 2])[0] == 305:  # Software
            content[place + 2 : place + 4] = struct.pack("<H", 99)  # no such type
    path.write_bytes(content)
    code = "import sys, pathlib; from plurimask.data.images import read_image; read_image(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    read_image(path)
    assert [one.name for one in caplog.records] == ["tifffile"]  # who asks for the log has it
