"""DICOM segmentations: the mean's probabilities, on the slices that they are of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from volumes import save_nifti, straight

from plurimask.data import DataDescription, open_images
from plurimask.errors import InputError
from plurimask.prediction.dicom_seg import refuse_other_than_series
from plurimask.prediction.files import Outputs, write_prediction
from plurimask.prediction.predicted import Predicted

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")
pytest.importorskip("nibabel")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SERIES = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
ABOUT = DataDescription(
    layout="folder",
    class_names=("background", "nodule", "vessel"),
    class_values=(0, 1, 2),
    ignore_value=None,
    has_background=True,
    encoding="Classes.",
    channel_names=("intensity",),
    rater_names=("anna",),
    spatial_dims=3,
)


def predicted() -> Predicted:
    """A mean of pairwise different values in a part of the volume."""
    images = open_images(SERIES, ["intensity"])
    image = images[0].numpy()
    window = (slice(1, 4), slice(2, 12), slice(3, 15))
    seen = image[(0, *window)]
    mean = np.random.default_rng(0).dirichlet((1, 1, 1), seen.shape).transpose(3, 0, 1, 2).astype(np.float32)
    samples = np.stack([mean.argmax(0)] * 2).astype(np.uint8)
    return Predicted(
        images.names[0],
        image[(slice(None), *window)],
        samples,
        mean,
        mean[0],
        window,
        image.shape[1:],
        mean[0],
        mean,
        images.pixel_size(0),
        files=images.files(0),
        grid=images.grid(0),
    )


def write(out: Path, one: Predicted) -> Path:
    write_prediction(one, ABOUT, out, Outputs(dicom_seg=True))
    return out / "CT5N" / "CT5N_mean.dcm"


def test_probabilities_lie_on_their_slices(tmp_path: Path) -> None:
    one = predicted()
    made = highdicom.seg.segread(write(tmp_path, one))
    assert made.segmentation_type.value == "FRACTIONAL" and made.SegmentationFractionalType == "PROBABILITY"
    slices = [pydicom.dcmread(path) for path in one.files]
    found = made.get_pixels_by_source_instance([each.SOPInstanceUID for each in slices], rescale_fractional=True)
    whole = np.zeros((3, 5, 16, 16))
    whole[(slice(None), *one.window)] = one.mean
    expected = whole[1:, :, ::-1, ::-1].transpose(1, 2, 3, 0)  # rows to the back, columns to the left
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=0.5 / 255 + 1e-6)
    assert [each.SegmentLabel for each in made.SegmentSequence] == ["nodule", "vessel"]


def test_the_patient_the_study_and_the_slices_are_those_of_the_source(tmp_path: Path) -> None:
    one = predicted()
    made, source = pydicom.dcmread(write(tmp_path, one)), pydicom.dcmread(one.files[0])
    for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert getattr(made, name) == getattr(source, name)
    referred = {each.ReferencedSOPInstanceUID for each in made.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {pydicom.dcmread(path).SOPInstanceUID for path in one.files}
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert made.Modality == "SEG" and made.Manufacturer == "plurimask"


def test_the_same_prediction_has_the_same_identifiers(tmp_path: Path) -> None:
    one = predicted()
    first, second = (pydicom.dcmread(write(tmp_path / name, one)) for name in "ab")
    other = pydicom.dcmread(write(tmp_path / "c", replace(one, mean=one.mean[::-1].copy())))
    assert first.SOPInstanceUID == second.SOPInstanceUID != other.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID


def test_what_is_no_series_is_refused_before_it_is_predicted(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii.gz", straight())
    with pytest.raises(InputError, match=r"a: no DICOM series, .* leave out --dicom-seg"):
        refuse_other_than_series(open_images(tmp_path, ["intensity"]))
    refuse_other_than_series(open_images(SERIES, ["intensity"]))


def test_masks_of_a_series_lie_on_its_grid(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    one = predicted()
    write(tmp_path, one)
    made = nibabel.load(tmp_path / "CT5N" / "CT5N_mask.nii.gz")
    assert one.grid is not None and made.shape == one.grid.shape == (16, 16, 5)
    np.testing.assert_allclose(made.affine, one.grid.matrix, atol=1e-4)
    header = pydicom.dcmread(one.files[2])
    corner = np.array(header.ImagePositionPatient, float) * (-1, -1, 1)
    np.testing.assert_allclose((made.affine @ (0, 0, 2, 1))[:3], corner, atol=1e-3)
