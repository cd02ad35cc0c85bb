"""A method as another package would have it: written to disk by the tests, with the entry point that offers it.

Each pixel's scores are a linear map of the image, plus one normal draw for each class of an image.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor, nn

from plurimask.distribution import SegmentationDistribution
from plurimask.method import Loss, MethodConfig, SegmentationMethod
from plurimask.noise import Noise, NoisePart

PACKAGE, ENTRY_POINT, IMPORT_PATH = "tinymethods", "shifted-linear", "tinymethods.shifted:ShiftedLinear"


class ShiftedSegmentation(SegmentationDistribution):
    def __init__(self, scores: Tensor, spread: float) -> None:
        super().__init__(scores.shape, scores.device, [NoisePart("image", "normal", scores.shape[1:2])])
        self.table, self.spread = scores.float(), spread

    def scores(self, noise: Noise) -> Tensor:
        return self.table + self.spread * noise[0][..., None, None].to(self.table.device)


class ShiftedLinearConfig(MethodConfig):
    spread: float = Field(0.5, gt=0, description="standard deviation of a class's score in an image")


class ShiftedLinear(SegmentationMethod):
    Config = ShiftedLinearConfig
    summary = "a linear map of the image, shifted at random"
    paper = "nobody, nowhere"
    config: ShiftedLinearConfig

    def __init__(self, config: ShiftedLinearConfig) -> None:
        super().__init__(config)
        self.linear = nn.Conv2d(config.image_channels, config.num_classes, 1)

    def forward(self, images: Tensor) -> ShiftedSegmentation:
        return ShiftedSegmentation(self.linear(images), self.config.spread)

    def loss(self, images: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Loss:
        total = -self(images).freeze(2, generator).log_prob(labels).mean()
        return Loss(total, {"nll": total.detach()})


def install(folder: Path) -> Path:
    """A folder for the module path that holds the package as pip would leave it; earlier copies are forgotten."""
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    (folder / PACKAGE).mkdir(parents=True)
    (folder / PACKAGE / "__init__.py").write_text("")
    shutil.copy(__file__, folder / PACKAGE / "shifted.py")
    about = folder / "tiny_methods-0.3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-methods\nVersion: 0.3\n")
    (about / "entry_points.txt").write_text(f"[plurimask.methods]\n{ENTRY_POINT} = {IMPORT_PATH}\n")
    return folder
