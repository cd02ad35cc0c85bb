"""What keeps probabilistic backpropagation below the deterministic U-Net on BBBC010, and what mends it.

    python benchmarks/backpropagation_bbbc010.py --work backpropagation_bbbc010 \\
        --out benchmarks/results/backpropagation_bbbc010.json

Data, network and training are those of `benchmarks/bayesian.py`, of which the paper's plain updates are a row too. What
is varied are the settings of the method: how many epochs the variances remember, how many pixels an image counts for,
and batch norm.
"""

from __future__ import annotations

from typing import Any

from bayesian import DATA, PLAIN_UPDATES, SETTINGS
from compared import Protocol, arguments, compare

METHOD = "probabilistic-backpropagation"
TRIALS: dict[str, dict[str, Any]] = {
    "plain updates": {},
    "memory of 10 epochs": {"memory": 10.0},
    "memory of 3 epochs, image weight 1000": {"memory": 3.0, "image_weight": 1000.0},
    "batch norm, memory of 10 epochs": {"memory": 10.0, "normalisation": "batch"},
    "batch norm": {"normalisation": "batch"},
    "batch norm, memory of 3 epochs, image weight 1000": {
        "memory": 3.0,
        "image_weight": 1000.0,
        "normalisation": "batch",
    },
}


def main() -> None:
    options = arguments(__doc__, 600, TRIALS).parse_args()
    data = DATA["bbbc010"]
    variants = {name: (METHOD, {**PLAIN_UPDATES, **own}) for name, own in TRIALS.items() if name in options.methods}
    settings = {**SETTINGS, **data.settings}
    compare(Protocol("backpropagation_bbbc010", data.about, "small", settings, variants), data.source(), options)


if __name__ == "__main__":
    main()
