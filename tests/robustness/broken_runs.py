"""Run folders whose files are damaged, exchanged or made up. Each says whether a refusal is due."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import torch
from attack import pick
from broken_files import FILES
from broken_tables import JSON_DAMAGES, metrics_csv
from safetensors.torch import load_file, save_file


def record(run: Path, others: list[Path], rng: Any) -> bool:
    return pick(rng, JSON_DAMAGES)(run / "run.json", rng)


def record_numbers(run: Path, others: list[Path], rng: Any) -> bool:
    """Numbers with which nothing can be calculated."""
    path = run / "run.json"
    content = json.loads(path.read_text())
    part, key, value = pick(
        rng,
        [
            *[("preprocessing", "std", [bad]) for bad in (0.0, -1.0, 1e308, float("nan"), float("inf"), 1e-320)],
            *[("preprocessing", "mean", [bad]) for bad in (1e308, float("nan"), float("-inf"), 1e200)],
            *[("preprocessing", key, [1.0, 1.0]) for key in ("mean", "std")],
            *[("preprocessing", "resize", bad) for bad in ([0, 0], [-5, 3], [10**9, 10**9], [10**7, 1])],
            *[("preprocessing", "center_crop", bad) for bad in (0, -3)],
            *[("config", "channels", bad) for bad in ([10**9, 10**9], [0, 4], [4], [4] * 5000, [-4, 4])],
            *[("config", "convs_per_scale", bad) for bad in (0, -1, 10**9)],
            *[("config", "num_classes", bad) for bad in (1, 0, 255, 10**9)],
            *[("config", "image_channels", bad) for bad in (0, 10**9, 2)],
            *[("training", "learning_rate", bad) for bad in (float("nan"), float("inf"), 0.0, -1.0)],
            *[("data", "class_values", bad) for bad in ([0], [0, -5], [0, 10**9], [0, 1, 2])],
            *[("data", "class_names", bad) for bad in ([], ["a"], ["a", "b", "c"], ["x"] * 300)],
            *[("data", "channel_names", bad) for bad in ([], ["a", "b"])],
            *[("data", "ignore_value", bad) for bad in (-1, 10**6)],
            *[("data", "flips", [bad]) for bad in ([0, 1, 2.0], [0, 9, 0.5], [-1, 1, 0.5], [0, 1, float("nan")])],
        ],
    )
    content[part][key] = value
    path.write_text(json.dumps(content))
    return True


def any_file(run: Path, others: list[Path], rng: Any) -> bool:
    name = pick(rng, ["run.json", "weights.safetensors", "weights.safetensors", "metrics.csv"])
    pick(rng, FILES)(run / name, rng)
    return False


def weights_numbers(run: Path, others: list[Path], rng: Any) -> bool:
    """One weight is no number."""
    tensors = load_file(run / "weights.safetensors")
    name = pick(rng, sorted(tensors))
    tensors[name].view(-1)[0] = pick(rng, [float("nan"), float("inf"), float("-inf")])
    save_file(tensors, run / "weights.safetensors")
    return True


def weights_tensors(run: Path, others: list[Path], rng: Any) -> bool:
    """A tensor is missing, too many, or of another shape."""
    tensors = load_file(run / "weights.safetensors")
    name = pick(rng, sorted(tensors))
    value = tensors.pop(name)
    odd = [None, value[None], value[:0], torch.zeros(()), torch.zeros(1), value.repeat(2, *[1] * (value.ndim - 1))]
    changed = pick(rng, odd)
    if changed is not None and changed.shape != value.shape:
        tensors[name] = changed.contiguous()
    if rng.random() < 0.2:
        tensors = {} if rng.random() < 0.5 else {**tensors, name: value, "more": torch.zeros(3)}
    save_file(tensors, run / "weights.safetensors")
    return True


def weights_types(run: Path, others: list[Path], rng: Any) -> bool:
    tensors = load_file(run / "weights.safetensors")
    kind = pick(rng, [torch.int64, torch.float64, torch.bool, torch.float16, torch.bfloat16, torch.uint8])
    save_file({name: value.to(kind) for name, value in tensors.items()}, run / "weights.safetensors")
    return True


def weights_header(run: Path, others: list[Path], rng: Any) -> bool:
    headers = [
        b"{}",
        b"[" * 5000,
        b'{"x": 3}',
        b'{"x":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,4]}}',
        b"\xff" * 9,
    ]
    header = pick(rng, headers)
    length = pick(rng, [len(header), 2**40, 2**63, 0, len(header) + 5])
    (run / "weights.safetensors").write_bytes(struct.pack("<Q", length) + header + bytes(16))
    return True


def exchanged(run: Path, others: list[Path], rng: Any) -> bool:
    """The weights, or the record, of a run of another method."""
    name = pick(rng, ["weights.safetensors", "run.json"])
    shutil.copyfile(pick(rng, others) / name, run / name)
    return True


def crossed(run: Path, others: list[Path], rng: Any) -> bool:
    """A file of the run in place of another of its files."""
    names = ["run.json", "weights.safetensors", "metrics.csv", "checkpoints/last.ckpt"]
    target = pick(rng, names[:2])
    shutil.copyfile(
        run / pick(rng, [name for name in names if name != target and (run / name).is_file()]), run / target
    )
    return True


def metrics(run: Path, others: list[Path], rng: Any) -> bool:
    return metrics_csv(run / "metrics.csv", rng)


RUNS = [
    record,
    record,
    record,
    record_numbers,
    record_numbers,
    any_file,
    weights_numbers,
    weights_tensors,
    weights_types,
]
RUNS += [weights_header, exchanged, crossed]


# ---- what a training continues from --------------------------------------------------------------------------------


class Payload:
    """What an unpickler would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


def checkpoint(run: Path, others: list[Path], rng: Any) -> bool:
    """A checkpoint that is no checkpoint, or of which a part is."""
    path = run / "checkpoints" / "last.ckpt"
    what = rng.random()
    if what < 0.3:
        pick(rng, [each for each in FILES if each.__name__ not in ("gone", "longer", "flip_bytes")])(path, rng)
        return False
    if what < 0.4:
        path.write_bytes(pickle.dumps(Payload()))
    elif what < 0.5:
        shutil.copyfile(pick(rng, others) / "checkpoints" / "last.ckpt", path)
    else:
        state = torch.load(path, weights_only=True)
        key = pick(rng, [key for key in state if key not in ("own", "lowest_ged", "keeping", "average")])
        odd = [None, "x", -1, float("nan"), [], {}, torch.zeros(3), 10**30, [1, 2], {"a": {}}, 1.5]
        state[key] = pick(rng, odd)
        if rng.random() < 0.2:
            del state[key]
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.write_bytes(buffer.getvalue())
        return False
    return True


def checkpoint_weights(run: Path, others: list[Path], rng: Any) -> bool:
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    part = pick(rng, ["method", "average"])
    if state[part] is None:
        part = "method"
    name = pick(rng, sorted(name for name, value in state[part].items() if value.is_floating_point()))
    state[part][name] = torch.full_like(state[part][name], float("nan"))
    torch.save(state, run / "checkpoints" / "last.ckpt")
    return True


def best_weights(run: Path, others: list[Path], rng: Any) -> bool:
    path = run / "checkpoints" / "best.safetensors"
    if rng.random() < 0.4:
        shutil.copyfile(pick(rng, others) / "checkpoints" / "best.safetensors", path)
    else:
        pick(rng, [each for each in FILES if each.__name__ not in ("gone", "flip_bytes")])(path, rng)
    return False


CHECKPOINTS = [checkpoint, checkpoint, checkpoint, checkpoint_weights, best_weights, record, metrics]
