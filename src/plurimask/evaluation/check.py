"""What is in a data set: counts, sizes, classes, raters, how much the raters agree, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from pydantic import BaseModel, ConfigDict

from plurimask.data.example import DataDescription, DataSource, Example, ExampleSet
from plurimask.distribution import IGNORE
from plurimask.evaluation.agreement import comment_on_raters, differ_by_lines_only
from plurimask.evaluation.spacing import SpacingReport, spacing_report
from plurimask.metrics import rater_distance
from plurimask.metrics.modes import mode_spread

NUM_SAMPLES = 16
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


def check_data(source: DataSource) -> DataReport:
    """Reads every example of every split once, and reports.

    Raises:
        InputError: a file is damaged or does not fit.
    """
    counts = {name: _SplitCount(source.description) for name in source.splits}
    splits = {}
    for name, examples in source.splits.items():
        for index in range(len(examples)):
            example = examples[index]
            counts[name].add(example, _distance(example, source.description.counted_classes))
        spacing = spacing_report([examples.pixel_size(index) for index in range(len(examples))])
        splits[name] = counts[name].report(len(set(examples.groups))).model_copy(update={"spacing": spacing})
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


def _comment(about: DataDescription, splits: Sequence[SplitReport]) -> str | None:
    num_raters: Counter[int] = Counter()
    for split in splits:
        num_raters.update(split.num_raters)
    lines_only = sum(split.num_lines_only for split in splits)
    distances = [split.rater_distance for split in splits]
    return comment_on_raters(about.rater_names, dict(num_raters), lines_only, distances)


def _distance(example: Example, counted_classes: Sequence[int]) -> float | None:
    """How far the raters of one image are apart; None where that is not defined."""
    if example.flips:
        return mode_spread(example.labels[0], example.flips)
    return rater_distance(example.labels, counted_classes)


class _SplitCount:
    """Streaming sums over the examples of one split."""

    def __init__(self, description: DataDescription) -> None:
        self.description = description
        raters = len(description.rater_names)
        self.num_images = self.num_constant = self.num_lines_only = 0
        self.peaks: list[float] = []
        self.sizes: Counter[tuple[int, ...]] = Counter()
        self.num_raters: Counter[int] = Counter()
        self.low = torch.full((len(description.channel_names),), torch.inf)
        self.high = -self.low
        self.marked, self.given = torch.zeros(raters, dtype=torch.long), torch.zeros(raters, dtype=torch.long)
        self.pixels = torch.zeros(256, dtype=torch.long)
        self.distances: list[float] = []
        self.oracles: list[float] = []

    def add(self, example: Example, distance: float | None) -> None:
        channels = example.image.flatten(1)
        low, high = channels.amin(1), channels.amax(1)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        self.peaks.append(float(high.max()))
        self.num_images += 1
        self.num_constant += bool((low == high).all())
        self.sizes[tuple(example.image.shape[1:])] += 1

        maps = example.labels.flatten(1)
        given = (maps != IGNORE).any(1)
        counted = torch.tensor(self.description.counted_classes, dtype=torch.uint8)
        self.given += given
        self.marked += torch.isin(maps, counted).any(1)
        self.pixels += torch.bincount(maps[given].flatten(), minlength=256)
        present = int(given.sum())
        self.num_raters[present] += 1
        self.num_lines_only += present > 1 and differ_by_lines_only(example.labels[given])
        if distance is not None:
            self.distances.append(distance)
            self.oracles.append(distance * (1 / NUM_SAMPLES + (0 if example.flips else 1 / present)))

    def report(self, num_groups: int) -> SplitReport:
        pixels = self.pixels.double()
        for flip in self.description.flips:
            pixels[flip.target] = flip.probability * pixels[flip.source]
            pixels[flip.source] *= 1 - flip.probability
        judged = pixels[:IGNORE].sum().clamp(min=1)
        return SplitReport(
            num_images=self.num_images,
            num_groups=num_groups,
            sizes={"x".join(map(str, size)): count for size, count in sorted(self.sizes.items())},
            value_range=tuple(zip(self.low.tolist(), self.high.tolist(), strict=True)),
            num_constant=self.num_constant,
            num_raters=dict(sorted(self.num_raters.items())),
            marked_share=tuple((self.marked / self.given.clamp(min=1)).tolist()),
            absent_share=tuple((1 - self.given / max(self.num_images, 1)).tolist()),
            class_shares=tuple((pixels[: self.description.num_classes] / judged).tolist()),
            ignored_share=float(self.pixels[IGNORE] / self.pixels.sum().clamp(min=1)),
            rater_distance=_mean(self.distances),
            oracle_ged=_mean(self.oracles),
            num_lines_only=self.num_lines_only,
            peaks=(min(self.peaks, default=0.0), max(self.peaks, default=0.0)),
        )


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
