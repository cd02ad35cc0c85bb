"""Images of many lesions, 16 bits, of any size, and a run that was trained on some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plurimask.commands.main import main
from plurimask.data.worlds.lesions import lesion_source, write_folder

TINY = "--channels 4 6 --convs-per-scale 1 --batch-size 2 --max-steps 3 --num-validations 1".split()  # noqa: SIM905
_SCALE = 200


def mosaic(height: int, width: int) -> NDArray[np.uint16]:
    """An image of many lesions, 16 bits."""
    source = lesion_source(num_train=12, num_val=1, seed=2, size=64)
    tiles = [source.splits["train"][index].image[0].numpy() for index in range(12)]
    rows = [
        [tiles[(3 * row + 5 * column) % 12] for column in range(-(-width // 64))] for row in range(-(-height // 64))
    ]
    return (np.block(rows)[:height, :width] * _SCALE).astype(np.uint16)


def tiny_run(folder: Path) -> Path:
    """A Probabilistic U-Net of few channels, after three steps."""
    write_folder(lesion_source(num_train=6, num_val=2, seed=5, size=64), folder / "data")
    for path in (folder / "data").rglob("images/*.png"):
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * _SCALE).save(path)
    train = ["train", str(folder / "data"), "--method", "probabilistic-unet", *TINY, "--validation-samples", "2"]
    assert main([*train, "--out", str(folder / "run")]) == 0
    return folder / "run"
