"""`run.json`: what a run is, and all that is needed to use it and to train it again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from plurimask.data import DataDescription
from plurimask.data.preprocessing import Preprocessing
from plurimask.errors import InputError, first_mistake, shown
from plurimask.files.reading import is_there, read_json
from plurimask.method import MethodConfig
from plurimask.prediction.seeds import MAX_SEED
from plurimask.pretrained import folder_of
from plurimask.runs.folder import RECORD_FILE
from plurimask.training.config import TrainingConfig
from plurimask.training.plan import TrainingPlan
from plurimask.version import __version__

FORMAT = 1
_REMEDY = "restore the file, or train again"


class Start(BaseModel):
    """The run whose weights a training began with. It is not needed once there is a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    folder: str
    identity: str | None
    steps: int | None
    """That it had made."""


class RunRecord(BaseModel):
    """The content of `run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: int = FORMAT
    method: str
    preset: str
    config: dict[str, Any]
    training: TrainingConfig
    data: DataDescription
    preprocessing: Preprocessing
    split: dict[str, list[str]] | None
    """Names by split where it was drawn; None where the data came with splits."""
    group: str | None
    seed: int = Field(ge=0, le=MAX_SEED)
    packages: dict[str, str]
    plan: TrainingPlan | None = None
    """What was decided before training, and why; None where all was given. `training` is what is used."""
    steps: int | None = Field(None, ge=0)
    """Steps that were made; None while it is trained, and of runs of version 0.1."""
    undertrained: bool = False
    """Whether these are fewer than the method needs."""
    content: dict[str, str] | None = None
    """The digest of each split that was trained on or validated with (`plurimask.data.digest`); None of runs of older
    versions and of joined ones."""
    start: Start | None = None
    """None where the training began with weights of its own."""
    identity: str | None = None
    """What weights and checkpoints of the run carry too; None of runs of older versions, which carry nothing."""

    @model_validator(mode="after")
    def _is_consistent(self) -> RunRecord:
        counts = {"num_classes": self.data.num_classes, "image_channels": len(self.data.channel_names)}
        counts["spatial_dims"] = self.data.spatial_dims if self.preprocessing.slices is None else 2
        for name, count in counts.items():
            stored = self.config.get(name, MethodConfig.model_fields[name].default)
            if stored != count:
                raise ValueError(f"config has {name} {shown(stored)}, the data have {count}")
        if not len(self.preprocessing.mean) == len(self.preprocessing.std) == counts["image_channels"]:
            raise ValueError(f"mean and std are not of the {counts['image_channels']} channels of the data")
        return self


def identity_of(record: RunRecord, weights: bytes = b"") -> str:
    """The identity of a new run: of two with the same settings, seed and data the same. Of one that is not trained but
    made of weights these are a part of it."""
    told = record.model_dump_json(exclude={"packages", "plan", "steps", "undertrained", "identity"})
    return hashlib.sha256(told.encode() + weights).hexdigest()[:32]


def read_record(folder: Path) -> RunRecord:
    """`run.json` of a run folder, or of `pretrained:NAME`.

    Raises:
        InputError: there is no run, or another version of plurimask wrote it.
    """
    folder = folder_of(folder)
    path = folder / RECORD_FILE
    if not is_there(path):
        raise InputError(f"{folder}: no run there ({RECORD_FILE} is missing): give one that `plurimask train` wrote")
    content = read_json(path, _REMEDY)
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path}: not the record of a run: {_REMEDY}")
    found = content.pop("format")
    if found != FORMAT:
        packages = content.get("packages")
        writer = shown(packages.get("plurimask")) if isinstance(packages, dict) else "of an unknown version"
        raise InputError(
            f"{path}: format {shown(found)}, written by plurimask {writer}; plurimask {__version__} reads format "
            f"{FORMAT}: install that version, or train again"
        )
    try:
        return RunRecord.model_validate({**content, "format": found})
    except ValidationError as error:
        raise InputError(f"{path}: {first_mistake(error)}: {_REMEDY}") from error
