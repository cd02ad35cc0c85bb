"""What T = 20 passes of the Monte-Carlo-dropout U-Net cost, against 20 separate forwards of the same module.

    python benchmarks/mc_dropout.py --out benchmarks/results/mc_dropout.json

The network is the preset `bbbc010` at the published 400 x 400, one image. A separate forward is the module's plain pass
in evaluation mode, encoder and decoder with batch norm as a layer and a new dropout mask each time: what calling
`model(x)` twenty times with dropout switched on does. Both sides draw their own masks and end in class scores. Exits
with 1 if the passes cost more than 0.75 times the forwards in any precision.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from record import median_seconds, record, write
from torch import Tensor

from plurimask import build_method
from plurimask.methods.dropout_unet import DropoutUNet
from plurimask.methods.presets import PRESETS
from plurimask.nn.dropout import draw_masks, dropped_features
from plurimask.nn.unet import all_scores
from plurimask.prediction.device import channels_last, has_fast_bf16

LIMIT = 0.75


def forward(method: DropoutUNet, images: Tensor) -> Tensor:
    """One pass, nothing shared with any other: class scores `(B, C, H, W)`."""
    config = method.config
    masks = draw_masks(len(images), method.mask_shapes(images.shape[2:]), config.dropout, None)
    features = dropped_features(method.features, images, masks, method.sites, config.dropout)
    return all_scores(method.scores(features), config.num_classes)


def passes(method: DropoutUNet, images: Tensor, num_passes: int) -> list[Tensor]:
    """All passes by the method's distribution: class scores, a chunk of samples at a time."""
    prediction = method(images)
    return [*prediction.logit_chunks(prediction.draw_noise(num_passes))]


def measure(method: DropoutUNet, images: Tensor, num_passes: int, repeats: int, bf16: bool) -> dict[str, float]:
    def separate() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for _ in range(num_passes):
                forward(method, images)

    def shared() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            passes(method, images, num_passes)

    with torch.inference_mode():
        times = median_seconds({"separate": separate, "shared": shared}, repeats)
    return {**times, "ratio": times["shared"] / times["separate"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=int, default=20)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    preset = PRESETS["dropout-unet"]["bbbc010"]
    method = channels_last(build_method("dropout-unet", image_channels=2, num_classes=2, **preset.method).eval())
    assert isinstance(method, DropoutUNet)
    images = torch.randn(1, 2, options.size, options.size).contiguous(memory_format=torch.channels_last)
    results = {"float32": measure(method, images, options.passes, options.repeats, bf16=False)}
    if has_fast_bf16(torch.device("cpu")):
        results["bf16"] = measure(method, images, options.passes, options.repeats, bf16=True)
    for precision, values in results.items():
        print(precision, {name: round(value, 3) for name, value in values.items()})
    config = {"preset": "bbbc010", "passes": options.passes, "size": options.size, "repeats": options.repeats}
    write(options.out, record("mc_dropout", config, results))
    sys.exit(int(max(values["ratio"] for values in results.values()) > LIMIT))


if __name__ == "__main__":
    main()
