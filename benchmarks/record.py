"""What every benchmark writes beside its numbers: on what, when and from which commit they were measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch


def record(name: str, config: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-ready record of a benchmark's configuration and results, with hardware, date and git commit."""
    return {
        "benchmark": name,
        "config": dict(config),
        "results": dict(results),
        "hardware": hardware(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
    }


def median_seconds(functions: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median time of each function over `repeats` rounds, after one to warm up.

    Each round calls all of them in turn, so that a machine that slows down does so for all.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def data_folder() -> Path:
    """Where the development data lie: PLURIMASK_DATA, else `shared/data` beside the project."""
    folder = Path(os.environ.get("PLURIMASK_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no data there; set PLURIMASK_DATA to the folder that holds lidc/, camvid/, ...")
    return folder


def write(path: Path | None, content: Mapping[str, Any]) -> None:
    """Write a record as JSON, if there is somewhere to write it to."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")


def earlier(before: Mapping[str, Any], kept: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Date and commit of rows that a new record keeps of one before, by their names."""
    own = {name: before.get(name) for name in ("date", "commit")}
    return {name: before.get("earlier", {}).get(name, own) for name in kept}


def hardware() -> dict[str, Any]:
    """The processor, the accelerator if there is one, and the software that uses them."""
    return {
        "cpu": _cpu_model(),
        "cores": torch.multiprocessing.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit(checkout: Path = Path(__file__).parent) -> str | None:
    """The commit of a working tree, with "-dirty" if tracked files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
