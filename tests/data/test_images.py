"""Reading one file: the stored values come out, and what is wrong is said in one line that names the file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from data_trees import HEIGHT, WIDTH, gray, mask, save
from PIL import Image

from plurimask.data.images import image_shape, read_image, read_mask, read_stored_mask
from plurimask.errors import InputError


def png_bytes(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """A PNG of a kind that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def refusal(path: Path, read: object = read_image) -> str:
    """The message with which `path` is refused: one line that names it."""
    with pytest.raises(InputError) as caught:
        read(path)  # type: ignore[operator]
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "PNG"])
def test_gray_8_bits(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"a.{ending}", gray())
    read = read_image(path)
    assert read.dtype == np.uint8 and read.shape == (1, HEIGHT, WIDTH) == image_shape(path)
    assert (read[0] == gray()).all()
    assert (read_mask(path) == gray()).all()


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_gray_16_bits(tmp_path: Path, ending: str) -> None:
    values = gray().astype(np.uint16) * 257
    path = save(tmp_path / f"a.{ending}", values)
    assert read_image(path).dtype == np.uint16 and (read_image(path)[0] == values).all()
    assert read_mask(path).dtype == np.uint16 and (read_mask(path) == values).all()
    assert read_mask(save(path, values // 257)).dtype == np.uint8


def test_colour_comes_channels_first_and_transparency_is_dropped(tmp_path: Path) -> None:
    colour = np.stack([gray(1), gray(2), gray(3)], axis=2)
    path = save(tmp_path / "a.png", colour)
    assert read_image(path).shape == (3, HEIGHT, WIDTH) == image_shape(path)
    assert (read_image(path).transpose(1, 2, 0) == colour).all()
    transparent = save(tmp_path / "b.png", np.dstack([colour, gray(4)]))
    assert (read_image(transparent) == read_image(path)).all() and image_shape(transparent) == (3, HEIGHT, WIDTH)


def test_jpeg_is_an_image_and_no_mask(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", np.full((HEIGHT, WIDTH, 3), 77, dtype=np.uint8))
    assert read_image(path).shape == (3, HEIGHT, WIDTH)
    assert "PNG" in refusal(path, read_mask)


def test_one_bit_and_few_bits_keep_their_values(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(mask(0, 1).astype(bool)).save(path)
    assert (read_mask(path) == mask(0, 1)).all() and read_image(path).max() == 1
    path.write_bytes(png_bytes(4, 1, 4, 0, b"\0\x01\x2f"))
    assert read_mask(path).tolist() == [[0, 1, 2, 15]]
    path.write_bytes(png_bytes(4, 1, 2, 0, b"\0\x1b"))
    assert read_mask(path).tolist() == [[0, 1, 2, 3]]


def test_palette_is_indices_in_a_mask_and_colours_in_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    picture = Image.new("P", (WIDTH, HEIGHT))
    picture.putdata(mask(0, 1, 2).ravel().tolist())
    picture.putpalette([9, 8, 7, 200, 100, 50, 1, 2, 3])
    picture.save(path)
    assert (read_mask(path) == mask(0, 1, 2)).all()
    assert image_shape(path) == (3, HEIGHT, WIDTH)
    assert read_image(path)[:, 0, :3].T.tolist() == [[9, 8, 7], [200, 100, 50], [1, 2, 3]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of how arrays of three axes are written by default
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 2), (4, HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
def test_tiff_channels_in_either_order(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(5).integers(0, 60000, shape).astype(np.float32)
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, values)
    expected = values[None] if values.ndim == 2 else values if shape[0] == 4 else values.transpose(2, 0, 1)
    assert read_image(path).dtype == np.float32 and (read_image(path) == expected).all()
    assert image_shape(path) == expected.shape


def test_lzw_tiff_is_read_or_refused_but_never_reduced(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(gray()).save(path, compression="tiff_lzw")
    assert (read_image(path)[0] == gray()).all() and image_shape(path) == (1, HEIGHT, WIDTH)
    Image.fromarray(np.dstack([gray(each) for each in range(4)])).save(path, compression="tiff_lzw")
    assert read_image(path).shape == (4, HEIGHT, WIDTH) == image_shape(path)


@pytest.mark.parametrize(("colour_type", "channels", "kept"), [(2, 3, 3), (4, 2, 1), (6, 4, 3)])
def test_16_bit_colour_png_keeps_its_bits(tmp_path: Path, colour_type: int, channels: int, kept: int) -> None:
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, channels), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    path.write_bytes(png_bytes(WIDTH, HEIGHT, 16, colour_type, rows))
    assert read_image(path).dtype == np.uint16 and image_shape(path) == (kept, HEIGHT, WIDTH)
    assert (read_image(path) == pixels.transpose(2, 0, 1)[:kept]).all()
    path.write_bytes(path.read_bytes()[:-40])
    assert "damaged" in refusal(path)


def test_16_bit_masks_in_colour_are_those_of_8_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    colours = np.resize(np.array([[0, 0, 0], [255, 0, 17], [0, 9, 0]], np.uint8), (HEIGHT, WIDTH, 3))
    save(path, colours)
    narrow = read_stored_mask(path)
    rows = b"".join(b"\0" + (row * 257).tobytes() for row in colours.astype(">u2"))
    path.write_bytes(png_bytes(WIDTH, HEIGHT, 16, 2, rows))
    assert (read_stored_mask(path).values == narrow.values).all() and read_stored_mask(path).kind == "colours"
    visible = np.concatenate([colours.astype(">u2") * 257, np.full((HEIGHT, WIDTH, 1), 65535, ">u2")], axis=2)
    visible[0, 1] = 65535, 65535, 65535, 0
    rows = b"".join(b"\0" + row.tobytes() for row in visible)
    path.write_bytes(png_bytes(WIDTH, HEIGHT, 16, 6, rows))
    assert read_stored_mask(path).values[0, 1] == 0 != narrow.values[0, 1]


@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "bmp"])
def test_cut_short_or_no_image_at_all(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"a.{ending}", gray(height=40, width=50))
    path.write_bytes(path.read_bytes()[:-600])
    assert "damaged" in refusal(path)
    path.write_bytes(b"")
    assert "copy or export" in refusal(path)
    path.write_text("<html>not found</html>")
    assert "copy or export" in refusal(path, image_shape)


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "a.png")
    assert "no such file" in refusal(tmp_path / "a.tif", read_mask)


def test_not_finite_image(tmp_path: Path) -> None:
    values = np.ones((HEIGHT, WIDTH), dtype=np.float32)
    values[2, 3], values[4, 5] = np.nan, np.inf
    tifffile.imwrite(tmp_path / "a.tif", values)
    message = refusal(tmp_path / "a.tif")
    assert "2 values" in message and "NaN" in message and "replace" in message


def test_masks_of_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.dstack([mask(0, 3)] * 3))
    assert (read_mask(path) == mask(0, 3)).all()
    save(path, np.dstack([mask(0, 3), mask(0, 3), mask(1, 0)]))
    message = refusal(path, read_mask)
    assert "3 channels" in message and "class index" in message


def test_masks_of_floats(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, mask(0, 255).astype(np.float32))
    assert read_mask(path).dtype == np.uint8 and (read_mask(path) == mask(0, 255)).all()
    tifffile.imwrite(path, mask(0, 1).astype(np.float32) * 0.3)
    message = refusal(path, read_mask)
    assert "0.3" in message and "class indices" in message
    tifffile.imwrite(path, -mask(0, 1).astype(np.int16))
    assert "-1" in refusal(path, read_mask)


def test_volume_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 5, HEIGHT, WIDTH), dtype=np.uint8))
    assert "(2, 5, 6, 9)" in refusal(path) and "(2, 5, 6, 9)" in refusal(path, image_shape)
