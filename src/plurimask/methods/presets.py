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
    of_volumes: dict[str, Any] = field(default_factory=dict)
    """What it sets of the method in place of that, where images are volumes."""
    is_planned: bool = False
    """Whether the settings of training that it leaves open are fitted to the data and the machine."""


_SMALL_WIDTHS = (16, 32, 64, 96)
_SMALL_VOLUMES = {"channels": (8, 16, 32, 64), "convs_per_scale": 2}
"""A convolution of a volume has three times the weights, and a patch of it more voxels than a small image pixels."""
_SMALL_STEPS, _SMALL_MEMBER_STEPS = 2000, 1000
_SMALL_TRAINING = {"max_steps": _SMALL_STEPS, "ema_decay": 0.99}

# What the paper's trainings have in common: one rater a step, Adam with an L2 penalty, 240,000 steps.
_PAPER_TRAINING = {
    "max_steps": 240_000,
    "raters_per_step": 1,
    "optimizer": "adam",
    "learning_rate": 1e-4,
    "warmup_steps": 0,
    "weight_decay": 1e-5,
    "num_validations": 120,
}

# On LIDC-IDRI: 128x128 crops, batches of 32, the learning rate from 1e-4 to 1e-6 in five drops.
_LIDC_WIDTHS = (32, 64, 128, 256, 512)
_LIDC_TRAINING = {
    **_PAPER_TRAINING,
    "batch_size": 32,
    "schedule": "exponential-steps",
    "final_learning_rate": 1e-6,
    "decay_steps": 5,
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

# The published training on BBBC010: 200 epochs of 59 wells in batches of 4, Adam with 1e-3; flips, rotations.
_BBBC010_NETWORK = {
    "channels": (8, 16, 32, 64, 128),
    "convs_per_scale": 2,
    "normalisation": "batch",
    "pooling": "max",
    "upsampling": "nearest",
    "sigmoid": True,
    "initialisation": "glorot_uniform",
}
_BBBC010_TRAINING = {
    "max_steps": 3000,
    "batch_size": 4,
    "resize": (400, 400),
    "image_scaling": "maximum",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "gradient_clip": 1e6,  # none was published; the loss is a sum over 160,000 pixels
    "num_validations": 20,
    "validation_samples": 8,
    "augmentation": {
        "flip_horizontal": 0.5,
        "flip_vertical": 0.5,
        "rotation": 15.0,
        "scale": (1.0, 1.0),
        "gamma_probability": 0.0,
    },
}

# On Cityscapes: whole quarter-resolution images, one draw of the flips a step, the learning rate at 1e-4, from 80,000
# steps at 5e-5, from 160,000 at 1e-5.
_CITYSCAPES_WIDTHS = (32, 64, 128, 192, 192, 192, 192)
_CITYSCAPES_TRAINING = {
    **_PAPER_TRAINING,
    "batch_size": 10,
    "schedule": "piecewise",
    "drops": ((1 / 3, 0.5), (2 / 3, 0.1)),
    "resize": (256, 512),  # a quarter: as the data are read already, and for new images of full size
    "augmentation": {
        "flip_horizontal": 0.5,
        "rotation": 22.5,
        "scale": (0.8, 1.2),
        "elastic_probability": 1.0,
        "elastic_alpha": 2.5,
        "elastic_sigma": 30.0,
        "gamma_probability": 0.3,
        "gamma": (0.7, 1.5),
    },
}
_LAPTOP = f"a laptop: narrow network, {_SMALL_STEPS:,} steps of a size that fits data and machine"
_PAPER_LIDC = "the network and training of the Probabilistic U-Net paper on LIDC-IDRI"
_PAPER_CITYSCAPES = "the settings of the released code of the Probabilistic U-Net on Cityscapes"


_OF_THE_PAPER = {
    "small": Preset(_LAPTOP, {"channels": _SMALL_WIDTHS}, _SMALL_TRAINING, _SMALL_VOLUMES, is_planned=True),
    "lidc": Preset(_PAPER_LIDC, {"channels": _LIDC_WIDTHS, "initialisation": "orthogonal"}, _LIDC_TRAINING),
    "cityscapes": Preset(_PAPER_CITYSCAPES, {"channels": _CITYSCAPES_WIDTHS}, _CITYSCAPES_TRAINING),
}
"""All methods of the Probabilistic U-Net paper are built around the same U-Net; the rest are their defaults."""

_HIERARCHICAL = {
    "small": Preset(
        f"{_LAPTOP}; one block a scale",
        {
            "channels": (16, 32, 64, 96, 96, 96, 96),
            "blocks_per_scale": 1,
            # Fewer steps than lambda was published for: a milder constraint, on more pixels, that is met sooner.
            "kappa": 0.1,
            "hard_pixel_share": 0.08,
            "multiplier_rate": 6e-3,
        },
        {**_SMALL_TRAINING, "gradient_clip": 1e4},
        {"channels": (8, 16, 32, 48, 64, 64, 64)},
        is_planned=True,
    ),
    "lidc": Preset(
        "the network and training of the Hierarchical Probabilistic U-Net paper on LIDC-IDRI",
        {"channels": (24, 48, 96, 192, 192, 192, 192, 192)},
        {
            **_LIDC_TRAINING,
            "schedule": "piecewise",
            "drops": ((0.25, 0.5), (0.5, 0.25), (0.75, 0.125), (0.875, 0.0625)),
            "final_learning_rate": 0.0,
            "gradient_clip": 1e6,  # none was published; lambda, up to 50 and more, multiplies the gradient
        },
    ),
}

_SINGLE_NETWORKS: dict[str, dict[str, Preset]] = {
    "unet": {
        **_OF_THE_PAPER,
        "bbbc010": Preset(
            "the published U-Net for C. elegans, 494,009 parameters", _BBBC010_NETWORK, _BBBC010_TRAINING
        ),
    },
    "dropout-unet": {
        **_OF_THE_PAPER,
        "bbbc010": Preset(
            "the published Monte-Carlo-dropout U-Net for C. elegans, 494,009 parameters",
            {**_BBBC010_NETWORK, "dropout_encoder_blocks": 3, "dropout_decoder_blocks": 2},
            _BBBC010_TRAINING,
        ),
    },
    "m-heads": _OF_THE_PAPER,
    "image2image-vae": _OF_THE_PAPER,
    "probabilistic-unet": _OF_THE_PAPER,
    "hierarchical-probabilistic-unet": _HIERARCHICAL,
    "energy-score-unet": {
        "small": Preset(
            _LAPTOP,
            {"channels": _SMALL_WIDTHS, "normalisation": "batch"},
            {**_SMALL_TRAINING, "gradient_clip": 1.0},
            {**_SMALL_VOLUMES, "normalisation": "none"},  # of batches of two or so
            is_planned=True,
        )
    },
    "lightweight-probabilistic": {
        "small": Preset(_LAPTOP, {"channels": _SMALL_WIDTHS}, _SMALL_TRAINING, is_planned=True)
    },
    "bayes-by-backprop": {"small": Preset(_LAPTOP, {"channels": _SMALL_WIDTHS}, _SMALL_TRAINING, is_planned=True)},
    "probabilistic-backpropagation": {
        "small": Preset(
            f"{_LAPTOP}; batch norm, and variances that forget",
            {"channels": _SMALL_WIDTHS, "normalisation": "batch", "memory": 3.0, "image_weight": 1000.0},
            _SMALL_TRAINING,
            is_planned=True,
        )
    },
}


def _settings(preset: str, of_volumes: bool = False) -> dict[str, dict[str, Any]]:
    """The settings of each method that has a preset of that name."""
    known = {name: presets[preset] for name, presets in _SINGLE_NETWORKS.items() if preset in presets}
    return {name: {**own.method, **own.of_volumes} if of_volumes else own.method for name, own in known.items()}


_SINGLE_NETWORKS["swag"] = {
    "small": Preset(
        f"{_LAPTOP}, the last quarter of them of SGD, on a U-Net",
        {"base_settings": _settings("small")},
        {"max_steps": _SMALL_STEPS},  # the weights are averaged by the method itself
        is_planned=True,
    )
}


def _ensemble(preset: str, num_members: int, summary: str) -> Preset:
    """U-Nets with a preset of theirs; members of other methods have the preset of that name too, where there is one."""
    method = {"members": ("unet",) * num_members, "member_settings": _settings(preset)}
    of_one = _SINGLE_NETWORKS["unet"][preset]
    steps = _SMALL_MEMBER_STEPS if of_one.is_planned else of_one.training["max_steps"]
    training = {**of_one.training, "max_steps": num_members * steps}  # members share the budget
    volumes = {"member_settings": _settings(preset, of_volumes=True)}
    return Preset(summary, method, training, volumes, of_one.is_planned)


PRESETS: dict[str, dict[str, Preset]] = {
    **_SINGLE_NETWORKS,
    "ensemble": {
        "small": _ensemble("small", 4, f"a laptop: 4 narrow U-Nets of {_SMALL_MEMBER_STEPS:,} steps each"),
        "lidc": _ensemble("lidc", 16, f"16 U-Nets: {_PAPER_LIDC}"),
        "cityscapes": _ensemble("cityscapes", 16, f"16 U-Nets: {_PAPER_CITYSCAPES}"),
    },
}


FROM_OUTSIDE = {
    "small": Preset(f"the method's own defaults, {_SMALL_STEPS:,} steps", training=_SMALL_TRAINING, is_planned=True)
}
"""Of a method from another package. It sets the rest by the defaults of its `Config`."""


def presets_of(method: str) -> dict[str, Preset]:
    """The presets of a method, by name."""
    return PRESETS.get(method, FROM_OUTSIDE)


def find_preset(method: str, name: str) -> Preset:
    """The preset of a method by its name; an unknown one raises `InputError` with the known names."""
    presets = presets_of(method)
    if name not in presets:
        raise unknown_name(f"preset of {method}", name, presets)
    return presets[name]
