"""What is known of the tiles of a large image that are finished, so that a killed prediction goes on where it was.

A record is a file in a folder beside the arrays, written whole or not at all, and after the tile's pixels: what has no
record is computed again. Records hold what is summed over the image at the end, a small picture, and, where tiles are
blended, what the tiles after need.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plurimask.files.writing import remove, replace_file
from plurimask.prediction.tiles import TilePlan

FOLDER = "unfinished-tiles"
_PLAN = "plan.json"

Content = Mapping[str, NDArray[Any]]
Kind = Literal["sums", "tile"]
"""What a tile adds to the averages over its image; and what it has found once its pixels are written."""


@dataclass(frozen=True)
class Cut:
    """How an image is computed: on this depends how its figures are rounded."""

    plan: TilePlan
    chunk_elements: int
    """Logits that are computed at once."""


class TileRecords:
    """The records of one image.

    Args:
        folder: of the image's predictions.
        made_with: what the tiles depend on beside their cut, as JSON knows it.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, Any]) -> None:
        self.folder, self.made_with = folder / FOLDER, json.loads(json.dumps(dict(made_with)))

    def known(self) -> Cut | None:
        """How those tiles are cut which are recorded with the same settings; None if there are none."""
        try:
            content = json.loads((self.folder / _PLAN).read_bytes())
            if content["made_with"] != self.made_with:
                return None
            sides = (tuple(map(int, content[name])) for name in ("whole", "core", "halo", "overlap"))
            return Cut(TilePlan(*sides), int(content["chunk_elements"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, cut: Cut) -> None:
        """Forget what is recorded, and record tiles that are cut so."""
        self.remove()
        sides = {name: list(values) for name, values in vars(cut.plan).items()}
        content = {"made_with": self.made_with, **sides, "chunk_elements": cut.chunk_elements}
        replace_file(self.folder / _PLAN, json.dumps(content).encode())

    def has(self, kind: Kind, number: int) -> bool:
        return self._path(kind, number).is_file()

    def missing(self, kind: Kind, count: int) -> set[int]:
        """The numbers of those tiles, of so many, that are not recorded."""
        there = {path.name for path in self.folder.iterdir()}  # one look, however many tiles there are
        return {number for number in range(count) if self._path(kind, number).name not in there}

    def write(self, kind: Kind, number: int, content: Content) -> None:
        stream = io.BytesIO()
        np.savez(stream, **dict(content))  # type: ignore[arg-type]
        replace_file(self._path(kind, number), stream.getvalue())

    def read(self, kind: Kind, number: int) -> dict[str, NDArray[Any]]:
        with np.load(self._path(kind, number), allow_pickle=False) as content:
            return {name: content[name] for name in content.files}

    def read_all(self, kind: Kind, count: int) -> Iterator[dict[str, NDArray[Any]]]:
        """Those of all tiles, one after the other."""
        return (self.read(kind, number) for number in range(count))

    def remove(self) -> None:
        """Of a finished image nothing is left."""
        remove(self.folder)

    def _path(self, kind: Kind, number: int) -> Path:
        return self.folder / f"{kind}-{number:06d}.npz"
