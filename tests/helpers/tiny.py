"""Methods small enough for tests, from what their authors wrote: nothing is to be added here for a new one."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from plurimask.methods import METHODS
from plurimask.methods.presets import PRESETS

WIDTHS = (7, 9, 8, 6, 10, 11, 5, 12)


def tiny_settings(method: str) -> dict[str, Any]:
    """Those of the method's preset `small`, with as few and as narrow scales as the method takes."""
    return narrowed(method, PRESETS[method]["small"].method)


def narrowed(method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """`channels` cut to the fewest widths that the method takes; in the settings of other methods, such as those of an
    ensemble's members, too."""
    inner = {key: own for key, own in settings.items() if isinstance(own, dict) and own.keys() <= METHODS.keys()}
    settings = {**settings, **{key: {name: narrowed(name, of[name]) for name in of} for key, of in inner.items()}}
    for count in range(1, len(settings.get("channels", ())) + 1):
        fewer = {**settings, "channels": WIDTHS[:count]}
        try:
            METHODS[method].Config(**fewer)
        except ValidationError:
            continue
        return fewer
    return settings
