"""What the check of a data set counts in each example, and sums over a split."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from operator import add
from typing import Any, NamedTuple

from plurimask.data.example import DataDescription, Example, ExampleSet
from plurimask.data.images.pixel_size import PixelSize
from plurimask.data.known import FileStates, KnownFiles, common_folder
from plurimask.evaluation.agreement import differ_by_lines_only
from plurimask.sets.unjudged import IGNORE

NUM_SAMPLES = 16
"""Of the oracle whose GED is told."""


class ExampleFacts(NamedTuple):
    """What is counted of one example: plain values, as JSON knows them."""

    size: list[int]
    low: list[float]
    """The smallest value of each channel."""
    high: list[float]
    given: list[bool]
    """Whether each rater gave a map."""
    marked: list[bool]
    """Whether each rater marked a counted class."""
    pixels: list[list[int]]
    """The labels in the given maps, and in how many pixels each is."""
    lines_only: bool
    """Whether several raters differ in lines alone."""
    distance: float | None
    """How far its raters are apart; None where that is not defined."""
    has_flips: bool
    pixel_size: list[Any] | None


def facts_of_all(
    examples: ExampleSet, about: DataDescription, states: FileStates | None = None
) -> Iterator[ExampleFacts]:
    """The facts of each example; those are read whose files an earlier call has not seen (`plurimask.data.known`)."""
    count = len(examples)
    ends = [file for index in sorted({0, count - 1} & set(range(count))) for file in examples.files(index)]
    known = KnownFiles("facts", common_folder(ends), about.model_dump_json(), states)
    for index in range(count):
        files = examples.files(index)
        value = known.get(files) if files else None
        facts = None if value is None else ExampleFacts(*value)
        if facts is None:
            facts = facts_of(examples[index], about, examples.pixel_size(index))
            if files:
                known.put(files, facts)
        yield facts
    known.save()


def facts_of(example: Example, about: DataDescription, pixel_size: PixelSize | None) -> ExampleFacts:
    """What is counted of an example."""
    import torch  # with the metrics, half of the time of a check that knows all files

    channels = example.image.flatten(1)
    maps = example.labels.flatten(1)
    given = (maps != IGNORE).any(1)
    counted = torch.tensor(about.counted_classes, dtype=torch.uint8)
    pixels = torch.bincount(maps[given].flatten(), minlength=256)
    labels = pixels.nonzero()[:, 0]
    return ExampleFacts(
        list(example.image.shape[1:]),
        channels.amin(1).tolist(),
        channels.amax(1).tolist(),
        given.tolist(),
        torch.isin(maps, counted).any(1).tolist(),
        [labels.tolist(), pixels[labels].tolist()],
        int(given.sum()) > 1 and differ_by_lines_only(example.labels[given]),
        _distance(example, about),
        bool(example.flips),
        None if pixel_size is None else list(pixel_size),
    )


def _distance(example: Example, about: DataDescription) -> float | None:
    from plurimask.metrics import rater_distance
    from plurimask.metrics.modes import mode_spread

    if example.flips:
        return mode_spread(example.labels[0], example.flips)
    return rater_distance(example.labels, about.counted_classes)


class SplitCount:
    """Streaming sums over the examples of one split."""

    def __init__(self, about: DataDescription) -> None:
        raters, channels = len(about.rater_names), len(about.channel_names)
        self.num_images = self.num_constant = self.num_lines_only = 0
        self.peaks: list[float] = []
        self.sizes: Counter[tuple[int, ...]] = Counter()
        self.num_raters: Counter[int] = Counter()
        # Plain numbers: arrays of one or two of them take ten times as long.
        self.low, self.high = [math.inf] * channels, [-math.inf] * channels
        self.marked, self.given = [0] * raters, [0] * raters
        self.pixels = [0] * 256
        self.distances: list[float] = []
        self.oracles: list[float] = []
        self.pixel_sizes: list[PixelSize | None] = []

    def add(self, facts: ExampleFacts) -> None:
        """Count one more example."""
        self.low, self.high = list(map(min, self.low, facts.low)), list(map(max, self.high, facts.high))
        self.peaks.append(max(facts.high))
        self.num_images += 1
        self.num_constant += facts.low == facts.high
        self.sizes[tuple(facts.size)] += 1
        self.given = list(map(add, self.given, facts.given))
        self.marked = list(map(add, self.marked, facts.marked))
        for label, count in zip(*facts.pixels, strict=True):
            self.pixels[label] += count
        present = sum(facts.given)
        self.num_raters[present] += 1
        self.num_lines_only += facts.lines_only
        if facts.distance is not None:
            self.distances.append(facts.distance)
            self.oracles.append(facts.distance * (1 / NUM_SAMPLES + (0 if facts.has_flips else 1 / present)))
        self.pixel_sizes.append(None if facts.pixel_size is None else PixelSize(*facts.pixel_size))
