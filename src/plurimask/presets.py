"""Named settings of a method and of its training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plurimask.errors import unknown_name

DEFAULT_PRESET = "small"


@dataclass(frozen=True)
class Preset:
    """What a preset sets; everything else keeps its default."""

    summary: str
    method: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)


_SMALL_WIDTHS = (16, 32, 64, 96)
_SMALL_TRAINING = {"max_minutes": 20.0, "ema_decay": 0.99}

# The paper's training: 128x128 crops, batches of 32, one rater a step, Adam with an L2 penalty, 240,000 steps, the
# learning rate from 1e-4 to 1e-6 in five drops.
_LIDC_WIDTHS = (32, 64, 128, 256, 512)
_LIDC_TRAINING = {
    "max_steps": 240_000,
    "batch_size": 32,
    "raters_per_step": 1,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "schedule": "exponential-steps",
    "final_learning_rate": 1e-6,
    "decay_steps": 5,
    "warmup_steps": 0,
    "weight_decay": 1e-5,
    "num_validations": 120,
    "augmentation": {
        "flip_horizontal": 0.0,
        "rotation": 22.5,
        "shear": 5.0,
        "scale": (0.8, 1.2),
        "elastic_probability": 0.5,
        "elastic_alpha": 3.0,
        "elastic_sigma": 25.0,
        "gamma_probability": 0.0,
    },
}

PRESETS: dict[str, dict[str, Preset]] = {
    "unet": {
        "small": Preset("a laptop: narrow network, 20 minutes", {"channels": _SMALL_WIDTHS}, _SMALL_TRAINING),
        "lidc": Preset(
            "the network and training of the Probabilistic U-Net paper on LIDC-IDRI",
            {"channels": _LIDC_WIDTHS, "initialisation": "orthogonal"},
            _LIDC_TRAINING,
        ),
    },
    "probabilistic-unet": {
        "small": Preset("a laptop: narrow networks, 20 minutes", {"channels": _SMALL_WIDTHS}, _SMALL_TRAINING),
        "lidc": Preset(
            "the settings of the paper on LIDC-IDRI",
            {"channels": _LIDC_WIDTHS, "latent_dim": 6, "beta": 1.0, "initialisation": "orthogonal"},
            _LIDC_TRAINING,
        ),
    },
}


def find_preset(method: str, name: str) -> Preset:
    """The preset of a method by its name; an unknown one raises `InputError` with the known names."""
    presets = PRESETS[method]
    if name not in presets:
        raise unknown_name(f"preset of {method}", name, presets)
    return presets[name]
