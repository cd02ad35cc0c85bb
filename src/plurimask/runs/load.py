"""Reading a run folder: the trained method, and data read in the run's sense."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from plurimask.data import DataSource, ExampleSet, Place, open_data, open_images
from plurimask.data.flipping import refuse_other_law
from plurimask.errors import InputError, first_mistake, unknown_name
from plurimask.files.reading import is_there, open_file
from plurimask.method import SegmentationMethod
from plurimask.methods import build_method
from plurimask.prediction.device import channels_last, default_device
from plurimask.prediction.slices import SliceBySlice, SliceDraws
from plurimask.pretrained import PREFIX, example_images, folder_of
from plurimask.runs.folder import RECORD_FILE, WEIGHTS_FILE
from plurimask.runs.record import RunRecord, read_record
from plurimask.training.weights import load_weights


@dataclass(frozen=True)
class Run:
    """A run folder that was read: what it is, and the method with its weights, in evaluation mode."""

    folder: Path
    record: RunRecord
    method: SegmentationMethod

    @property
    def digest(self) -> str:
        """A hash of record and weights: what is predicted depends on nothing else of the run."""
        digest = hashlib.sha256()
        for name in (RECORD_FILE, WEIGHTS_FILE):
            with open_file(self.folder / name) as stream:
                digest.update(hashlib.sha256(stream.read()).digest())
        return digest.hexdigest()[:32]

    @property
    def examples(self) -> tuple[Path, ...]:
        """Images that lie beside a model of the package, for `read`; none beside a run of one's own."""
        return example_images(self.folder)

    def read(self, path: Path | str) -> Tensor:
        """The image at `path`, ready for the method: `(1, K, H, W)`, cropped and normalised as in training.

        Raises:
            InputError: there is not exactly one image, or it has other channels than those trained on.
        """
        images = open_images(path, self.record.data.channel_names, spatial_dims=self.record.data.spatial_dims)
        if len(images) != 1:
            raise InputError(f"{path}: {len(images)} images, expected one: give one file, or loop over them")
        seen = self.record.preprocessing.image(images[0], images.names[0], images.pixel_size(0))
        return seen[None].to(next(self.method.parameters()).device)


def load_run(folder: Path | str, slice_draws: SliceDraws | None = None) -> Run:
    """Read a run folder: its record, and its method with trained weights, in evaluation mode on the default device.

    `pretrained:NAME` is a model that the package ships. The method of a run on slices of volumes is given volumes, and
    shares the draws of a sample among its slices, unless `slice_draws` says otherwise
    (`plurimask.prediction.slices.SliceBySlice`).

    Raises:
        InputError: there is no run, it has no weights yet, or another version of plurimask wrote it; or `slice_draws`
            are given for a run that does not see slices.
    """
    folder = folder_of(folder)
    record = read_record(folder)
    path = folder / WEIGHTS_FILE
    if not is_there(path):
        raise InputError(f"{folder}: the run has no weights yet: train on with `plurimask train ... --resume`")
    try:
        method = build_method(record.method, **record.config)
    except ValidationError as error:
        where = f"{folder / RECORD_FILE}: {first_mistake(error)}"
        raise InputError(f"{where}: restore the file, or train again") from error
    except InputError as error:
        needed = record.packages.keys() - {"python", "plurimask"}
        others = sorted(name for name in needed if not any(distributions(name=name)))
        hint = f" It was trained with {', '.join(others)}, not installed here." if others else ""
        raise InputError(f"{folder}: {error}{hint}") from error
    load_weights(method, path, record.identity, "restore the file, or train again")
    method = channels_last(method).to(default_device())
    axis = record.preprocessing.slices
    if axis is not None:
        method = SliceBySlice(method, axis, slice_draws or "shared")
    elif slice_draws is not None:
        raise InputError(f"{folder} was not trained with --slices: leave out --slice-draws")
    return Run(folder, record, method.eval().requires_grad_(False))


def load_pretrained(name: str) -> Run:
    """A model that the package ships, such as "lidc-nodule-64", as `load_run` gives a run of one's own.

    Raises:
        InputError: there is no model of that name; the error lists those that there are.
    """
    return load_run(f"{PREFIX}{name}")


def load(folder: Path | str) -> SegmentationMethod:
    """The method of a run folder, with trained weights: `load_run(folder).method`."""
    return load_run(folder).method


def open_run_data(run: RunRecord, path: Path | str | Place, flips: Sequence[str] | None = None) -> DataSource:
    """A data set read in the sense of a run: its patterns, classes and mask values, and its split where that was drawn.

    Other `flips` than the run's, where given, are refused.
    """
    source = open_data(path, group=run.group, seed=run.seed, stored_split=run.split or {}, expected=run.data)
    if flips is not None:
        refuse_other_law(flips, source.description)
    return source


def find_split(source: DataSource, name: str) -> ExampleSet:
    """One split of a data set; an unknown name raises `InputError` with those that are there."""
    if name not in source.splits:
        raise unknown_name("split", name, source.splits)
    return source.splits[name]
