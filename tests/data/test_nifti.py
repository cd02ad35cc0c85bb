"""NIfTI files, against nibabel; and those that are refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from volumes import ORDERS, SHAPE, SPACING, reordered, save_nifti, straight, write_volumes

from plurimask.data import open_data, open_images, read_image, read_mask
from plurimask.data.images import image_grid, image_pixel_size, image_shape
from plurimask.data.images.limit import OPTION
from plurimask.data.images.pixel_size import PixelSize
from plurimask.errors import InputError
from plurimask.evaluation.check import check_data

nibabel = pytest.importorskip("nibabel")


def change(path: Path, offset: int, content: bytes) -> Path:
    """The file with other bytes from `offset` on, once it is unpacked."""
    raw = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    raw[offset : offset + len(content)] = content
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return path


@pytest.mark.parametrize(("order", "signs"), ORDERS[::7])
def test_axes_are_depth_height_width_whatever_their_order(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", *reordered(straight(), order, signs))
    seen = read_image(path)
    assert image_shape(path) == seen.shape == (1, 6, 5, 4)
    np.testing.assert_array_equal(seen[0], straight().transpose(2, 1, 0))
    closest = nibabel.as_closest_canonical(nibabel.load(path))
    np.testing.assert_array_equal(seen[0], np.asarray(closest.dataobj).transpose(2, 1, 0))
    assert image_pixel_size(path) == PixelSize(0.75, 0.5, "mm", 3.0)


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "uint16", "int32", "float32", ">f4", "float64"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ"])
def test_types_and_byte_orders_are_read_as_nibabel_does(tmp_path: Path, dtype: str, ending: str) -> None:
    values = (straight() % 200).astype(dtype)
    header = nibabel.Nifti1Header(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(values, np.diag([*SPACING, 1.0]), header)
    nibabel.save(image, tmp_path / "saved.nii.gz")
    content = (tmp_path / "saved.nii.gz").read_bytes()
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.decompress(content) if ending == ".nii" else content)
    seen = read_image(path)
    assert seen.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(seen[0], values.transpose(2, 1, 0))


def test_slope_and_intercept_are_applied_to_images(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(straight(), np.diag([*SPACING, 1.0]))
    image.header.set_slope_inter(0.5, -1024.0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    expected = nibabel.load(tmp_path / "a.nii.gz").get_fdata()
    np.testing.assert_allclose(read_image(tmp_path / "a.nii.gz")[0], expected.transpose(2, 1, 0))


def test_channels_are_the_fourth_axis(tmp_path: Path) -> None:
    values = np.stack([straight(0), straight(1)], -1)
    path = save_nifti(tmp_path / "a.nii.gz", *reordered(values, (1, 2, 0), (1, -1, 1)))
    assert image_shape(path) == (2, 6, 5, 4)
    np.testing.assert_array_equal(read_image(path)[1], straight(1).transpose(2, 1, 0))
    single = save_nifti(tmp_path / "b.nii.gz", straight()[..., None])
    assert read_image(single).shape == (1, 6, 5, 4)
    vector = save_nifti(tmp_path / "c.nii.gz", values[:, :, :, None])
    assert image_shape(vector) == (2, 6, 5, 4)


def test_a_header_without_orientation_is_read_by_its_sizes(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", straight(), None, qform_code=0, sform_code=0)
    assert nibabel.load(path).header["sform_code"] == 0
    expected = np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj).transpose(2, 1, 0)
    np.testing.assert_array_equal(read_image(path)[0], expected)
    assert image_pixel_size(path) == PixelSize(0.75, 0.5, "mm", 3.0)


@pytest.mark.parametrize(("units", "size"), [(0, None), (2, (1.0, 1.0, "mm", 1.0)), (3, (1.0, 1.0, "µm", 1.0))])
def test_ones_of_no_unit_are_no_size(tmp_path: Path, units: int, size: tuple[object, ...] | None) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", straight(), np.eye(4), xyzt_units=units)
    assert image_pixel_size(path) == size


def test_sizes_of_no_unit_are_millimetres(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", straight(), xyzt_units=0)
    assert image_pixel_size(path) == PixelSize(0.75, 0.5, "mm", 3.0)


def test_masks_are_whole_numbers_also_if_scaled(tmp_path: Path) -> None:
    marked = (straight() > 0).astype(np.float64)
    assert read_mask(save_nifti(tmp_path / "a.nii.gz", marked)).dtype == np.uint8
    save_nifti(tmp_path / "b.nii.gz", (marked * 20).astype(np.int16), scl_slope=0.1)  # in single precision
    np.testing.assert_array_equal(np.unique(read_mask(tmp_path / "b.nii.gz")), [0, 2])
    with pytest.raises(InputError, match=r"c\.nii\.gz: the mask holds 0\.5, expected whole numbers"):
        read_mask(save_nifti(tmp_path / "c.nii.gz", marked * 0.5))


def test_a_data_set_of_volumes(tmp_path: Path) -> None:
    source = open_data(write_volumes(tmp_path, ("p1", "p2", "p3")))
    assert source.description.spatial_dims == 3 and source.description.rater_names == ("anna", "ben")
    examples = source.splits["train"]
    example = examples[0]
    assert example.image.shape == (1, 6, 5, 4) and example.labels.shape == (2, 6, 5, 4)
    assert ((example.image[0] > 0) == (example.labels[0] == 1)).all()
    assert examples.pixel_size(0) == PixelSize(0.75, 0.5, "mm", 3.0)
    text = "\n".join(check_data(source).lines())
    assert "6x5x4 (depth x height x width)" in text
    assert "voxel      3 x 0.75 x 0.5 mm (depth x height x width); longest side 6 times the shortest (aniso" in text


def test_a_mask_in_another_order_of_axes_is_brought_to_its_image(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    marked = (straight() > 0).astype(np.uint8)
    save_nifti(tmp_path / "masks" / "anna" / "a.nii.gz", *reordered(marked, (2, 0, 1), (-1, -1, 1)))
    save_nifti(tmp_path / "images" / "a.nii.gz", *reordered(straight(), (0, 1, 2), (1, 1, 1)))
    save_nifti(tmp_path / "masks" / "ben" / "a.nii.gz", *reordered(marked, (0, 2, 1), (1, -1, -1)))
    source = open_data(tmp_path)
    example = next(part[i] for part in source.splits.values() for i in range(len(part)) if part.names[i] == "a")
    assert ((example.image[0] > 0) == (example.labels == 1)).all()


@pytest.mark.parametrize(
    ("affine", "shape", "words"),
    [
        (np.diag([*SPACING, 1.0]), (4, 5, 7), r"the mask is 7x5x4 \(depth x height x width\), its image .* is 6x5x4"),
        (np.diag([0.5, 0.75, 2.5, 1.0]), SHAPE, r"lie in different places \(corners up to 2\.5 mm apart\)"),
    ],
)
def test_a_mask_on_another_grid_is_refused(
    tmp_path: Path, affine: np.ndarray, shape: tuple[int, ...], words: str
) -> None:
    write_volumes(tmp_path)
    mask = save_nifti(tmp_path / "masks" / "ben" / "b.nii.gz", np.ones(shape, np.uint8), affine)
    with pytest.raises(InputError, match=words) as refused:
        open_data(tmp_path)
    assert str(mask) in str(refused.value) and str(tmp_path / "images" / "b.nii.gz") in str(refused.value)


def test_a_mask_whose_header_says_nothing_of_its_place_is_refused_in_these_words(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    write_volumes(tmp_path)
    mask = tmp_path / "masks" / "ben" / "b.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.uint8), None), mask)
    with pytest.raises(
        InputError, match=f"; the header of {mask} does not say where it lies.*give it the image's head"
    ):
        open_data(tmp_path)
    nibabel.save(nibabel.Nifti1Image(straight(), None), tmp_path / "images" / "b.nii.gz")  # nor does the image's
    save_nifti(tmp_path / "masks" / "anna" / "b.nii.gz", np.ones(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"; the header of .*images/b\.nii\.gz does not say where it lies"):
        open_data(tmp_path)


def test_pictures_beside_volumes_are_refused_by_name(tmp_path: Path) -> None:
    from data_trees import write_folder

    write_folder(tmp_path, {"flat": (0, 1)})
    save_nifti(tmp_path / "images" / "scan.nii.gz", straight())
    save_nifti(tmp_path / "masks" / "scan.nii.gz", np.ones(SHAPE, np.uint8))
    with pytest.raises(InputError, match=r"flat\.png is a picture, .*scan\.nii\.gz is a volume"):
        open_data(tmp_path)


def test_a_run_is_given_what_it_was_trained_on(tmp_path: Path) -> None:
    from data_trees import write_folder

    volumes = open_data(write_volumes(tmp_path / "volumes", ("p1", "p2", "p3"))).description
    flat = write_folder(tmp_path / "flat", {"a": (0, 1), "b": (0, 1)})
    pictures = open_data(flat).description
    for data, other, words in (
        (tmp_path / "volumes", pictures, "volumes, the run was trained on pictures"),
        (flat, volumes, "pictures, the run was trained on volumes"),
    ):
        with pytest.raises(InputError, match=words):
            open_data(data, expected=other)
    with pytest.raises(InputError, match=r"p1\.nii\.gz: a volume, the run was trained on pictures"):
        open_images(tmp_path / "volumes", ["intensity"], spatial_dims=2)
    with pytest.raises(InputError, match=r"a\.png: a picture, the run was trained on volumes"):
        open_images(flat, ["intensity"], spatial_dims=3)
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 6, 7), np.uint8))
    with pytest.raises(InputError, match="pictures, the run was trained on volumes"):
        open_images(tmp_path / "a.npz", ["intensity"], spatial_dims=3)


def test_one_name_in_two_endings_is_refused(tmp_path: Path) -> None:
    write_volumes(tmp_path)
    save_nifti(tmp_path / "images" / "a.nii", straight())
    with pytest.raises(InputError, match="have the same name"):
        open_data(tmp_path)


# ---- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.02, 0.3, 0.99])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_files_that_are_cut_short_are_refused(tmp_path: Path, share: float, ending: str) -> None:
    path = save_nifti(tmp_path / f"a{ending}", straight(shape=(20, 20, 20)))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as refused:
        read_image(path)
    assert str(path) in str(refused.value) and "again" in str(refused.value)


def test_a_damaged_byte_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", straight(shape=(20, 20, 20)))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or cut short"):
        read_image(path)


@pytest.mark.parametrize(
    ("offset", "content", "words"),
    [
        (40, np.array([3, 30000, 30000, 30000], "<i2").tobytes(), "declares an image of 1x30000x30000x30000"),
        (40, np.array([3, -4, 5, 6], "<i2").tobytes(), "expected sides of at least 1"),
        (40, np.array([3, 4, 0, 6], "<i2").tobytes(), "expected sides of at least 1"),
        (40, np.array([9, 4, 5, 6], "<i2").tobytes(), "an array of 9 axes"),
        (40, np.array([5, 4, 5, 1, 3, 2], "<i2").tobytes(), "channels on the last"),
        (70, np.array([9999], "<i2").tobytes(), "values of an unknown type"),
        (70, np.array([128], "<i2").tobytes(), "colours, expected one number a voxel"),
        (70, np.array([32], "<i2").tobytes(), "values of type complex64"),
        (108, np.array([1e30], "<f4").tobytes(), "data that begin at byte 1e"),
        (108, np.array([-5], "<f4").tobytes(), "data that begin at byte -5"),
        (344, b"ni1\0", "data lie in another file"),
        (344, b"xyz\0", "not a NIfTI file"),
        (280, np.array([np.nan], "<f4").tobytes(), "span no space"),
        (280, np.zeros(4, "<f4").tobytes(), "span no space"),
        (0, b"\0\0\0\0", "not a NIfTI file"),
    ],
)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_headers_that_cannot_be_are_refused(
    tmp_path: Path, offset: int, content: bytes, words: str, ending: str
) -> None:
    path = change(save_nifti(tmp_path / f"a{ending}", straight()), offset, content)
    for read in (image_shape, read_image, read_mask):
        with pytest.raises(InputError, match=words) as refused:
            read(path)
        assert str(path) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("sides", [(0, 1, 1), (-1, 1, 1), (np.nan, 1, 1), (np.inf, 1, 1)])
@pytest.mark.parametrize("qform", [0, 1])
def test_sizes_that_are_none_are_refused_where_they_count(tmp_path: Path, sides: tuple[float, ...], qform: int) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", straight(), None, qform_code=qform, sform_code=0)
    change(path, 80, np.array(sides, "<f4").tobytes())
    with pytest.raises(InputError, match=r"\(pixdim\), expected sizes above 0"):
        image_grid(path)
    own = save_nifti(tmp_path / "b.nii.gz", straight(), None, sform_code=1)
    change(own, 80, np.array(sides, "<f4").tobytes())  # the sform says where voxels lie
    assert image_pixel_size(own) == PixelSize(0.75, 0.5, "mm", 3.0)


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    values = straight().astype(np.float32)
    values[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="1 values are NaN or infinite"):
        read_image(save_nifti(tmp_path / "a.nii.gz", values))


def test_more_than_is_declared_is_never_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", np.zeros((8, 8, 8), np.uint8))
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw + bytes(2**26)))
    assert read_image(path).shape == (1, 8, 8, 8)
    monkeypatch.setenv(OPTION, "511")
    with pytest.raises(InputError, match="more than 511 pixels"):
        read_image(path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_file_with_an_endless_tail_is_refused(tmp_path: Path, ending: str) -> None:
    path = save_nifti(tmp_path / f"a{ending}", straight())
    os.truncate(path, 2**36)  # a hole, 64 GiB of zeros
    with pytest.raises(InputError, match=r"68,719,476,736 bytes, its header declares 240"):
        read_image(path)


def test_a_picture_that_is_called_a_volume_is_refused(tmp_path: Path) -> None:
    from data_trees import gray, save

    (tmp_path / "a.nii.gz").write_bytes(save(tmp_path / "a.png", gray()).read_bytes())
    with pytest.raises(InputError, match="not a NIfTI file"):
        read_image(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_image(tmp_path / "b.nii.gz")


def test_without_the_library_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = save_nifti(tmp_path / "a.nii.gz", straight())
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=r"pip install 'plurimask\[medical\]'"):
        read_image(path)
