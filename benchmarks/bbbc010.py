"""The Monte-Carlo-dropout U-Net against the same network without dropout, on C. elegans (BBBC010).

    python benchmarks/bbbc010.py --minutes-per-method 40 --work worms --out benchmarks/results/bbbc010.json

Both have the preset `bbbc010`: 494,009 parameters, 400 x 400 pixels, the published split less the wells that the copy
of the data lacks; T = 20 passes. Exits with 1 if the median Dice on the validation wells is below 0.88 with dropout or
0.90 without, or if the entropy's AUROC for misclassified pixels is below 0.9 with dropout. DATA is the folder named by
PLURIMASK_DATA, else ../shared/data.
"""

from __future__ import annotations

import sys

from compared import Protocol, arguments, compare
from record import data_folder

from plurimask import open_data

METHODS = ("dropout-unet", "unet")
ABOUT = "BBBC010, two channels, 400 x 400, 19 validation wells, one annotator"
NEEDED = {"dropout-unet": 0.88, "unet": 0.90}
NEEDED_AUROC = 0.9


def main() -> None:
    parser = arguments(__doc__, 40, METHODS)
    parser.set_defaults(samples=20)
    options = parser.parse_args()
    results = compare(Protocol("bbbc010", ABOUT, "bbbc010"), open_data(data_folder() / "bbbc010"), options)
    missed = [name for name, result in results.items() if result["median_dice"] < NEEDED.get(name, 0)]
    if "dropout-unet" in results and results["dropout-unet"]["error_auroc"] < NEEDED_AUROC:
        missed.append("AUROC")
    print(f"not reached: {', '.join(missed)}" if missed else "reached")
    sys.exit(int(bool(missed)))


if __name__ == "__main__":
    main()
