"""The Probabilistic U-Net and its paper's baselines on LIDC-IDRI crops, with one budget each.

    python benchmarks/lidc.py --minutes-per-method 15 --work cmp --out benchmarks/results/lidc.json

It is `plurimask compare DATA/lidc --methods ... --preset small --center-crop 64 --max-minutes 15 --out cmp` and a
record. DATA is the folder named by PLURIMASK_DATA, else ../shared/data.
"""

from __future__ import annotations

from compared import Protocol, arguments, compare
from record import data_folder

from plurimask import open_data

METHODS = ("unet", "dropout-unet", "ensemble", "m-heads", "image2image-vae", "probabilistic-unet")
ABOUT = "LIDC-IDRI, 64 x 64 centre crops, 565 validation images of 175 patients, 4 raters"


def main() -> None:
    options = arguments(__doc__, 15, METHODS).parse_args()
    compare(Protocol("lidc", ABOUT, "small", {"center_crop": 64}), open_data(data_folder() / "lidc"), options)


if __name__ == "__main__":
    main()
