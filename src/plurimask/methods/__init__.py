"""One paper, one file. A method is added here by one line; other packages may offer more (`outside`)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from plurimask.errors import InputError, first_mistake, unknown_name
from plurimask.method import MethodConfig, SegmentationMethod
from plurimask.methods.bayes_by_backprop import BayesByBackprop
from plurimask.methods.dropout_unet import DropoutUNet
from plurimask.methods.energy_score_unet import EnergyScoreUNet
from plurimask.methods.ensemble import Ensemble, EnsembleConfig
from plurimask.methods.hierarchical_probabilistic_unet import HierarchicalProbabilisticUNet
from plurimask.methods.image2image_vae import Image2ImageVAE
from plurimask.methods.lightweight_probabilistic import LightweightProbabilistic
from plurimask.methods.m_heads import MHeads
from plurimask.methods.outside import GROUP, import_method, offered
from plurimask.methods.probabilistic_backpropagation import ProbabilisticBackpropagation
from plurimask.methods.probabilistic_unet import ProbabilisticUNet
from plurimask.methods.swag import SWAG, SWAGConfig
from plurimask.methods.unet import UNet

METHODS: dict[str, type[SegmentationMethod]] = {
    "unet": UNet,
    "dropout-unet": DropoutUNet,
    "ensemble": Ensemble,
    "m-heads": MHeads,
    "image2image-vae": Image2ImageVAE,
    "probabilistic-unet": ProbabilisticUNet,
    "hierarchical-probabilistic-unet": HierarchicalProbabilisticUNet,
    "energy-score-unet": EnergyScoreUNet,
    "lightweight-probabilistic": LightweightProbabilistic,
    "swag": SWAG,
    "bayes-by-backprop": BayesByBackprop,
    "probabilistic-backpropagation": ProbabilisticBackpropagation,
}


def method_names() -> list[str]:
    """The names of all methods: of plurimask, then those that installed packages offer."""
    return list(dict.fromkeys([*METHODS, *sorted(entry_points(group=GROUP).names)]))


def find_method(name: str) -> type[SegmentationMethod]:
    """The class of a method.

    Args:
        name: looked for in `METHODS`, then among the entry points `plurimask.methods` of installed packages; one with
            a colon is an import path, `package.module:Class`.

    Raises:
        InputError: there is none (the nearest names are given), or the other package's is no usable method.
    """
    if name in METHODS:
        return METHODS[name]
    if point := offered(name):
        return import_method(point.value)
    if ":" in name:
        return import_method(name)
    raise unknown_name("method", name, method_names())


def package_of(name: str) -> dict[str, str]:
    """The package and version that offers a method by name; none for methods of plurimask and import paths."""
    point = None if name in METHODS else offered(name)
    return {point.dist.name: point.dist.version} if point and point.dist else {}


def build_method(name: str, /, **settings: Any) -> SegmentationMethod:
    """A new, untrained method: `build_method("probabilistic-unet", num_classes=3, latent_dim=4)`.

    Settings are those of the method's `Config`; unknown ones are refused. The members of an ensemble and the method
    underneath swag are built too.
    """
    method = find_method(name)
    config = method.Config(**settings)
    require_dimensions(name, config.spatial_dims)
    if isinstance(config, EnsembleConfig):
        return Ensemble(config, _members(config))
    return SWAG(config, _base(config)) if isinstance(config, SWAGConfig) else method(config)


def require_dimensions(name: str, spatial_dims: int) -> None:
    """InputError where a method does not take images of so many dimensions; it names those that do."""
    if spatial_dims in find_method(name).dimensions:
        return
    others = ", ".join(other for other, method in METHODS.items() if spatial_dims in method.dimensions)
    raise InputError(
        f"{name} takes images of two dimensions, and these are volumes: choose one of {others}, or train it on slices "
        "(--slices)"
    )


def _members(config: EnsembleConfig) -> list[SegmentationMethod]:
    own = config.member_settings
    known = {*method_names(), *config.members, *map(str, range(len(config.members)))}
    for key in sorted(own.keys() - known):
        raise unknown_name("method or number of a member in member_settings", key, known)
    return [
        _inner(f"member {number}", member, {**own.get(member, {}), **own.get(str(number), {})}, config)
        for number, member in enumerate(config.members)
    ]


def _base(config: SWAGConfig) -> SegmentationMethod:
    known = {*method_names(), config.base}
    for key in sorted(config.base_settings.keys() - known):
        raise unknown_name("method in base_settings", key, known)
    return _inner("base", config.base, config.base_settings.get(config.base, {}), config)


def _inner(what: str, name: str, settings: Mapping[str, Any], outer: MethodConfig) -> SegmentationMethod:
    """A method within another, which sees the same data."""
    common = {field: getattr(outer, field) for field in MethodConfig.model_fields}
    try:
        return build_method(name, **{**settings, **common})
    except ValidationError as error:
        raise InputError(f"{what} ({name}): {first_mistake(error)}") from error
