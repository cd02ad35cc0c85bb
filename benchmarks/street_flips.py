"""Street scenes whose classes flip at random: how well each method learns the 32 modes and their probabilities.

    python benchmarks/street_flips.py --minutes-per-method 7 --work flips --out benchmarks/results/street_flips.json

The protocol of the Probabilistic U-Net paper on Cityscapes (five classes turn into a twin independently, with
probabilities 8/17, 7/17, 6/17, 5/17 and 4/17) over CamVid: Pavement, Pedestrian, Car, Tree and Road. Images are brought
to 72 x 96. Exits with 1 if the Probabilistic U-Net's frequencies of the flips err by more than 0.1 on average, or if
its GED is not the lowest. DATA is the folder named by PLURIMASK_DATA, else ../shared/data.
"""

from __future__ import annotations

import sys

from compared import Protocol, arguments, compare
from record import data_folder

from plurimask import open_data

METHODS = ("unet", "dropout-unet", "ensemble", "m-heads", "image2image-vae", "probabilistic-unet")
SETTINGS = {
    "resize": (72, 96),
    "batch_size": 8,
    "raters_per_step": 2,
    "num_validations": 4,
    "learning_rate": 2e-3,
    # Minutes in place of days: batch norm learns to segment in a few hundred steps, and with beta = 2 the latents hold
    # the flips and few of the shapes that the U-Net has not learned yet.
    "normalisation": "batch",
    "convs_per_scale": 2,
    "beta": 2.0,
}
ABOUT = "CamVid, 101 validation images, 11 classes of which 5 flip: 32 modes of known probability"


def main() -> None:
    options = arguments(__doc__, 7, METHODS).parse_args()
    source = open_data(data_folder() / "camvid", flips=["street"])
    results = compare(Protocol("street_flips", ABOUT, "small", SETTINGS), source, options)
    for name, result in results.items():
        print(name, {key: flip["frequency"] for key, flip in result["flips"].items()}, result["flip_error"])
    own = results.get("probabilistic-unet")
    if own is not None:
        others = [result["ged"] for name, result in results.items() if name != "probabilistic-unet"]
        sys.exit(int(own["flip_error"] > 0.1 or any(ged <= own["ged"] for ged in others)))


if __name__ == "__main__":
    main()
