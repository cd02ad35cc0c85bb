"""Trapped yeast: assumed density filtering against Monte-Carlo dropout, an ensemble, and a plain softmax.

    python benchmarks/yeast.py --work yeast --out benchmarks/results/yeast.json

The world is `plurimask.data.worlds.traps`: background, trap, cell, one annotator, who errs where an image is ambiguous.
`unet` is deterministic with batch norm; `adf-unet` and `adf-deeplabv3plus` are `lightweight-probabilistic` with each
backbone; `dropout-unet` draws T = 20 passes; `ensemble` has 5 U-Nets. Each network trains for 2,000 steps of 8 images,
96 x 96; `--minutes-per-method` is a limit beside that. The figures in WORK/figures hold the reliability and
sparsification curves. Exits with 1 if the Dice of adf-unet is more than 0.01, or that of adf-deeplabv3plus more than
0.015, below that of `unet`, or if the AUROC of their entropy for misclassified pixels is below that of `unet`.
"""

from __future__ import annotations

import sys
from typing import Any

from compared import Protocol, arguments, compare

from plurimask.data.example import DataSource, Example, ExampleSet
from plurimask.data.worlds.traps import trap_source

SIZE, NUM_TRAIN, NUM_VAL = 96, 1500, 200
STEPS, MEMBERS = 2000, 5
ADF: dict[str, Any] = {
    "normalisation": "batch",
    "noise_variance": 1e-2,
    "variance_floor": 1e-6,
    "initial_scale": (-7.0, -1.0),
    "scale_learning_rate": 0.1,
    "learning_rate": 3e-3,
}
MEMBER = {"channels": (16, 32, 64, 96), "convs_per_scale": 2, "normalisation": "batch"}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "unet": ("unet", {"normalisation": "batch"}),
    "adf-unet": ("lightweight-probabilistic", ADF),
    "adf-deeplabv3plus": ("lightweight-probabilistic", {**ADF, "backbone": "deeplabv3plus"}),
    "dropout-unet": ("dropout-unet", {"normalisation": "batch"}),
    "ensemble": (
        "ensemble",
        {"members": ("unet",) * MEMBERS, "member_settings": {"unet": MEMBER}, "max_steps": MEMBERS * STEPS},
    ),
}
SETTINGS: dict[str, Any] = {
    "max_steps": STEPS,
    "convs_per_scale": 2,
    "batch_size": 8,
    "num_validations": 4,
    "validation_images": 60,
    "validation_samples": 4,
    "augmentation": {"flip_horizontal": 0.5, "rotation": 8.0},
}
ABOUT = f"built-in trapped yeast, {SIZE} x {SIZE}, {NUM_TRAIN} training and {NUM_VAL} validation images, one annotator"
LARGEST_LOSS = {"adf-unet": 0.01, "adf-deeplabv3plus": 0.015}


class Drawn(ExampleSet):
    """A world whose images are drawn once."""

    def __init__(self, world: ExampleSet) -> None:
        self.names, self.groups = world.names, world.groups
        self.examples = [world[index] for index in range(len(world))]

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def drawn_source() -> DataSource:
    source = trap_source(NUM_TRAIN, NUM_VAL, size=SIZE)
    return DataSource(source.description, {name: Drawn(world) for name, world in source.splits.items()}, source.drawn)


def missed(results: dict[str, Any]) -> list[str]:
    """What the results fall short of."""
    failures, plain = [], results.get("unet")
    for name, loss in LARGEST_LOSS.items():
        if plain is None or name not in results:
            continue
        own = results[name]
        if own["dice"] < plain["dice"] - loss:
            failures.append(f"Dice of {name}")
        if (own["error_auroc"] or 0.0) < (plain["error_auroc"] or 0.0):
            failures.append(f"AUROC of {name}")
    return failures


def main() -> None:
    parser = arguments(__doc__, 60, tuple(VARIANTS))
    parser.set_defaults(samples=20)
    options = parser.parse_args()
    protocol = Protocol("yeast", ABOUT, "small", SETTINGS, VARIANTS)
    failures = missed(compare(protocol, drawn_source(), options))
    print(f"not reached: {', '.join(failures)}" if failures else "reached")
    sys.exit(int(bool(failures)))


if __name__ == "__main__":
    main()
