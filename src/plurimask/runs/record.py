"""`run.json`: what a run is, and all that is needed to use it and to train it again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from plurimask.data import DataDescription
from plurimask.data.preprocessing import Preprocessing
from plurimask.errors import InputError, first_mistake
from plurimask.runs.folder import RECORD_FILE
from plurimask.training.config import TrainingConfig
from plurimask.training.plan import TrainingPlan
from plurimask.version import __version__

FORMAT = 1


class RunRecord(BaseModel):
    """The content of `run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    seed: int
    packages: dict[str, str]
    plan: TrainingPlan | None = None
    """What was decided before training, and why; None where all was given. `training` is what is used."""
    steps: int | None = None
    """Steps that were made; None while it is trained, and of runs of version 0.1."""
    undertrained: bool = False
    """Whether these are fewer than the method needs."""
    content: dict[str, str] | None = None
    """The digest of each split that was trained on or validated with (`plurimask.data.digest`); None of runs of older
    versions and of joined ones."""
    identity: str | None = None
    """What weights and checkpoints of the run carry too; None of runs of older versions, which carry nothing."""


def identity_of(record: RunRecord, weights: bytes = b"") -> str:
    """The identity of a new run: of two with the same settings, seed and data the same. Of one that is not trained but
    made of weights these are a part of it."""
    told = record.model_dump_json(exclude={"packages", "plan", "steps", "undertrained", "identity"})
    return hashlib.sha256(told.encode() + weights).hexdigest()[:32]


def read_record(folder: Path) -> RunRecord:
    """`run.json` of a run folder.

    Raises:
        InputError: there is no run, or another version of plurimask wrote it.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        raise InputError(f"{folder}: no run there ({RECORD_FILE} is missing): give one that `plurimask train` wrote")
    try:
        content = json.loads(path.read_text())
        found = content["format"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not readable as a run's record: restore the file, or train again") from error
    if found != FORMAT:
        writer = content.get("packages", {}).get("plurimask", "an unknown version")
        raise InputError(
            f"{path}: format {found}, written by plurimask {writer}; plurimask {__version__} reads format {FORMAT}: "
            "install that version, or train again"
        )
    try:
        return RunRecord(**content)
    except ValidationError as error:
        raise InputError(f"{path}: {first_mistake(error)}: restore the file, or train again") from error
