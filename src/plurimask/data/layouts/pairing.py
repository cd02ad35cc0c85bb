"""Which mask belongs to which image, by their names.

Equal names pair. Where no mask has the name of an image, what all images or all masks have in common is left out
(`image_001` and `mask_001`, `21_training` and `21_manual1`), and what a mask's name has more than its image's is the
rater, if it differs (`x_anna`, `x_ben`; `x_seg0`, `x_seg1`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

_T = TypeVar("_T")
_SEPARATORS = "_-. "
MAX_RATERS = 64


def pair(masks: Mapping[str, _T], images: Collection[str]) -> dict[str, dict[str, _T]] | None:
    """Rater (empty if there is one) to image name to mask; None if some mask has no image.

    Args:
        masks: by name.
        images: the names of the images.
    """
    if not masks:
        return None
    exact = sum(name in images for name in masks)
    if exact:
        return {"": dict(masks)} if exact == len(masks) else None
    plain = {image: image for image in images}
    return _by_beginning(masks, plain) or _without_common(masks, images)


def _without_common(masks: Mapping[str, _T], images: Collection[str]) -> dict[str, dict[str, _T]] | None:
    """Pairs what is left of names without their common beginnings and ends."""
    beginning, end = _common(images)
    cores = {_cut(image, beginning, end): image for image in images}
    if len(cores) < len(images):
        return None
    start, _ = _common(masks)
    if start:
        shortened = {_cut(name, start, ""): mask for name, mask in masks.items()}
        if len(shortened) == len(masks) and (found := _by_beginning(shortened, cores)):
            return found
    return _by_beginning(masks, cores)


def _by_beginning(masks: Mapping[str, _T], cores: Mapping[str, str]) -> dict[str, dict[str, _T]] | None:
    """Pairs each mask with the longest of `cores` (to image) that its name begins with, up to a separator."""
    found: dict[str, dict[str, _T]] = {}
    for name, mask in masks.items():
        core = next((part for part in _beginnings(name) if part in cores), None)
        if core is None:
            return None
        of_one = found.setdefault(name[len(core) :], {})
        of_one[cores[core]] = mask
    if len(found) > 1 and (len(found) > MAX_RATERS or len(found) >= len(masks) > len(cores)):
        return None
    if len(found) == 1:
        return {"": next(iter(found.values()))}
    shared = _shared(list(found))
    shared = shared[: max((shared.rfind(each) + 1 for each in _SEPARATORS), default=0)]
    names = {end: end[len(shared) :].strip(_SEPARATORS) or end.strip(_SEPARATORS) or "plain" for end in found}
    if len(set(names.values())) < len(names):
        return None
    return {names[end]: of_one for end, of_one in found.items()}


def _beginnings(name: str) -> list[str]:
    """`name`, and its beginnings that end before a separator, the longest first."""
    return [name, *(name[:place] for place in range(len(name) - 1, 0, -1) if name[place] in _SEPARATORS)]


def _common(names: Collection[str]) -> tuple[str, str]:
    """What all names (without folders) begin and end with, up to a separator or, at the beginning, a number."""
    own = [name.rpartition("/")[2] for name in names]
    if len(own) < 2:
        return "", ""
    beginning = re.match(rf".*[{re.escape(_SEPARATORS)}]|[^\W\d]+(?=\d|$)", _shared(own))
    end = re.search(rf"[{re.escape(_SEPARATORS)}].*$", _shared([name[::-1] for name in own])[::-1])
    return beginning[0] if beginning else "", end[0] if end else ""


def _shared(names: Collection[str]) -> str:
    """What all `names` begin with."""
    first, last = min(names), max(names)
    return first[
        : next((place for place, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1), len(first))
    ]


def _cut(name: str, beginning: str, end: str) -> str:
    folder, slash, own = name.rpartition("/")
    return folder + slash + own.removeprefix(beginning).removesuffix(end)
