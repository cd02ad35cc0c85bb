"""What is in a data set: counts, sizes, classes, raters, how much the raters agree, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from plurimask.data.example import DataDescription, DataSource, ExampleSet
from plurimask.data.known import FileStates
from plurimask.evaluation.agreement import comment_on_raters
from plurimask.evaluation.counting import NUM_SAMPLES, SplitCount, facts_of_all
from plurimask.evaluation.spacing import SpacingReport, spacing_report
from plurimask.sets.unjudged import IGNORE

SCALES_APART = 100
"""Images whose largest values differ by such a factor were hardly saved in the same bits and scale."""


class SplitReport(BaseModel):
    """What is in one split."""

    model_config = ConfigDict(frozen=True)

    num_images: int
    num_groups: int
    sizes: dict[str, int]
    """"HxW", or "DxHxW" of volumes, to the number of images of this size."""
    value_range: tuple[tuple[float, float], ...]
    """Smallest and largest value of each channel."""
    num_constant: int
    """Images of which every channel has one value only."""
    num_raters: dict[int, int]
    """Raters present to the number of images with so many."""
    marked_share: tuple[float, ...]
    """Of the maps that each rater gave, the share that marks a counted class anywhere; 0 for one who gave none."""
    absent_share: tuple[float, ...]
    """Share of the images for which each rater gave no map (or judged no pixel)."""
    class_shares: tuple[float, ...]
    """Share of each class among the judged pixels of all maps; where classes flip, the expected share."""
    ignored_share: float
    """Share of unjudged pixels in the maps that were given."""
    rater_distance: float | None
    """mu: the mean over images of the mean distance (1 - IoU of the counted classes) between two different raters.

    Where classes flip, the exact mean distance between two independent draws, over the images that have such a class.
    """
    oracle_ged: float | None
    """Expected squared generalised energy distance of 16 maps drawn from the raters themselves: mu (1/16 + 1/m).

    Where classes flip the raters' distribution is known exactly, as if m were infinite: mu / 16.
    """
    num_lines_only: int = 0
    """Images with several raters, who differ in lines of at most two pixels or not at all."""
    peaks: tuple[float, float] = (0.0, 0.0)
    """The smallest and the largest of the images' largest values."""
    spacing: SpacingReport | None = None
    """Of volumes, where their files say how large a voxel is."""


class DataReport(BaseModel):
    """What is in a data set."""

    model_config = ConfigDict(frozen=True)

    description: DataDescription
    drawn: bool
    splits: dict[str, SplitReport]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was left out of the data, or chosen for them."""
    comments: tuple[str, ...] = ()
    """What the data are good for."""

    def lines(self) -> list[str]:
        """The report as plain text, for the terminal."""
        about = self.description
        lines = [
            f"layout     {about.layout}" + ("; the split was drawn here" if self.drawn else ""),
            f"channels   {len(about.channel_names)}: {', '.join(about.channel_names)}",
            f"classes    {about.num_classes}: {', '.join(about.class_names)}",
            f"raters     {len(about.rater_names)}: {', '.join(about.rater_names)}",
            f"masks      {about.encoding}",
            *_flip_lines(about),
        ]
        for name, split in self.splits.items():
            lines += ["", f"{name}: {split.num_images} images, {split.num_groups} groups", *_split_lines(split, about)]
        remarks = [("note", self.notes), ("warning", self.warnings), ("comment", self.comments)]
        said = [f"{kind}: {remark}" for kind, remarks_of_kind in remarks for remark in remarks_of_kind]
        return lines + (["", *said] if said else [])


def check_data(source: DataSource, states: FileStates | None = None) -> DataReport:
    """Reads every example of every split once, and reports.

    Args:
        source: the data.
        states: of its files, where they were looked at when it was opened a moment ago (`Place.states`).

    Raises:
        InputError: a file is damaged or does not fit.
    """
    splits = {name: _split_report(examples, source.description, states) for name, examples in source.splits.items()}
    warnings = [*_split_warnings(splits, source.description), *_overlap_warnings(source.splits)]
    comment = None if source.description.flips else _comment(source.description, list(splits.values()))
    return DataReport(
        description=source.description,
        drawn=source.drawn,
        splits=splits,
        warnings=tuple(warnings),
        notes=source.notes,
        comments=() if comment is None else (comment,),
    )


def _split_report(examples: ExampleSet, about: DataDescription, states: FileStates | None) -> SplitReport:
    count = SplitCount(about)
    for found in facts_of_all(examples, about, states):
        count.add(found)
    total = np.array(count.pixels, np.int64)
    pixels = total.astype(float)
    for flip in about.flips:
        pixels[flip.target] = flip.probability * pixels[flip.source]
        pixels[flip.source] *= 1 - flip.probability
    judged = max(pixels[:IGNORE].sum(), 1)
    return SplitReport(
        num_images=count.num_images,
        num_groups=len(set(examples.groups)),
        sizes={"x".join(map(str, size)): number for size, number in sorted(count.sizes.items())},
        value_range=tuple(zip(count.low, count.high, strict=True)),
        num_constant=count.num_constant,
        num_raters=dict(sorted(count.num_raters.items())),
        marked_share=tuple((np.array(count.marked) / np.maximum(count.given, 1)).tolist()),
        absent_share=tuple((1 - np.array(count.given) / max(count.num_images, 1)).tolist()),
        class_shares=tuple((pixels[: about.num_classes] / judged).tolist()),
        ignored_share=float(total[IGNORE] / max(total.sum(), 1)),
        rater_distance=_mean(count.distances),
        oracle_ged=_mean(count.oracles),
        num_lines_only=count.num_lines_only,
        peaks=(min(count.peaks, default=0.0), max(count.peaks, default=0.0)),
        spacing=spacing_report(count.pixel_sizes),
    )


def _comment(about: DataDescription, splits: Sequence[SplitReport]) -> str | None:
    num_raters: Counter[int] = Counter()
    for split in splits:
        num_raters.update(split.num_raters)
    lines_only = sum(split.num_lines_only for split in splits)
    distances = [split.rater_distance for split in splits]
    return comment_on_raters(about.rater_names, dict(num_raters), lines_only, distances)


def _flip_lines(about: DataDescription) -> list[str]:
    if not about.flips:
        return []
    names = about.class_names
    each = [f"{names[flip.source]} -> {names[flip.target]} {flip.probability:.4f}" for flip in about.flips]
    return [f"flips      {', '.join(each)}", f"modes      {2 ** len(about.flips)} of each image"]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _split_lines(split: SplitReport, about: DataDescription) -> list[str]:
    sizes = list(split.sizes)
    size = sizes[0] if len(sizes) == 1 else f"{len(sizes)} different, {_extent(sizes)}"
    ranges = ", ".join(
        f"{name} {low:g} to {high:g}" for name, (low, high) in zip(about.channel_names, split.value_range, strict=True)
    )
    shares = [f"{name} {share:.2%}" for name, share in zip(about.class_names, split.class_shares, strict=True)]
    is_volume = about.spatial_dims == 3
    lines = [f"  size       {size} ({'depth x ' * is_volume}height x width)", f"  values     {ranges}"]
    lines += [f"  voxel      {split.spacing.line() if split.spacing else 'of unknown size'}"] * is_volume
    lines.append(f"  {'voxels' if is_volume else 'pixels'}     {', '.join(shares)}")
    if split.ignored_share:
        lines[-1] += f"; not judged {split.ignored_share:.2%} of all"
    raters = [
        f"{name} {_marked(marked, absent)}"
        for name, marked, absent in zip(about.rater_names, split.marked_share, split.absent_share, strict=True)
    ]
    lines.append(f"  non-empty  {', '.join(raters)}")
    if len(split.num_raters) > 1:
        lines.append(
            "  raters     " + ", ".join(f"{count} on {images} images" for count, images in split.num_raters.items())
        )
    if split.rater_distance is not None and split.oracle_ged is not None:
        pair, origin = ("draws of the flips", "modes") if about.flips else ("raters", "raters")
        lines.append(f"  agreement  mean distance (1 - IoU) between two {pair} {split.rater_distance:.4f}")
        lines.append(f"  oracle     GED^2 {split.oracle_ged:.4f} for {NUM_SAMPLES} samples drawn from the {origin}")
    return lines


def _marked(marked: float, absent: float) -> str:
    """How often a rater marks anything, and how often there is no map; one who was never there marks nothing either."""
    if absent == 1:
        return "absent"
    missing = ">99%" if absent > 0.995 else "<1%" if 0 < absent < 0.005 else f"{absent:.0%}"
    return f"{marked:.0%}" + (f" of the maps given (absent {missing})" if absent else "")


def _extent(sizes: Sequence[str]) -> str:
    """The smallest and largest of each side of sizes such as "64x96"."""
    sides = [list(side) for side in zip(*([int(side) for side in size.split("x")] for size in sizes), strict=True)]
    return " x ".join(f"{min(side)}..{max(side)}" if min(side) < max(side) else str(side[0]) for side in sides)


def _split_warnings(splits: Mapping[str, SplitReport], about: DataDescription) -> list[str]:
    warnings = []
    for name, split in splits.items():
        shares = zip(about.rater_names, split.marked_share, split.absent_share, strict=True)
        present = [(rater, marked) for rater, marked, absent in shares if absent < 1]
        nothing = [rater for rater, marked in present if not marked]
        if split.num_images and len(nothing) == len(present):
            warnings.append(f"{name}: no mask marks anything: check that the masks hold what was meant")
        elif nothing:
            warnings.append(f"{name}: {', '.join(nothing)} never mark{'s' if len(nothing) == 1 else ''} anything")
        unused = [cls for cls, share in zip(about.class_names, split.class_shares, strict=True) if not share]
        if unused and len(nothing) < len(present):
            warnings.append(f"{name}: no pixel of {', '.join(unused)}")
        if split.num_constant:
            constant = f"{split.num_constant} images have the same value everywhere"
            warnings.append(f"{name}: {constant}: check how they were saved")
        low, high = split.peaks
        if high > SCALES_APART * low > 0:
            warnings.append(
                f"{name}: the largest value is {low:g} in one image and {high:g} in another: save all with the same "
                "bits and scale"
            )
        if split.num_raters.get(0):
            warnings.append(f"{name}: {split.num_raters[0]} images have no judged pixel")
        if len(split.sizes) > 1:
            warnings.append(f"{name}: images of {len(split.sizes)} sizes: training crops or pads them to one size")
    return warnings


def _overlap_warnings(splits: Mapping[str, ExampleSet]) -> list[str]:
    """What is in two splits at once."""
    warnings = []
    names = list(splits)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            shared = sorted(set(splits[first].names) & set(splits[second].names))
            groups = sorted(set(splits[first].groups) & set(splits[second].groups) - set(shared))
            for kind, both in (("names", shared), ("groups", groups)):
                if both:
                    listed = ", ".join(both[:3]) + (", ..." if len(both) > 3 else "")
                    warnings.append(
                        f"{len(both)} {kind} are in {first} and in {second} ({listed}): the splits may overlap"
                    )
    return warnings
