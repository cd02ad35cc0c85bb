"""Which mask belongs to which image, by their names.

Equal names pair. Where no mask has the name of an image, what a mask's name has more is the rater, if it differs
(`x_anna`, `x_ben`; `x_seg0`, `x_seg1`; `expert1_x`; a folder per image, `x/anna`; `x_desc-anna_mask`, as BIDS has it,
whose images may end in what they show, `x_T1w`); and where no mask's name holds that
of an image, what all images or all masks have in common is left out (`image_001` and `mask_001`, `21_training` and
`21_manual1`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

_T = TypeVar("_T")
_SEPARATORS = "_-. "
_DESCRIBED = re.compile(r"(.+)_desc-([0-9A-Za-z]+)(?:_[0-9A-Za-z]+)?")
_SHOWS = re.compile(r"_[0-9A-Za-z]+$")
"""The last word of a name in BIDS: what an image shows (T1w), or a mask (dseg, mask)."""
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
    if (bids := _by_description(masks, images)) is not None:
        return bids
    plain = {image: image for image in images}
    backwards = {name[::-1]: mask for name, mask in masks.items()}
    return (
        _in_folders(masks, images)
        or _by_beginning(masks, plain)
        or _turned(_by_beginning(backwards, {image[::-1]: image for image in images}))
        or _without_common(masks, images)
    )


def _by_description(masks: Mapping[str, _T], images: Collection[str]) -> dict[str, dict[str, _T]] | None:
    """Pairs names of BIDS: entities in the same order, of which a mask has `desc-RATER` more and its own last word."""
    found: dict[str, dict[str, _T]] = {}
    cores = {image: image for image in images} | {_SHOWS.sub("", image): image for image in images}
    if len({_SHOWS.sub("", image) for image in images}) < len(images):  # several images of one subject
        cores = {image: image for image in images}
    for name, mask in masks.items():
        match = _DESCRIBED.fullmatch(name)
        image = cores.get(match[1]) if match else None
        if match is None or image is None or image in found.setdefault(match[2], {}):
            return None
        found[match[2]][image] = mask
    return found if len(found) <= MAX_RATERS else None


def _in_folders(masks: Mapping[str, _T], images: Collection[str]) -> dict[str, dict[str, _T]] | None:
    """Pairs the masks in a folder of each image; raters are those whom all folders have, as objects are not."""
    found: dict[str, dict[str, _T]] = {}
    for name, mask in masks.items():
        image, _, rater = name.rpartition("/")
        if image not in images:
            return None
        found.setdefault(rater, {})[image] = mask
    counts = {len(of_one) for of_one in found.values()}
    return _named(found) if len(counts) == 1 and len(found) <= MAX_RATERS and len(masks) > len(found) else None


def _turned(found: dict[str, dict[str, _T]] | None) -> dict[str, dict[str, _T]] | None:
    """With the names of raters forwards again."""
    return found and {rater[::-1]: of_one for rater, of_one in found.items()}


def _without_common(masks: Mapping[str, _T], images: Collection[str]) -> dict[str, dict[str, _T]] | None:
    """Pairs what is left of names without their common beginnings and ends."""
    beginning, end = _common(images)
    cores = {_cut(image, beginning, end): image for image in images}
    if len(cores) < len(images):
        return None
    start, _ = _common(masks)
    shortened = {_cut(name, start, ""): mask for name, mask in masks.items()}
    found = _by_beginning(shortened, cores) if start and len(shortened) == len(masks) else None
    found = found or _by_beginning(masks, cores)
    # Numbers in names may count something else than images: then few of these have masks.
    paired = {image for of_one in (found or {}).values() for image in of_one}
    return found if 2 * len(paired) >= len(images) else None


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
    return _named(found)


def _named(found: dict[str, dict[str, _T]]) -> dict[str, dict[str, _T]] | None:
    """Raters by what their names do not have in common; None if that is the same for two."""
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
