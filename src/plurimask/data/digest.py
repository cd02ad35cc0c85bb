"""What tells one data set from another: a digest of its examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from plurimask.data.example import ExampleSet

MAX_EXAMPLES = 500
MAX_BYTES = 2**28
"""Of the examples that are looked at."""


def digest_of(examples: ExampleSet, indices: Iterable[int]) -> str:
    """A hash of names, images, labels and flips."""
    digest = hashlib.sha256()
    for index in indices:
        example = examples[index]
        digest.update(json.dumps([example.name, example.flips]).encode())
        digest.update(example.image.numpy().tobytes())
        digest.update(example.labels.numpy().tobytes())
    return digest.hexdigest()


def content_digest(examples: ExampleSet) -> str:
    """A hash of all names and of the examples: of all of a small set, of some of a large one that are evenly spread."""
    names = hashlib.sha256("\n".join(examples.names).encode()).hexdigest()
    if not len(examples):
        return names
    first = examples[0]
    size = max(1, first.image.nbytes + first.labels.nbytes)
    count = min(len(examples), MAX_EXAMPLES, max(1, MAX_BYTES // size))
    content = digest_of(examples, (number * len(examples) // count for number in range(count)))
    return hashlib.sha256((names + content).encode()).hexdigest()
