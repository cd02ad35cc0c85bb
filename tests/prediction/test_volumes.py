"""Predictions of volumes lie on the grid of the input, whatever the order of its axes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from volumes import ORDERS, SHAPE, SPACING, reordered, save_nifti, straight

from plurimask.data import DataDescription, open_images
from plurimask.distribution import entropy
from plurimask.prediction.files import Outputs, Written
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.table import write_predictions

nibabel = pytest.importorskip("nibabel")


def description(**changes: object) -> DataDescription:
    values: dict[str, object] = {
        "layout": "folder",
        "class_names": ("background", "lesion"),
        "class_values": (0, 7),
        "ignore_value": None,
        "has_background": True,
        "encoding": "Binary.",
        "channel_names": ("intensity",),
        "rater_names": ("anna",),
        "spatial_dims": 3,
    }
    return DataDescription.model_validate(values | changes)


def predicted(path: Path, window: tuple[slice, ...] | None = None) -> Predicted:
    """Samples that mark what lies above one of some thresholds in the image."""
    images = open_images(path, ["intensity"])
    image = images[0].numpy()
    window = (slice(None),) * 3 if window is None else window
    seen = image[(0, *window)]
    samples = np.stack([seen > least for least in (0, 500, 500)]).astype(np.uint8)
    marked = samples.mean(0).astype(np.float32)
    mean = np.stack([1 - marked, marked])
    return Predicted(
        images.names[0],
        image[(slice(None), *window)],
        samples,
        mean,
        entropy(torch.from_numpy(mean), 0).numpy(),
        tuple(slice(*part.indices(side)[:2]) for part, side in zip(window, image.shape[1:], strict=True)),
        image.shape[1:],
        np.zeros_like(marked),
        mean * (1 - mean),
        images.pixel_size(0),
        files=images.files(0),
        grid=images.grid(0),
    )


def write(out: Path, one: Predicted, about: DataDescription | None = None, stack: bool = False) -> Written:
    written: list[Written] = []
    write_predictions(iter([one]), about or description(), out, written.append, Outputs(stack, least_object=1))
    return written[0]


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_samples_lie_on_the_grid_of_the_input(tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    stored, affine = reordered(straight(), order, signs, turn=0.1)
    source = nibabel.load(save_nifti(tmp_path / "scan.nii.gz", stored, affine, qform_code=1, sform_code=3))
    write(tmp_path / "out", predicted(tmp_path / "scan.nii.gz"))
    for number, least in enumerate((0, 500, 500)):
        made = nibabel.load(tmp_path / "out" / "scan" / f"scan_sample-{number:02d}.nii.gz")
        np.testing.assert_array_equal(made.affine, source.affine)
        assert made.shape == source.shape and made.header.get_zooms() == source.header.get_zooms()
        assert (int(made.header["qform_code"]), int(made.header["sform_code"])) == (1, 3)
        np.testing.assert_array_equal(made.header.get_qform(), source.header.get_qform())
        assert made.header.get_xyzt_units()[0] == "mm"
        assert made.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(made.dataobj), np.where(stored > least, 7, 0))
    mean = nibabel.load(tmp_path / "out" / "scan" / "scan_mean.nii.gz")
    assert mean.shape == (*source.shape, 2) and mean.get_data_dtype() == np.float32
    share = ((stored > 0) + 2.0 * (stored > 500)) / 3
    np.testing.assert_allclose(mean.get_fdata()[..., 1], share, atol=1e-6)


def test_every_map_has_a_file_and_the_same_content_the_same_bytes(tmp_path: Path) -> None:
    save_nifti(tmp_path / "in" / "p" / "scan.nii.gz", straight())
    one = predicted(tmp_path / "in")
    assert one.name == "p/scan"
    write(tmp_path / "a", one, stack=True)
    write(tmp_path / "b", one, stack=True)
    names = {path.name for path in (tmp_path / "a" / "p" / "scan").iterdir()}
    maps = ("mask", "mean", "entropy", "mutual_information", "variance", "samples", "reading-1", "reading-2")
    numbered = [f"sample-{number:02d}" for number in range(3)]
    tables = {"uncertainty.json", "samples.json", "readings.json"}
    assert names == {f"scan_{name}.nii.gz" for name in (*maps, *numbered)} | tables
    for name in names:
        first, second = ((tmp_path / out / "p" / "scan" / name).read_bytes() for out in "ab")
        assert first == second
    together = nibabel.load(tmp_path / "a" / "p" / "scan" / "scan_samples.nii.gz")
    assert together.shape == (*SHAPE, 3)
    single = nibabel.load(tmp_path / "a" / "p" / "scan" / "scan_sample-02.nii.gz")
    np.testing.assert_array_equal(np.asarray(together.dataobj)[..., 2], np.asarray(single.dataobj))


def test_fewer_samples_leave_no_file_of_more(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scan.nii.gz", straight())
    folder = tmp_path / "out" / "scan"
    for stale in ("scan_sample-09.nii.gz", "scan_reading-5.nii.gz"):
        save_nifti(folder / stale, straight())
    write(tmp_path / "out", predicted(tmp_path / "scan.nii.gz"))
    assert not (folder / "scan_sample-09.nii.gz").exists() and not (folder / "scan_reading-5.nii.gz").exists()


def test_volumes_are_in_millilitres_and_positions_those_of_the_image(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scan.nii.gz", straight())
    one = predicted(tmp_path / "scan.nii.gz")
    write(tmp_path / "out", one)
    folder = tmp_path / "out" / "scan"
    voxel = float(np.prod(SPACING)) / 1000
    content = json.loads((folder / "readings.json").read_text())
    assert content["volume_unit"] == "ml"
    assert content["pixel_size"] == {"height": 0.75, "width": 0.5, "unit": "mm", "depth": 3.0}
    for row in content["readings"]:
        assert row["file"].startswith("scan_reading-") and row["medoid"].startswith("scan_sample-")
        assert row["volumes"]["lesion"] == pytest.approx([count * voxel for count in row["pixels"]["lesion"]])
    uncertainty = json.loads((folder / "uncertainty.json").read_text())
    assert uncertainty["objects"]
    for found in uncertainty["objects"]:
        assert found["volume_ml"] == pytest.approx(found["num_pixels"] * voxel)
        assert len(found["bounding_box"]) == 3
    samples = json.loads((folder / "samples.json").read_text())
    assert samples["num_distinct"] == 2 and samples["distinct"][0]["samples"][0] == "scan_sample-01.nii.gz"
    marked = int((one.samples[1] == 1).sum())
    assert samples["distinct"][0]["volumes"]["lesion"] == pytest.approx(marked * voxel)


def test_outside_of_the_window_is_background(tmp_path: Path) -> None:
    stored, affine = reordered(straight(), (2, 0, 1), (-1, 1, -1))
    save_nifti(tmp_path / "scan.nii.gz", stored, affine)
    window = (slice(1, 5), slice(1, 4), slice(1, 3))  # of depth, height, width
    write(tmp_path / "out", predicted(tmp_path / "scan.nii.gz", window))
    inside = np.zeros(SHAPE, bool)
    inside[1:3, 1:4, 1:5] = True
    expected, _ = reordered(np.where(inside & (straight() > 0), 7, 0), (2, 0, 1), (-1, 1, -1))
    made = nibabel.load(tmp_path / "out" / "scan" / "scan_sample-00.nii.gz")
    np.testing.assert_array_equal(np.asarray(made.dataobj), expected)
    mean = nibabel.load(tmp_path / "out" / "scan" / "scan_mean.nii.gz").get_fdata()
    around, _ = reordered(~inside, (2, 0, 1), (-1, 1, -1))
    assert (mean[around] == [1, 0]).all()


def test_a_slope_of_the_input_scales_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii"
    image = nibabel.Nifti1Image(straight(), np.diag([*SPACING, 1.0]))
    image.header.set_slope_inter(2.0, -5.0)
    nibabel.save(image, path)
    one = predicted(path)
    np.testing.assert_array_equal(one.image[0], nibabel.load(path).get_fdata().transpose(2, 1, 0).astype(np.float32))
    write(tmp_path / "out", one)
    made = nibabel.load(tmp_path / "out" / "scan" / "scan_sample-00.nii.gz")
    assert set(np.unique(made.get_fdata())) == {0, 7}


def test_a_picture_in_a_nifti_file_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "flat.nii.gz"
    nibabel.save(nibabel.Nifti1Image(straight()[:, :, 0], np.diag([*SPACING, 1.0])), path)
    assert nibabel.load(path).shape == SHAPE[:2]
    one = predicted(path)
    assert one.size == (1, SHAPE[1], SHAPE[0])
    write(tmp_path / "out", one)
    made = nibabel.load(tmp_path / "out" / "flat" / "flat_sample-00.nii.gz")
    assert made.shape == SHAPE[:2]
    np.testing.assert_array_equal(np.asarray(made.dataobj), np.where(straight()[:, :, 0] > 0, 7, 0))


def test_a_header_of_the_second_version_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti2Image(straight(), np.diag([*SPACING, 1.0])), path)
    write(tmp_path / "out", predicted(path))
    made = tmp_path / "out" / "scan" / "scan_sample-00.nii.gz"
    assert gzip.decompress(made.read_bytes())[4:7] == b"n+2"
    np.testing.assert_array_equal(np.asarray(nibabel.load(made).dataobj), np.where(straight() > 0, 7, 0))
