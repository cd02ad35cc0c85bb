"""An ensemble of runs that were trained apart: in other processes, on other machines, of other methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plurimask.errors import InputError
from plurimask.files.writing import replace_file
from plurimask.method import MethodConfig
from plurimask.methods import build_method
from plurimask.runs.folder import WEIGHTS_FILE, RunWriter
from plurimask.runs.load import Run, load_run
from plurimask.runs.record import RunRecord, identity_of
from plurimask.training.weights import packed


def combine_runs(folders: Sequence[Path | str], out: Path | str, overwrite: bool = False) -> None:
    """Write a run whose method is the ensemble of other runs' methods; of an ensemble among them, its members.

    Args:
        folders: run folders with weights, at least two, that see the same data in the same way.
        out: the run folder to write. It needs the others no more.
        overwrite: replace a run that is in `out`.

    Raises:
        InputError: there are fewer than two runs, or they differ in classes, channels, normalisation or split.
    """
    out = Path(out)
    runs = [load_run(folder) for folder in folders]
    if len(runs) < 2:
        raise InputError(f"an ensemble of {len(runs)} run: give at least two")
    for run in runs[1:]:
        _refuse_different(runs[0], run)
    parts = [part for run in runs for part in run.method.parts()]
    names = [name for run in runs for name in _methods(run.record)]
    from_data = {name: getattr(runs[0].method.config, name) for name in MethodConfig.model_fields}
    dumped = (part.config.model_dump(mode="json", exclude=set(from_data)) for part in parts)
    settings = {str(number): own for number, own in enumerate(dumped)}
    ensemble = build_method("ensemble", members=names, member_settings=settings, **from_data)
    for part, trained in zip(ensemble.parts(), parts, strict=True):
        part.load_state_dict(trained.state_dict())
    packages = {name: version for run in reversed(runs) for name, version in run.record.packages.items()}
    update: dict[str, Any] = {
        "method": "ensemble",
        "config": ensemble.config.model_dump(mode="json"),
        "packages": packages,
    }
    update |= {"plan": None, "steps": None, "undertrained": any(run.record.undertrained for run in runs)}
    record = runs[0].record.model_copy(update={**update, "content": None})
    record = record.model_copy(update={"identity": identity_of(record, packed(ensemble, None))})
    with RunWriter(out, overwrite=overwrite) as writer:
        replace_file(writer.here(out / WEIGHTS_FILE), packed(ensemble, record.identity))
        writer.begin(record.model_dump_json(indent=2).encode())
        writer.checkpointed()


def _methods(record: RunRecord) -> list[str]:
    return list(record.config["members"]) if record.method == "ensemble" else [record.method]


def _refuse_different(first: Run, other: Run) -> None:
    for what in ("data", "preprocessing", "split"):
        if getattr(first.record, what) != getattr(other.record, what):
            raise InputError(
                f"{first.folder} and {other.folder} differ in their {what}: an ensemble's members must see the same "
                "images, normalised alike, with the same classes and split; train them on the same data and seed of "
                "the split"
            )
