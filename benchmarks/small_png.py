"""PNG files of half the bytes: for pictures of documentation, screenshots and figures alike."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image


def write_small(picture: bytes, file: Path) -> None:
    """A picture in the 256 colours that fit it best, the rare ones among them."""
    best = Image.open(io.BytesIO(picture)).convert("RGB")
    palette = best.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
    best.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
    print(f"{file} ({file.stat().st_size // 1000} kB)")
