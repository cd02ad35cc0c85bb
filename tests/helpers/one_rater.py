"""Data sets with one rater an image, made of others."""

from __future__ import annotations

from dataclasses import replace

from plurimask.data.example import Example, ExampleSet


class OneRater(ExampleSet):
    """The first rater of each image alone."""

    def __init__(self, examples: ExampleSet) -> None:
        self.examples, self.names, self.groups = examples, examples.names, examples.groups

    def __getitem__(self, index: int) -> Example:
        example = self.examples[index]
        return replace(example, labels=example.labels[:1])
