"""What a data set yields, and what is known about it as a whole."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from plurimask.data.images.pixel_size import PixelSize
from plurimask.errors import InputError
from plurimask.flips import Flip, switchable_classes
from plurimask.sets.unjudged import IGNORE

if TYPE_CHECKING:
    from torch import Tensor


class NotADataSet(InputError):
    """A path that is in none of the known layouts, or without masks: images alone, perhaps."""


_Value = Annotated[int, Field(ge=0, le=65535)]
"""Of a pixel in a mask file."""


@dataclass(frozen=True)
class Example:
    """One image and what each rater made of it."""

    name: str
    """Unique in the data set; may contain `/`."""
    image: Tensor
    """`(K, *spatial)`, float32, in the values of the file (not normalised)."""
    labels: Tensor
    """`(R, *spatial)`, uint8 class indices, IGNORE (255) where not judged; an absent rater is a map of IGNORE."""
    flips: tuple[Flip, ...] = ()
    """If there are any, labels are `(1, *spatial)`, of one annotator, and the raters are the 2^K modes of the flips."""


class Patterns(BaseModel):
    """Which files of a tree are images and masks, as `plurimask.data.layouts.globs` reads it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: str
    masks: dict[str, str]
    """Rater to the pattern of their masks."""


class DataDescription(BaseModel):
    """What holds for a whole data set. It is stored in the run, so that predictions speak the data's language."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layout: str
    """How the data was recognised, for people: "folder", "npz", "LIDC crops", "built-in lesions"."""
    class_names: tuple[str, ...] = Field(min_length=2, max_length=IGNORE)
    class_values: tuple[_Value, ...]
    """The value of each class in the mask files, in the order of the class indices: (0, 255) for 0/255 masks."""
    ignore_value: _Value | None
    """The value of unjudged pixels in the mask files, if there is one."""
    has_background: bool
    """Whether class 0 is background (by its name, or because masks are binary): metrics leave it out."""
    encoding: str
    """One sentence: how the values of the masks were understood, and why."""
    channel_names: tuple[str, ...] = Field(min_length=1)
    rater_names: tuple[str, ...] = Field(min_length=1)
    flips: tuple[Flip, ...] = ()
    """Classes that turn into a twin class at random; the twins are the last classes."""
    masks: Literal["values", "foreground"] = "values"
    """Whether the values of masks are classes, or every value but 0 is the foreground (instance masks)."""
    spatial_dims: Literal[2, 3] = 2
    """Axes of an image without its channels: 2 for pictures, 3 for volumes."""
    patterns: Patterns | None = None
    """Where the files were named by patterns: those."""

    @model_validator(mode="after")
    def _is_consistent(self) -> DataDescription:
        count = len(self.class_names)
        if len(self.class_values) != count or len({*self.class_values}) < count or len({*self.class_names}) < count:
            raise ValueError(f"{count} classes need as many names and values, each of its own")
        for flip in self.flips:
            if not (0 <= flip.source < count and 0 <= flip.target < count and 0 <= flip.probability <= 1):
                raise ValueError(f"{tuple(flip)} is no flip between two of {count} classes with a probability")
        return self

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def counted_classes(self) -> tuple[int, ...]:
        """The class indices that metrics count: all but the background; where classes flip, those and their twins."""
        if self.flips:
            return switchable_classes(self.flips)
        return tuple(range(1 if self.has_background else 0, self.num_classes))


class ExampleSet(abc.ABC):
    """A sequence of examples with their names and groups known before any is read; a map-style data set of torch."""

    names: Sequence[str]
    groups: Sequence[str]
    """What must not be torn apart by a split (patients); the name itself where there are no groups."""

    def __len__(self) -> int:
        return len(self.names)

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Example: ...

    def shape(self, index: int) -> tuple[int, ...]:
        """Of an image as it is stored, `(*spatial)`; of a file that says it ahead of its pixels these are not read."""
        return tuple(self[index].image.shape[1:])

    def pixel_size(self, index: int) -> PixelSize | None:
        """Of an image as it is stored, where its file says so."""
        return None

    def files(self, index: int) -> tuple[Path, ...]:
        """That an example is read from each time; none where it is in memory."""
        return ()


@dataclass(frozen=True)
class DataSource:
    """A data set as found: its description and its splits ("train", "val", ...), in that order."""

    description: DataDescription
    splits: Mapping[str, ExampleSet]
    drawn: bool
    """Whether the split was drawn here (True) or came with the data (False)."""
    notes: tuple[str, ...] = ()
    """What was left out, skipped or chosen here, in sentences for people."""
