"""The libraries that read and write volumes, which are installed with the extra `medical`."""

from __future__ import annotations

import importlib
from types import ModuleType

from plurimask.errors import InputError


def nibabel() -> ModuleType:
    """NIfTI and orientations.

    Raises:
        InputError: it is not installed.
    """
    return _library("nibabel.orientations", "NIfTI volumes")


def pydicom() -> ModuleType:
    """DICOM files, with their pixels.

    Raises:
        InputError: it is not installed.
    """
    return _library("pydicom.pixels", "DICOM series")


def highdicom() -> ModuleType:
    """DICOM segmentations.

    Raises:
        InputError: it is not installed.
    """
    return _library("highdicom.seg", "DICOM segmentations")


def _library(part: str, what: str) -> ModuleType:
    """The library of a part of it that it does not import by itself; without the library InputError."""
    name = part.partition(".")[0]
    try:
        found = importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{what} need {name}, which is not installed here: pip install 'plurimask[medical]'"
        ) from error
    importlib.import_module(part)
    return found
