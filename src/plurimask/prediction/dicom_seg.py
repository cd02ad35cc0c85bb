"""The mean of samples as a DICOM segmentation that refers to the slices that it is of, for viewers and archives.

Each counted class is a segment, whose probability is stored in steps of 1/255 (fractional, of the type PROBABILITY).
Classes have names but no codes of a terminology: segments are labelled by their names and coded as tissue.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurimask.data import DataDescription, ImageSet
from plurimask.data.images.dicom import elements, is_dicom
from plurimask.data.images.geometry import from_canonical
from plurimask.data.images.medical import highdicom, pydicom
from plurimask.errors import InputError, reason_of
from plurimask.files.writing import replacing
from plurimask.prediction.predicted import Predicted
from plurimask.prediction.whole import outside_maps, whole
from plurimask.version import __version__

STEPS = 255
_SERIES_NUMBER = 900
_LONGEST_LABEL = 64
"""Characters of a text of the kind LO."""


def refuse_other_than_series(images: ImageSet) -> None:
    """Raise `InputError` if an image lies in anything but a DICOM series, or highdicom is not installed: to be asked
    before anything is predicted."""
    highdicom()
    for number, name in enumerate(images.names):
        files = images.files(number)
        if not files or not is_dicom(files[0]):
            raise InputError(
                f"{name}: no DICOM series, of whose slices a DICOM segmentation could be: leave out --dicom-seg, or "
                "give folders of slices"
            )


def write_dicom_seg(predicted: Predicted, description: DataDescription, path: Path) -> None:
    """The mean of the samples of one series. The same prediction has the same identifiers.

    Raises:
        InputError: highdicom is not installed, or the slices lack what a segmentation needs of them.
    """
    seg = highdicom()
    assert predicted.grid is not None
    mean = whole(predicted.mean, predicted, outside_maps(description)["mean"])
    stored = from_canonical(mean, predicted.grid)  # (C, columns, rows, slices)
    counted = list(description.counted_classes)
    fractions = np.nan_to_num(stored[counted].transpose(3, 2, 1, 0).astype(np.float32)).clip(0, 1)
    with warnings.catch_warnings(), _refusing(predicted.name):
        warnings.simplefilter("ignore")  # they are for programmers
        slices = [elements(file, with_pixels=True) for file in predicted.files]
        made = seg.seg.Segmentation(
            source_images=slices,
            pixel_array=fractions,
            segmentation_type="FRACTIONAL",
            segment_descriptions=_segments(description, counted),
            series_instance_uid=_identifier("series", slices, fractions),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=_identifier("instance", slices, fractions),
            instance_number=1,
            manufacturer="plurimask",
            manufacturer_model_name="plurimask",
            software_versions=__version__,
            device_serial_number="none",
            fractional_type="PROBABILITY",
            max_fractional_value=STEPS,
            content_label="PLURIMASK",
            content_description="Mean of samples: the probability of each class",
            omit_empty_frames=False,
        )
        made.SeriesDescription = "plurimask: mean of samples"
    with replacing(path) as stream:
        made.save_as(stream)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, ValueError, TypeError) as error:  # a patient or a study without identifiers
        raise InputError(
            f"{name}: no DICOM segmentation can be made of its slices ({reason_of(error)}): leave out --dicom-seg"
        ) from error


def _segments(description: DataDescription, counted: list[int]) -> list[Any]:
    seg, codes = highdicom().seg, _codes()
    about = highdicom().AlgorithmIdentificationSequence(
        name="plurimask", family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    return [
        seg.SegmentDescription(
            segment_number=number + 1,
            segment_label=description.class_names[index][:_LONGEST_LABEL],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type="AUTOMATIC",
            algorithm_identification=about,
        )
        for number, index in enumerate(counted)
    ]


def _codes() -> Any:
    import pydicom.sr.codedict

    return pydicom.sr.codedict.codes


def _identifier(what: str, slices: list[Any], fractions: NDArray[np.float32]) -> str:
    """Of this content alone, so that predicting again makes no further copy in an archive."""
    content = hashlib.sha256(np.ascontiguousarray(fractions).tobytes()).hexdigest()
    sources = [what, content, *(str(one.SOPInstanceUID) for one in slices)]
    return str(pydicom().uid.generate_uid(entropy_srcs=sources))
