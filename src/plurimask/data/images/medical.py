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
    found = _library("nibabel", "NIfTI volumes")
    importlib.import_module("nibabel.orientations")
    return found


def pydicom() -> ModuleType:
    """DICOM files, with their pixels.

    Raises:
        InputError: it is not installed.
    """
    found = _library("pydicom", "DICOM series")
    importlib.import_module("pydicom.pixels")
    return found


def highdicom() -> ModuleType:
    """DICOM segmentations.

    Raises:
        InputError: it is not installed.
    """
    found = _library("highdicom", "DICOM segmentations")
    importlib.import_module("highdicom.seg")
    return found


def _library(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{what} need {name}, which is not installed here: pip install 'plurimask[medical]'"
        ) from error
