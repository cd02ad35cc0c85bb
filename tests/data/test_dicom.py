"""DICOM series, against pydicom: values, places, and the folders that are refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from volumes import save_nifti

from plurimask.data import Place, open_data, open_images, read_image
from plurimask.data.images import image_files, image_grid, image_pixel_size, image_shape
from plurimask.data.images.limit import OPTION
from plurimask.errors import InputError

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("nibabel")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ROOT = Path(pydicom.__file__).parent / "data" / "test_files"
CT = ROOT / "dicomdirtests" / "98892001" / "CT5N"
"""Five slices of a chest, 2.5 mm apart."""


def write_series(
    folder: Path, count: int = 4, source: str = "CT_small.dcm", step: tuple[float, ...] = (0, 0, 2.0), **changes: Any
) -> Path:
    """Slices made of one of pydicom's, of which each is brighter by one; `changes` are attributes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        one = pydicom.dcmread(ROOT / source)
        place = np.array(one.ImagePositionPatient, float) + number * np.array(step)
        one.ImagePositionPatient = [f"{value:.6f}" for value in place]
        one.SOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[str(number)])
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        if not one.file_meta.TransferSyntaxUID.is_compressed:
            one.PixelData = (one.pixel_array + number).astype(one.pixel_array.dtype).tobytes()
        for name, value in changes.items():
            setattr(one, name, value)
        one.save_as(folder / f"{(7 * number) % count:03d}.dcm")  # names in another order than places
    return folder


def edit(path: Path, **changes: Any) -> None:
    """Another value of an attribute; None removes it."""
    one = pydicom.dcmread(path)
    for name, value in changes.items():
        delattr(one, name) if value is None else setattr(one, name, value)
    one.save_as(path)


def in_hounsfield(path: Path) -> np.ndarray:
    one = pydicom.dcmread(path)
    values: np.ndarray = one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
    return values


def test_a_series_is_in_hounsfield_units_and_in_order() -> None:
    slices = sorted(CT.iterdir(), key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    seen = read_image(CT)
    assert seen.dtype == np.float32 and seen.shape == image_shape(CT) == (1, 5, 16, 16)
    for number, path in enumerate(slices):  # depth upwards, height to the front, width to the right
        np.testing.assert_array_equal(seen[0, number], in_hounsfield(path)[::-1, ::-1])
    assert image_files(CT) == tuple(slices)
    size = image_pixel_size(CT)
    assert (size is not None and size == pytest.approx((0.488281, 0.488281, 0, 2.5))) or size.unit == "mm"
    assert (size.height, size.width, size.depth) == pytest.approx((0.488281, 0.488281, 2.5))


def test_voxels_lie_where_the_header_says() -> None:
    grid = image_grid(CT)
    assert grid is not None
    slices = image_files(CT)
    for number in (0, 4):
        header = pydicom.dcmread(slices[number])
        first = np.array(header.ImagePositionPatient, float) * (-1, -1, 1)  # to the right, to the front
        np.testing.assert_allclose(grid.matrix @ (0, 0, number, 1), [*first, 1], atol=1e-4)
        along = np.array(header.ImageOrientationPatient, float)
        row_step = along[3:] * float(header.PixelSpacing[0]) * (-1, -1, 1)
        np.testing.assert_allclose(grid.matrix @ (0, 3, number, 1), [*(first + 3 * row_step), 1], atol=1e-4)
        column_step = along[:3] * float(header.PixelSpacing[1]) * (-1, -1, 1)
        np.testing.assert_allclose(grid.matrix @ (2, 0, number, 1), [*(first + 2 * column_step), 1], atol=1e-4)


@pytest.mark.parametrize("source", ["CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm"])
def test_slices_of_all_kinds_are_read_as_pydicom_does(tmp_path: Path, source: str) -> None:
    folder = write_series(tmp_path / "series", 3, source)
    seen, slices = read_image(folder), image_files(folder)
    assert [float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in slices] == sorted(
        float(pydicom.dcmread(path).ImagePositionPatient[2]) for path in slices
    )
    for number, path in enumerate(slices):
        one = pydicom.dcmread(path)
        values = one.pixel_array * float(one.get("RescaleSlope", 1)) + float(one.get("RescaleIntercept", 0))
        np.testing.assert_array_equal(seen[0, number], values[::-1, ::-1].astype(np.float32))


def test_slices_of_their_own_slope(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "pet", 3)
    for number, path in enumerate(sorted(folder.iterdir())):
        edit(path, RescaleSlope=str(1 + number), RescaleIntercept=str(-10 * number))
    for number, path in enumerate(image_files(folder)):
        np.testing.assert_array_equal(read_image(folder)[0, number], in_hounsfield(path)[::-1, ::-1])


def test_sagittal_slices_are_seen_as_axial_ones(tmp_path: Path) -> None:
    upright = [0, 1, 0, 0, 0, -1]  # rows to the back, columns downwards: slices side by side
    folder = write_series(tmp_path / "series", 3, step=(2.0, 0, 0), ImageOrientationPatient=upright)
    assert image_shape(folder) == (1, 128, 128, 3)
    stack = np.stack([in_hounsfield(path) for path in image_files(folder)])  # to the right, down, to the back
    np.testing.assert_array_equal(read_image(folder)[0], stack.transpose(1, 2, 0)[::-1, ::-1])


def test_a_tilted_gantry_keeps_its_shear(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", 4, step=(0, 0.5, 2.0))
    grid = image_grid(folder)
    assert grid is not None
    np.testing.assert_allclose(grid.matrix[:3, 2], (0, -0.5, 2.0), atol=1e-6)


def test_a_single_slice_is_a_thin_volume(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", 1, SliceThickness="5")
    size = image_pixel_size(folder)
    assert image_shape(folder) == (1, 1, 128, 128) and size is not None and size.depth == 5


# ---- data sets ----------------------------------------------------------------------------------------------------


def write_study(folder: Path, names: tuple[str, ...] = ("p1", "p2")) -> Path:
    """Series, with masks in NIfTI files on their grid."""
    for number, name in enumerate(names):
        series = write_series(folder / "images" / name, 3, step=(0, 0, 2.0 + number))
        grid, marked = image_grid(series), np.zeros((128, 128, 3), np.uint8)
        assert grid is not None
        marked[10:20, 30:50, 1] = 1  # columns, rows, slices
        save_nifti(folder / "masks" / "anna" / f"{name}.nii.gz", marked, grid.matrix)
        save_nifti(folder / "masks" / "ben" / f"{name}.nii.gz", np.zeros_like(marked), grid.matrix)
    return folder


def test_folders_of_slices_are_images_with_masks(tmp_path: Path) -> None:
    source = open_data(write_study(tmp_path))
    examples = [one for split in source.splits.values() for one in split]
    assert sorted(one.name for one in examples) == ["p1", "p2"] and source.description.spatial_dims == 3
    assert source.notes == ()
    for one in examples:
        assert one.labels.shape == (2, 3, 128, 128)
        marked = one.labels[0, 1].flip(0, 1).nonzero()
        assert (marked.amin(0).tolist(), marked.amax(0).tolist()) == ([30, 10], [49, 19])
    assert all(len(split.files(0)) == 5 for split in source.splits.values())


def test_files_without_an_ending_are_found_by_their_beginning(tmp_path: Path) -> None:
    write_study(tmp_path)
    for number, path in enumerate(sorted((tmp_path / "images" / "p1").iterdir())):
        path.rename(path.with_name(("IM0", "1.2.840.77", "a.IMA")[number]))
    (tmp_path / "images" / "p1" / "notes.txt").write_text("a note")
    source = open_data(tmp_path)
    assert {name for split in source.splits.values() for name in split.names} == {"p1", "p2"}
    assert any("1 file was not read: 1 .txt" in note for note in source.notes)


def test_new_series_are_images(tmp_path: Path) -> None:
    write_study(tmp_path)
    assert open_images(tmp_path / "images", ["intensity"]).names == ("p1", "p2")
    alone = open_images(tmp_path / "images" / "p2", ["intensity"])
    assert alone.names == ("p2",) and alone[0].shape == (1, 3, 128, 128)
    assert len(alone.files(0)) == 3 and alone.grid(0) == image_grid(tmp_path / "images" / "p2")
    with pytest.raises(InputError, match=r"000\.dcm: one DICOM slice: give the folder of its series"):
        open_images(tmp_path / "images" / "p2" / "000.dcm", ["intensity"])


def test_series_in_a_tree_of_patterns(tmp_path: Path) -> None:
    write_study(tmp_path)
    for name in ("p1", "p2"):
        shutil.move(tmp_path / "images" / name, tmp_path / "study" / name / "ct")
        shutil.move(tmp_path / "masks" / "anna" / f"{name}.nii.gz", tmp_path / "study" / name / "lesion.nii.gz")
    source = open_data(Place(tmp_path / "study", images="*/ct", masks={"anna": "*/lesion.nii.gz"}))
    assert {name for split in source.splits.values() for name in split.names} == {"p1", "p2"}


def test_slices_among_the_images_themselves_are_told_where_to_lie(tmp_path: Path) -> None:
    write_series(tmp_path / "images", 3)
    save_nifti(tmp_path / "masks" / "a.nii.gz", np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(InputError, match=r"slices of a DICOM series \(\.dcm\) lie in a folder of their own"):
        open_data(tmp_path)


# ---- what is refused ----------------------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    messages = set()
    for read in (image_shape, read_image):
        with pytest.raises(InputError) as caught:
            read(folder)
        messages.add(str(caught.value))
    assert len(messages) == 1 and "\n" not in next(iter(messages))
    message = messages.pop()
    assert str(folder) in message
    return message


def test_series_that_are_mixed_are_told_by_their_descriptions(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", 4, SeriesDescription="Chest 2 mm")
    for path in sorted(folder.iterdir())[:1]:
        edit(path, SeriesInstanceUID="1.2.3", SeriesDescription="Scout", SeriesNumber="9")
    message = refusal(folder)
    assert "2 series in one folder" in message
    assert "'Scout' (9), CT, 1 slice of 128x128" in message and "'Chest 2 mm' (1), CT, 3 slices of" in message


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("98892001/CT2N", "2 kinds of slices (sizes or directions) in one folder ('Scout' (4), CT"),
        ("98892003/MR1", "3 series in one folder ('FAST LOCALIZER' (1), MR, 1 slice of 16x16; "),
        ("98892003/MR700", "7 kinds of slices"),
        ("77654033/CT2", "161 slices are missing between 17106 and 17136 (202.5 mm, the median is 1.25 mm)"),
        ("77654033/CR1", "levels of the kind 'MONOCHROME1'"),
    ],
)
def test_folders_of_pydicom_that_are_no_stack(folder: str, words: str) -> None:
    assert words in refusal(ROOT / "dicomdirtests" / folder)


def test_slices_that_are_missing_or_repeated(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "missing", 6)
    image_files(folder)[2].unlink()
    assert "1 slices are missing between" in refusal(folder)
    folder = write_series(tmp_path / "repeated", 4)
    shutil.copy(image_files(folder)[2], folder / "again.dcm")
    assert "lie in the same place" in refusal(folder) and "again.dcm" in refusal(folder)
    folder = write_series(tmp_path / "uneven", 5)
    edit(image_files(folder)[4], ImagePositionPatient=["-158.135803", "-179.035797", "-67.2"])
    assert "slices are at uneven distances" in refusal(folder)
    folder = write_series(tmp_path / "aside", 5)
    edit(image_files(folder)[2], ImagePositionPatient=["-150", "-179.035797", "-71.7"])
    assert "mm beside the line of the others" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ImagePositionPatient": None}, "says nothing of its ImagePositionPatient"),
        ({"ImageOrientationPatient": None}, "says nothing of its ImageOrientationPatient"),
        ({"PixelSpacing": None}, "says nothing of its PixelSpacing"),
        ({"PixelSpacing": ["0", "1"]}, "a position, direction or spacing that is none"),
        ({"PixelSpacing": ["-1", "1"]}, "a position, direction or spacing that is none"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "not at right angles"),
        ({"NumberOfFrames": "3"}, "3 frames in one file"),
        ({"Rows": 0}, "expected sides of at least 1"),
        ({"Rows": 60000, "Columns": 60000}, "declares an image of 1x60000x60000"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "levels of the kind 'PALETTE COLOR'"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "levels of the kind 'RGB'"),
        ({"Rows": None}, "holds no image ('CT')"),
    ],
)
def test_headers_that_cannot_be(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    folder = write_series(tmp_path / "series", 1)
    edit(folder / "000.dcm", **changes)
    assert words in refusal(folder)


def test_a_compression_that_is_not_decoded_is_named(tmp_path: Path) -> None:
    one = pydicom.dcmread(ROOT / "SC_rgb_jpeg_gdcm.dcm")  # JPEG lossless, process 14
    folder = write_series(tmp_path / "series", 1)
    slice_ = pydicom.dcmread(folder / "000.dcm")
    slice_.PixelData, slice_.file_meta.TransferSyntaxUID = one.PixelData, one.file_meta.TransferSyntaxUID
    slice_["PixelData"].is_undefined_length = True
    slice_.save_as(folder / "000.dcm")
    if pydicom.pixels.get_decoder(one.file_meta.TransferSyntaxUID).is_available:
        pytest.skip("a decoder of lossless JPEG is installed here")
    with pytest.raises(InputError, match=r"compressed as JPEG Lossless.*pip install 'pylibjpeg\[all\]'"):
        read_image(folder)


def test_files_that_are_deflated_as_a_whole_are_refused(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    shutil.copy(ROOT / "image_dfl.dcm", tmp_path / "series")
    assert "deflated as a whole" in refusal(tmp_path / "series")


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5, 0.99])
def test_slices_that_are_cut_short(tmp_path: Path, share: float) -> None:
    folder = write_series(tmp_path / "series", 3)
    path = folder / "001.dcm"
    content = path.read_bytes()
    path.write_bytes(content[: max(140, int(share * len(content)))])
    with pytest.raises(InputError, match=r"001\.dcm"):
        read_image(folder)


def test_a_truncated_file_of_pydicom(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    shutil.copy(ROOT / "MR_truncated.dcm", tmp_path / "series")
    with pytest.raises(InputError, match="series"):
        read_image(tmp_path / "series")


def test_a_changed_slice_is_read_again(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", 3)
    assert image_shape(folder) == (1, 3, 128, 128)
    write_series(folder, 4)
    assert image_shape(folder) == (1, 4, 128, 128)
    for path in folder.iterdir():
        edit(path, PixelSpacing=["2", "3"])
        os.utime(path, (1, 1))
    size = image_pixel_size(folder)
    assert size is not None and (size.height, size.width) == (2, 3)


def test_the_limit_is_that_of_the_whole_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_series(tmp_path / "series", 3)
    monkeypatch.setenv(OPTION, str(3 * 128 * 128 - 1))
    assert "declares an image of 3x128x128" in refusal(folder)


def test_an_empty_folder_holds_no_series(tmp_path: Path) -> None:
    assert "a folder without DICOM slices" in refusal(tmp_path)
