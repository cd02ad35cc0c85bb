"""Pixel sizes, as every common writer of TIFF states them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from plurimask.data import open_images
from plurimask.data.images.pixel_size import read_pixel_size

PLANE = np.zeros((6, 9), np.uint8)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"resolution": (4.0, 2.0), "imagej": True, "metadata": {"unit": "um"}}, (0.5, 0.25, "µm")),
        ({"resolution": (4.0, 2.0), "imagej": True, "metadata": {"unit": "\\u00B5m"}}, (0.5, 0.25, "µm")),
        ({"resolution": (4.0, 2.0), "imagej": True, "metadata": {"unit": "furlong"}}, None),
        ({"resolution": (4.0, 2.0), "resolutionunit": "CENTIMETER"}, (0.5, 0.25, "cm")),
        ({"resolution": (300.0, 150.0), "resolutionunit": "INCH"}, (1 / 150, 1 / 300, "in")),
        ({"resolution": (300.0, 150.0), "resolutionunit": "NONE"}, None),
        (
            {
                "ome": True,
                "metadata": {
                    "PhysicalSizeX": 0.3,
                    "PhysicalSizeY": 0.7,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeYUnit": "nm",
                },
            },
            (0.7, 0.3, "nm"),
        ),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.7}}, (0.7, 0.3, "µm")),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.3}}, None),
        (
            {"resolution": (4.0, 2.0), "resolutionunit": "CENTIMETER", "extratags": [(274, "H", 1, 6, True)]},
            (0.25, 0.5, "cm"),  # turned by a quarter
        ),
        ({}, None),
    ],
)
def test_pixel_sizes_of_tiffs(
    tmp_path: Path, settings: dict[str, object], expected: tuple[float, float, str] | None
) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, PLANE, photometric="minisblack", **settings)
    found = read_pixel_size(path)
    if expected is None or found is None:
        assert found is expected
    else:
        assert found[:2] == pytest.approx(expected[:2], rel=1e-6) and found.unit == expected[2]
    assert open_images(path, ("gray",)).pixel_size(0) == found


def test_other_formats_and_damaged_files_have_none(tmp_path: Path) -> None:
    Image.fromarray(PLANE).save(tmp_path / "x.png", dpi=(72, 72))
    (tmp_path / "x.tif").write_bytes(b"II*\0cut short")
    assert read_pixel_size(tmp_path / "x.png") is None and read_pixel_size(tmp_path / "x.tif") is None
